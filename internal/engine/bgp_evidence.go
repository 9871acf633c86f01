package engine

import (
	"fmt"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bgpView is what is known of the session that serves a way when its evidence is
// drawn.
type bgpView struct {
	mode config.ImportMode
	// why says why there is no session to try, shut why it is kept shut; empty if it
	// is not. drained says that shut is so because the way was emptied, which is not
	// held against it.
	why, shut string
	drained   bool
	// speaking: there is a child that answers; otherwise lack says why, in words.
	speaking bool
	lack     string
	// told: the speaker has spoken of the peer. peer and family are what it said.
	told   bool
	peer   bgp.PeerStatus
	family bgp.FamilyStatus
	// before is what was concluded last while a child spoke, and not merely awaited.
	before concluded
	// until is how long a session that is not there is awaited, because the way was in
	// use when that began; zero if it is not.
	until time.Time
	// starting is how long the first child of a daemon that adopted nothing may take
	// before that nobody speaks is no word against the way any more.
	starting time.Time
	// returning is until when a session is awaited that we ended ourselves, zero if none
	// is; back says why it comes back, in words.
	returning time.Time
	back      string
	// alive: evidence of another kind says that the gateway works, and none says that
	// it does not.
	alive bool
}

// concluded is an opinion with its reason.
type concluded struct {
	opinion uplink.Opinion
	reason  string
}

// bgpEvidence is what a session means to a way that it serves. It is pure. settled says
// that the conclusion stands on what the session did, rather than on waiting for it.
func bgpEvidence(v bgpView, now time.Time) (c concluded, settled bool) {
	awaited := now.Before(v.until)
	switch {
	case v.why != "":
		return v.missing("no session: "+v.why, awaited)
	case !v.speaking && v.before.opinion == uplink.Unknown && now.Before(v.starting):
		return concluded{uplink.Down, "no session yet: the BGP part is being started"}, false
	case !v.speaking:
		return v.unspoken(awaited), false
	case v.shut != "" && v.drained:
		return concluded{uplink.Unknown, "the session is shut: " + v.shut}, false
	case v.shut != "":
		return v.missing("no session: "+v.shut, awaited)
	case now.Before(v.returning) && !(v.peer.State == bgp.Established && v.family.Synced):
		return concluded{uplink.Unknown, v.back + ": the session is awaited until " + clockOf(v.returning)}, false
	case !v.told:
		return v.missing("no session yet: it is being set up", awaited)
	case v.peer.State == bgp.Established:
		return v.established(awaited)
	case v.family.Retained:
		return v.retained()
	case v.peer.Flaps > 0:
		return concluded{uplink.Down, "the session was lost: " + orWords(v.peer.LastError, v.peer.Trouble)}, true
	default:
		return v.missing("no session yet: "+v.neverWords(), awaited)
	}
}

// unspoken is what a way is worth while nobody speaks: what was known last stays, for
// as long as peers may be expected to keep what they were told. That we fail is never
// held against a way.
func (v bgpView) unspoken(awaited bool) concluded {
	reason := "nobody speaks BGP at present: " + v.lack
	switch {
	case v.before.opinion == uplink.Unknown:
		return concluded{uplink.Unknown, reason}
	case v.before.opinion == uplink.Up && !awaited:
		return concluded{uplink.Unknown, reason + "; before that: " + v.before.reason}
	default:
		return concluded{v.before.opinion, v.before.reason + "; " + reason}
	}
}

// missing is what a way is worth whose session is not there and was not lost: it is
// down, unless the way was in use before the session could be known, in this life or in
// the one before.
func (v bgpView) missing(words string, awaited bool) (concluded, bool) {
	if !awaited || v.before.opinion == uplink.Down {
		return concluded{uplink.Down, words}, true
	}
	return concluded{v.before.opinion, words + "; the uplink was in use, and the session is awaited until " + clockOf(v.until)}, false
}

// neverWords says why a session never came up, and what to look at.
func (v bgpView) neverWords() string {
	if v.peer.Trouble != "" {
		return v.peer.Trouble
	}
	return fmt.Sprintf("trying %s (AS %d)", v.peer.Address, v.peer.AS)
}

// retained is a lost session whose paths graceful restart keeps (RFC 4724). The peer
// says that it goes on forwarding; somebody else has to say that it is there at all.
func (v bgpView) retained() (concluded, bool) {
	until := clockOf(v.family.Until)
	lost := "the session was lost: " + orWords(v.peer.LastError, v.peer.Trouble)
	if v.alive {
		return concluded{uplink.Unknown, lost + "; graceful restart keeps its routes until " + until + ", and the gateway is alive"}, false
	}
	return concluded{uplink.Down, lost + "; graceful restart would keep its routes until " + until + ", but nothing else says that the gateway is alive"}, true
}

// established is a session that is up: it vouches for the way once the peer has sent
// its table and what is required was accepted.
func (v bgpView) established(awaited bool) (concluded, bool) {
	with := fmt.Sprintf("established with %s (AS %d)", v.peer.Address, v.peer.AS)
	switch {
	case !v.family.Negotiated:
		return concluded{uplink.Down, fmt.Sprintf("%s, which does not speak %s: ask the ISP to enable it, or take it out of bgp.families", with, v.family.Family)}, true
	case !v.family.Synced && v.before.opinion == uplink.Up:
		return concluded{uplink.Up, with + ", which is sending its table again"}, false
	case !v.family.Synced && v.family.Retained && v.before.opinion != uplink.Down:
		return concluded{uplink.Unknown, with + ", which is sending its table again"}, false
	case !v.family.Synced:
		return v.missing(with+", which has not sent its whole table yet", awaited)
	}
	if v.family.Draining {
		with += ", which announces a graceful shutdown (RFC 8326)"
	}
	what, lack := v.required()
	if lack != "" {
		return concluded{uplink.Down, with + ", " + lack}, true
	}
	return concluded{uplink.Up, with + ", " + what}, true
}

// required returns what of that which import asks for is there, or what lacks. It says
// no numbers that move.
func (v bgpView) required() (what, lack string) {
	d, f := v.family.Default, v.family
	switch v.mode {
	case config.ImportDefault:
		switch {
		case d.Accepted:
			return "default route accepted", ""
		case d.Received:
			return "", fmt.Sprintf("but its default route is refused: %s", d.Refused)
		default:
			return "", "but it announces no default route: ask the ISP for one, or choose another bgp.import"
		}
	case config.ImportPrefixes, config.ImportFull:
		switch {
		case f.Accepted > 0 && v.mode == config.ImportFull:
			return "table accepted", ""
		case f.Accepted > 0:
			return "prefixes accepted", ""
		case f.Received > 0:
			return "", "but everything that it announces is refused: " + refusalWords(f.Refused)
		default:
			return "", "but it announces nothing: ask the ISP what it sends"
		}
	default:
		panic(fmt.Sprintf("engine: unhandled import mode %d", uint8(v.mode)))
	}
}

// refusalWords names the reason for which most was refused.
func refusalWords(refused map[bgp.Reason]int) string {
	var most bgp.Reason
	for r, n := range refused {
		if n > refused[most] || n == refused[most] && r < most {
			most = r
		}
	}
	return most.String()
}

// lackOf says why nobody speaks, in words.
func lackOf(s speaker.Status) string {
	if s.Trouble == "" {
		return "the BGP part is being started"
	}
	return s.Trouble
}

// gatewayAlive reports whether another source says that way w works, and none that it
// does not.
func gatewayAlive(w uplink.Way, board uplink.Snapshot) bool {
	alive := false
	for kind := uplink.KindLink; kind < uplink.KindBGP; kind++ {
		e, ok := board[uplink.Source{Way: w, Kind: kind}]
		if !ok {
			continue
		}
		switch opinionOf(e) {
		case uplink.Down:
			return false
		case uplink.Up:
			alive = alive || !kind.Hard() && kind != uplink.KindKernel
		case uplink.Unknown:
		default:
			panic(fmt.Sprintf("engine: unhandled opinion %d", uint8(e.Opinion)))
		}
	}
	return alive
}

// opinionOf returns what e says, of several targets what any of them says for the way,
// and only what all of them say against it.
func opinionOf(e uplink.Evidence) uplink.Opinion {
	if len(e.Targets) == 0 {
		return e.Opinion
	}
	down := 0
	for _, t := range e.Targets {
		switch t.Opinion {
		case uplink.Up:
			return uplink.Up
		case uplink.Down:
			down++
		case uplink.Unknown:
		}
	}
	if down == len(e.Targets) {
		return uplink.Down
	}
	return uplink.Unknown
}

// orWords returns the first of two reasons that is there.
func orWords(a, b string) string {
	switch {
	case a != "":
		return a
	case b != "":
		return b
	default:
		return "nobody said why"
	}
}

// clockOf returns the time of day as reasons name it, rounded so that a reason does not
// change while its time does not.
func clockOf(t time.Time) string { return t.UTC().Round(time.Second).Format(time.TimeOnly) + " UTC" }
