package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// unfitPrepend is how often our AS is put in front once more with unfit: prepend, and
// prependMost how often at most (bgp.Announcement).
const (
	unfitPrepend = 3
	prependMost  = 10
)

// fitness is what announcements depend on, for each way.
type fitness struct {
	// unfit ways are not to attract traffic; see refit.
	unfit map[uplink.Way]bool
	// live families have a live way.
	live map[fib.Family]bool
	// drained ways are emptied by the operator.
	drained map[uplink.Way]bool
}

// refit concludes which ways are unfit to be announced through. It is pure. lacking are
// the ways whose session stands and does not bring what it should.
//
// A way becomes unfit when it is dead, and fit again when it is live: waiting after an
// outage, it is as it was, so that a short flap is not told to the world twice. That its
// own session is down or new is no reason: nobody hears us then, and a peer that kept
// our routes over a restart must find them announced when it is back (RFC 4724 section
// 4.2). A way that carries traffic because nothing better is left is fit, and so is,
// where nothing carries any, everything that the kernel could send by: to be announced
// nowhere would improve nothing.
func refit(before map[uplink.Way]bool, members []member, verdicts uplink.Verdicts, facts uplink.Facts, lacking map[uplink.Way]bool) map[uplink.Way]bool {
	unfit := map[uplink.Way]bool{}
	some := map[fib.Family]bool{}
	for _, m := range members {
		v := verdicts[m.Way]
		switch v.State {
		case uplink.Dead:
			unfit[m.Way] = v.Role != uplink.Active && (before[m.Way] || lacking[m.Way] || !onlyBGP(v))
		case uplink.Held:
			unfit[m.Way] = before[m.Way] && v.Role != uplink.Active && v.Role != uplink.Draining
		case uplink.Live, uplink.StateUnknown:
		default:
			panic(fmt.Sprintf("engine: unhandled state %d", uint8(v.State)))
		}
		some[m.Family] = some[m.Family] || !unfit[m.Way] && facts[m.Way].Usable
	}
	for _, m := range members {
		if unfit[m.Way] && !some[m.Family] && facts[m.Way].Usable {
			delete(unfit, m.Way)
		}
	}
	return unfit
}

// onlyBGP reports whether nothing but a session of BGP speaks against a dead way.
func onlyBGP(v uplink.Verdict) bool {
	return !slices.ContainsFunc(v.Reasons, func(r string) bool { return !strings.HasPrefix(r, uplink.KindBGP.String()+": ") })
}

// liveFamilies returns the families that have a live way.
func liveFamilies(verdicts uplink.Verdicts) map[fib.Family]bool {
	live := map[fib.Family]bool{}
	for w, v := range verdicts {
		live[w.Family] = live[w.Family] || v.State == uplink.Live || v.Role == uplink.Active
	}
	return live
}

// announcements returns what the session of w is told, and in words why that is less
// than the configuration says; empty if it is not. It is pure.
func (t *site) announcements(w peerWish, f fitness, s *netmon.Snapshot) (out []bgp.Announcement, withheld string) {
	u := t.uplinkNamed(w.uplink)
	var reasons []string
	because := func(format string, args ...any) {
		if r := fmt.Sprintf(format, args...); !slices.Contains(reasons, r) {
			reasons = append(reasons, r)
		}
	}
	for _, a := range t.config.BGP.Announce {
		family := fib.FamilyOf(a.Prefix.Addr())
		if !slices.Contains(w.conf.Families, bgpFamily(family)) {
			continue
		}
		if why := missed(a, family, f, s); why != "" {
			because("%s is not announced: %s", a.Prefix, why)
			continue
		}
		way := uplink.Way{Uplink: w.uplink, Family: family}
		told := bgp.Announcement{
			Prefix: a.Prefix, Communities: slices.Concat(a.Communities, u.BGP.Communities),
			MED: u.BGP.MED, HasMED: u.BGP.HasMED, Prepend: u.BGP.Prepend,
		}
		if f.unfit[way] {
			switch u.BGP.Unfit {
			case config.UnfitWithdraw:
				because("%s is withdrawn: the uplink is not live", family)
				continue
			case config.UnfitPrepend:
				because("%s is prepended: the uplink is not live", family)
				told.Prepend = min(told.Prepend+unfitPrepend, prependMost)
			case config.UnfitTag:
				because("%s is tagged for graceful shutdown (RFC 8326): the uplink is not live", family)
				told.Communities = append(told.Communities, bgp.GracefulShutdown)
			case config.UnfitKeep:
			default:
				panic(fmt.Sprintf("engine: unhandled unfit %d", uint8(u.BGP.Unfit)))
			}
		}
		if f.drained[way] {
			because("%s is tagged for graceful shutdown (RFC 8326): the uplink is drained", family)
			told.Communities = append(told.Communities, bgp.GracefulShutdown)
		}
		told.Communities = once(told.Communities)
		out = append(out, told)
	}
	return out, strings.Join(reasons, "; ")
}

// missed says why a prefix is not announced to anybody; empty if it is.
func missed(a config.Announce, family fib.Family, f fitness, s *netmon.Snapshot) string {
	switch a.When {
	case config.WhenAlways:
		return ""
	case config.WhenAnyUplinkLive:
		if !f.live[family] {
			return fmt.Sprintf("no uplink is live in %s", family)
		}
		return ""
	case config.WhenInterface:
		link, there := s.Links[a.Interface]
		if o, why := linkEvidence(a.Interface, link, there); o != uplink.Up {
			return why
		}
		return ""
	default:
		panic(fmt.Sprintf("engine: unhandled condition %d", uint8(a.When)))
	}
}

// once returns communities without repeats, nil for none.
func once(all []uint32) []uint32 {
	var out []uint32
	for _, c := range all {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

func (t *site) uplinkNamed(name string) config.Uplink {
	for _, u := range t.config.Uplinks {
		if u.Name == name {
			return u
		}
	}
	return config.Uplink{}
}
