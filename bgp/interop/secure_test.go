package interop

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/bgp"
)

// Passwords of the tests. FRR takes none with a blank in it.
const (
	right = "correct-horse"
	wrong = "battery-staple"
)

// noAnswer is what is said where packets are dropped in silence.
func noAnswer(password bool) string {
	if password {
		return "cannot connect to port 179: no answer; it is the same if the passwords differ"
	}
	return "cannot connect to port 179: no answer"
}

// TestB_SEC_05_B_SEC_07_InteropPassword: a wrong key or none, and nothing comes of
// it; the right one, given to the running Speaker, and sessions stand; another one at
// one end ends them, and at both ends brings them back.
func TestB_SEC_05_B_SEC_07_InteropPassword(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.password = right }), func(p *bgp.Peer) { p.Password = wrong })
		s.troubled(t, noAnswer(true))
		s.set(t, func(p *bgp.Peer) { p.Password = right })
		s.settled(t)
		s.set(t, func(p *bgp.Peer) { p.Password = wrong })
		s.troubled(t, noAnswer(true))
		s.apply(t, func(w *terms) { w.password = wrong })
		s.settled(t)
	})
}

// TestB_SEC_05_InteropPasswordMissing: one end has a key, and the other has none.
func TestB_SEC_05_InteropPasswordMissing(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.password = right }), func(p *bgp.Peer) { p.Password = "" })
		s.troubled(t, noAnswer(false))
		s.apply(t, func(w *terms) { w.password = "" })
		s.settled(t)
	})
}

// TestB_SEC_05_InteropPasswordPassive: the key is asked of those who connect to us,
// too.
func TestB_SEC_05_InteropPasswordPassive(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := play(t, d, with(func(w *terms) { w.password, w.paths = right, callers(d) }), func(p *bgp.Peer) { p.Passive, p.Password = true, right })
		s.settled(t)
		s.set(t, func(p *bgp.Peer) { p.Password = wrong })
		eventually(t, "the sessions end", s.each(func(p path) error {
			if st := s.end.peer(p.name); st.State == bgp.Established {
				return fmt.Errorf("%s", st.State)
			}
			return nil
		}))
		s.set(t, func(p *bgp.Peer) { p.Password = right })
		s.settled(t)
	})
}

// TestB_SEC_01_B_SEC_02_InteropTTL: GTSM at both ends, whoever connects, and at ours
// only: what a peer without it sends does not count.
func TestB_SEC_01_B_SEC_02_InteropTTL(t *testing.T) {
	t.Parallel()
	for _, passive := range []bool{false, true} {
		t.Run(fmt.Sprintf("passive %t", passive), func(t *testing.T) {
			t.Parallel()
			against(t, func(t *testing.T, d daemon) {
				s := play(t, d, with(func(w *terms) {
					w.ttl = passive
					if passive {
						w.paths = callers(d)
					}
				}), func(p *bgp.Peer) { p.TTLSecurity, p.Passive = true, passive })
				if !passive {
					s.droppedForTTL(t)
					s.apply(t, func(w *terms) { w.ttl = true })
				}
				s.settled(t)
			})
		})
	}
}

// callers are the paths on which a peer connects by itself. FRR does not, where the
// peer is known by a link-local address: it waits for news of a next hop that never
// come.
func callers(d daemon) []path {
	if d.name() == "FRR" {
		return allPaths[:2]
	}
	return allPaths
}

// droppedForTTL waits until our host drops what came from too far, and checks that no
// session comes of the rest.
func (s *scene) droppedForTTL(t *testing.T) {
	t.Helper()
	eventually(t, "packets are dropped for their TTL", func() error {
		var text []byte
		err := s.us.Do(func() (err error) {
			text, err = os.ReadFile("/proc/thread-self/net/netstat")
			return err
		})
		if err != nil {
			return err
		}
		names, values := strings.Fields(after(string(text), "TcpExt:")), strings.Fields(after(strings.SplitN(string(text), "\n", 2)[1], "TcpExt:"))
		i := slices.Index(names, "TCPMinTTLDrop")
		if i < 0 || i >= len(values) || len(values[i]) < 2 {
			return fmt.Errorf("fewer than ten: %v", values)
		}
		return nil
	})
	for _, p := range s.terms.paths {
		if st := s.end.peer(p.name); st.State == bgp.Established || st.Flaps != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// distant are sessions through a router.
var distant = []path{
	{name: "IPv4", us: ip("198.51.100.1"), far: ip("203.0.113.1"), subnet: 24, families: []bgp.Family{bgp.IPv4}},
	{name: "IPv6", us: ip("2001:db8:1::1"), far: ip("2001:db8:2::1"), subnet: 64, families: []bgp.Family{bgp.IPv6}},
}

// apart puts a router between both ends.
func apart(t *testing.T) *scene {
	t.Helper()
	s := build(t)
	router := host(t, s.lab, "router")
	must(t, s.lab.Veth(s.us, "hops0", router, "us0"), s.lab.Veth(router, "far0", s.far, "hops0"), router.Forward())
	for _, p := range distant {
		gate, gateFar := p.us.Next(), p.far.Next()
		must(t,
			s.us.AddAddress("hops0", netip.PrefixFrom(p.us, p.subnet)), s.far.AddAddress("hops0", netip.PrefixFrom(p.far, p.subnet)),
			router.AddAddress("us0", netip.PrefixFrom(gate, p.subnet)), router.AddAddress("far0", netip.PrefixFrom(gateFar, p.subnet)),
			s.us.AddRoute(netip.PrefixFrom(p.far, p.subnet), gate, "hops0"), s.far.AddRoute(netip.PrefixFrom(p.us, p.subnet), gateFar, "hops0"),
		)
	}
	return s
}

// TestB_SEC_02_InteropTooFar: a peer behind a router is too far for GTSM, and not for
// multihop.
func TestB_SEC_02_InteropTooFar(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, d daemon) {
		s := apart(t)
		s.cast(t, d, with(func(w *terms) { w.paths, w.hops = distant, 2 }), func(p *bgp.Peer) {
			p.Interface, p.TTLSecurity = "", true
		})
		s.droppedForTTL(t)
		s.set(t, func(p *bgp.Peer) { p.TTLSecurity, p.Multihop = false, 2 })
		s.settled(t)
	})
}
