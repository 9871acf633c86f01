package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/lab"
)

// Autonomous systems. They have four octets, so that every test shows RFC 6793, and
// are nobody's and not reserved at the time of writing.
const (
	ourAS    = 205001
	theirAS  = 206002
	customer = 207003
)

// path is where a session runs: the addresses of both ends.
type path struct {
	name    string
	us, far netip.Addr
	subnet  int // bits
	// families that the session carries if no test says otherwise.
	families []bgp.Family
}

// device is the interface that a path takes at the far end, and at ours if there is
// one peer only.
const device = "eth0"

var allPaths = []path{
	{name: "IPv4", us: ip("192.0.2.1"), far: ip("192.0.2.2"), subnet: 24, families: []bgp.Family{bgp.IPv4}},
	{name: "IPv6", us: ip("2001:db8::1"), far: ip("2001:db8::2"), subnet: 64, families: []bgp.Family{bgp.IPv6}},
	{name: "link-local", us: ip("fe80::1"), far: ip("fe80::2"), subnet: 64, families: []bgp.Family{bgp.IPv6}},
}

func ip(s string) netip.Addr             { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix       { return netip.MustParsePrefix(s) }
func familyOf(p netip.Prefix) bgp.Family { return bgp.FamilyOf(p.Addr()) }

// Prefixes: ours, and those that the peers announce. All are such as are routed.
var (
	ourPrefix4, ourPrefix6   = prefix("193.0.0.0/21"), prefix("2001:67c:2e8::/48")
	theirs4, theirs6         = prefix("198.41.0.0/24"), prefix("2600:1::/32")
	others4, others6         = prefix("198.41.1.0/24"), prefix("2600:2::/32")
	default4, default6       = prefix("0.0.0.0/0"), prefix("::/0")
	ours, theirPair, another = []netip.Prefix{ourPrefix4, ourPrefix6}, []netip.Prefix{theirs4, theirs6}, []netip.Prefix{others4, others6}
	defaults                 = []netip.Prefix{default4, default6}
)

// route is what a peer announces.
type route struct {
	prefix netip.Prefix
	// communities are as "65535:0"; bandwidth is in octets per second.
	communities []string
	med         uint32
	prepend     int
	bandwidth   float64
}

// routes announces prefixes without anything.
func routes(lists ...[]netip.Prefix) []route {
	var all []route
	for _, list := range lists {
		for _, p := range list {
			all = append(all, route{prefix: p})
		}
	}
	return all
}

// terms are how a far end is configured.
type terms struct {
	as, usAS uint32
	paths    []path
	announce []route
	password string
	// ttl is GTSM; hops is for peers that are not directly connected.
	ttl     bool
	hops    int
	hold    time.Duration
	passive bool
	// graceful: graceful restart, able to restart, for restartTime.
	graceful    bool
	restartTime time.Duration
	// limit is how many prefixes of ours it takes.
	limit int
	// shut ends the sessions with these words.
	shut string
	// nextHop6: IPv4 with IPv6 next hops (RFC 8950).
	nextHop6 bool
	extended bool
	// refuse: nothing of ours is taken.
	refuse bool
}

// usual are the terms of a peer unless a test says otherwise.
func usual() terms {
	return terms{
		as: theirAS, usAS: ourAS, paths: allPaths, announce: routes(theirPair, defaults), hold: 30 * time.Second,
		restartTime: time.Minute,
	}
}

// with returns the usual terms, changed.
func with(change func(*terms)) terms {
	w := usual()
	if change != nil {
		change(&w)
	}
	return w
}

// seen is a path of ours, as the peer shows it.
type seen struct {
	asPath      string // as "205001 205001"
	med         string // "" if none
	communities []string
	nextHop     netip.Addr
	stale       bool
}

// daemon is a peer.
type daemon interface {
	name() string
	// launch starts it; what is returned is the process that speaks BGP. again says
	// that it was killed, and is to say that it restarts.
	launch(t *testing.T, h *lab.Host, w terms, again bool) *process
	// apply changes the terms of the running daemon.
	apply(t *testing.T, w terms)
	// state is the state of a session, and established whether it is that.
	state(p path) (words string, established bool, err error)
	// learned are our paths on a session.
	learned(p path, f bgp.Family) (map[netip.Prefix]seen, error)
}

// makers are all peers.
var makers = []struct {
	name string
	make func(*testing.T) daemon
}{{"BIRD", newBird}, {"FRR", newFRR}, {"multihomed", newSecond}}

// against runs f once for each peer that has a name of only, or for all.
func against(t *testing.T, f func(t *testing.T, d daemon), only ...string) {
	t.Helper()
	for _, m := range makers {
		if len(only) > 0 && !slices.Contains(only, m.name) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			f(t, m.make(t))
		})
	}
}

// scene is a network with a peer in it, and our end.
type scene struct {
	lab     *lab.Lab
	us, far *lab.Host
	daemon  daemon
	process *process
	terms   terms
	end     *end
	config  bgp.Config
}

// build makes the network without anybody in it.
func build(t *testing.T) *scene {
	t.Helper()
	l, err := lab.New(lab.Options{Name: "interop"})
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &scene{lab: l, us: host(t, l, "us"), far: host(t, l, "far")}
	must(t, l.Veth(s.us, device, s.far, device))
	for _, p := range allPaths {
		must(t, s.us.AddAddress(device, netip.PrefixFrom(p.us, p.subnet)), s.far.AddAddress(device, netip.PrefixFrom(p.far, p.subnet)))
	}
	return s
}

func host(t *testing.T, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	h, err := l.Host(name)
	must(t, err)
	return h
}

// play builds the network, and starts the peer and our end.
func play(t *testing.T, d daemon, w terms, change func(*bgp.Peer)) *scene {
	t.Helper()
	s := build(t)
	s.cast(t, d, w, change)
	return s
}

// cast starts the peer and our end.
func (s *scene) cast(t *testing.T, d daemon, w terms, change func(*bgp.Peer)) {
	t.Helper()
	s.daemon = d
	s.launch(t, w, false)
	s.config = ourConfig(w, change)
	s.speak(t)
}

// launch starts the peer.
func (s *scene) launch(t *testing.T, w terms, again bool) {
	t.Helper()
	s.terms = w
	s.process = s.daemon.launch(t, s.far, w, again)
	eventually(t, s.daemon.name()+" answers", func() error {
		if s.process.hasEnded() {
			t.Fatalf("%s ended: %s", s.process.name, s.process.tail(20))
		}
		_, _, err := s.daemon.state(w.paths[0])
		return err
	})
}

// apply changes the terms of the peer.
func (s *scene) apply(t *testing.T, change func(*terms)) {
	t.Helper()
	change(&s.terms)
	s.daemon.apply(t, s.terms)
}

// speak starts our end.
func (s *scene) speak(t *testing.T) {
	t.Helper()
	s.end = begin(t, s.us)
	s.end.set(t, s.config)
}

// set changes all of our peers.
func (s *scene) set(t *testing.T, change func(*bgp.Peer)) {
	t.Helper()
	s.config.Peers = slices.Clone(s.config.Peers)
	for i := range s.config.Peers {
		change(&s.config.Peers[i])
	}
	s.end.set(t, s.config)
}

// ourConfig is our end of the sessions that w has.
func ourConfig(w terms, change func(*bgp.Peer)) bgp.Config {
	c := bgp.Config{AS: w.usAS, RouterID: ip("10.0.0.1"), Port: 179, Own: ours, ASPath: bgp.ASPathRelax}
	for i, p := range w.paths {
		peer := bgp.Peer{
			Name: p.name, Slot: bgp.Slot(i), Address: p.far, AS: w.as, Families: p.families, Interface: device,
			Import: bgp.Import{Mode: bgp.ImportFull}, HoldTime: 30 * time.Second, Password: bgp.Secret(w.password),
			GracefulRestart: bgp.GracefulRestart{Enabled: w.graceful},
		}
		if p.far.IsLinkLocalUnicast() {
			peer.Address = p.far.WithZone(device)
		}
		for _, own := range ours {
			if slices.Contains(p.families, familyOf(own)) {
				peer.Announce = append(peer.Announce, bgp.Announcement{Prefix: own})
			}
		}
		if change != nil {
			change(&peer)
		}
		c.Peers = append(c.Peers, peer)
	}
	return c
}

// each asks f of every path; the first objection is returned.
func (s *scene) each(f func(p path) error) func() error {
	return func() error {
		for _, p := range s.terms.paths {
			if err := f(p); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		return nil
	}
}

// eachFamily asks f of every path and each of its families.
func (s *scene) eachFamily(f func(p path, f bgp.Family) error) func() error {
	return s.each(func(p path) error {
		for _, family := range p.families {
			if err := f(p, family); err != nil {
				return fmt.Errorf("%s: %w", family, err)
			}
		}
		return nil
	})
}

// comesUp waits until both ends of every session say that it is established.
func (s *scene) comesUp(t *testing.T) {
	t.Helper()
	eventually(t, "all sessions are established", s.each(func(p path) error {
		if st := s.end.peer(p.name); st.State != bgp.Established || st.Trouble != "" {
			return fmt.Errorf("%s, trouble %q", st.State, st.Trouble)
		}
		words, up, err := s.daemon.state(p)
		if err == nil && !up {
			err = fmt.Errorf("%s says %s", s.daemon.name(), words)
		}
		return err
	}))
}

// learns waits until we have what the peer announces, and nothing else, and that the
// peer has sent its table.
func (s *scene) learns(t *testing.T) {
	t.Helper()
	eventually(t, "we learn what the peer announces", s.eachFamily(func(p path, f bgp.Family) error {
		want := 0
		for _, r := range s.terms.announce {
			if familyOf(r.prefix) == f {
				want++
			}
		}
		x := family(s.end.peer(p.name), f)
		if !x.Synced || x.Received != want || x.Stale != 0 || x.Retained {
			return fmt.Errorf("%d prefixes are announced, known is %+v", want, x)
		}
		return nil
	}))
}

// teaches waits until the peer has our prefixes, and nothing else of us.
func (s *scene) teaches(t *testing.T) {
	t.Helper()
	eventually(t, "the peer learns what we announce", s.eachFamily(func(p path, f bgp.Family) error {
		return s.has(p, f, s.announced(p.name, f)...)
	}))
}

// announced are the prefixes that our configuration announces to a peer.
func (s *scene) announced(name string, f bgp.Family) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range s.config.Peers {
		for _, a := range p.Announce {
			if p.Name == name && familyOf(a.Prefix) == f {
				list = append(list, a.Prefix)
			}
		}
	}
	return list
}

// has objects unless the peer has exactly these prefixes of us.
func (s *scene) has(p path, f bgp.Family, want ...netip.Prefix) error {
	got, err := s.daemon.learned(p, f)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s has %v of us, want %v", s.daemon.name(), got, want)
	}
	for _, w := range want {
		if _, ok := got[w]; !ok {
			return fmt.Errorf("%s has %v of us, want %v", s.daemon.name(), got, want)
		}
	}
	return nil
}

// settled waits until sessions stand and both ends know everything.
func (s *scene) settled(t *testing.T) {
	t.Helper()
	s.comesUp(t)
	s.learns(t)
	s.teaches(t)
}

// lost waits until every session was lost, and says why; words are how that begins.
func (s *scene) lost(t *testing.T, words string) {
	t.Helper()
	eventually(t, "all sessions are lost", s.each(func(p path) error {
		if st := s.end.peer(p.name); st.Flaps == 0 || !strings.HasPrefix(st.LastError, words) {
			return fmt.Errorf("%s, %d flaps, last error %q; want %q", st.State, st.Flaps, st.LastError, words)
		}
		return nil
	}))
}

// troubled waits until every session is not to be had for a reason.
func (s *scene) troubled(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, "the trouble is told", s.each(func(p path) error {
		if st := s.end.peer(p.name); st.State == bgp.Established || !slices.Contains(words, st.Trouble) {
			return fmt.Errorf("%s, trouble %q; want %q", st.State, st.Trouble, words)
		}
		return nil
	}))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
