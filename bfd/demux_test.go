package bfd

import (
	"net/netip"
	"testing"
	"time"
)

// crowd is a table with several sessions that share it.
type crowd struct {
	t        *testing.T
	table    *table
	sessions []*session
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	return &crowd{t: t, table: newTestTable(11)}
}

// join opens a session with sockets on an interface.
func (c *crowd) join(conf Config, link int) *session {
	c.t.Helper()
	s, err := c.table.open(conf, nil, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.table.attach(s, link, &wire{w: newWorld(c.t)})
	c.sessions = append(c.sessions, s)
	return s
}

// first is a packet that begins a session.
func first(src, dst netip.Addr, p port, link int) datagram {
	return packetFor(0, src, dst, p, link)
}

// packetFor is a packet with a discriminator, in Down.
func packetFor(discr uint32, src, dst netip.Addr, p port, link int) datagram {
	b := Packet{State: Down, DetectMult: 3, MyDiscriminator: 5, YourDiscriminator: discr, DesiredMinTx: 1_000_000, RequiredMinRx: 1}.Append(nil)
	return datagram{payload: b, src: src, dst: dst, ttl: 255, link: link, port: p}
}

// goesTo fails unless the datagram feeds that session and no other, nil for none.
func (c *crowd) goesTo(what string, d datagram, want *session, drop Drop) {
	c.t.Helper()
	before := make([]uint64, len(c.sessions))
	for i, s := range c.sessions {
		before[i] = s.received
	}
	dropped := c.table.dropped[drop]
	c.table.input(&d, 0)
	for i, s := range c.sessions {
		if got := s.received - before[i]; (got == 1) != (s == want) {
			c.t.Errorf("%s: session %d with %s got %d packets", what, i, s.core.conf.Peer, got)
		}
	}
	if want == nil && c.table.dropped[drop] != dropped+1 {
		c.t.Errorf("%s: not dropped as %s: %v", what, drop, c.table.stats().Dropped)
	}
}

// The same neighbour address on two interfaces: two sessions.
func TestBFD_SH_01_BFD_SH_04_BFD_RX_10(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		c := newCrowd(t)
		conf := f.asyncConf()
		one := c.join(conf, 3)
		conf.Interface = "eth2"
		two := c.join(conf, 4)
		other := families[0]
		if f.name == other.name {
			other = families[1]
		}
		second := c.join(other.asyncConf(), 3)
		c.goesTo("by the first interface", first(f.b, f.a, portSingleHop, 3), one, DropNone)
		c.goesTo("by the second interface", first(f.b, f.a, portSingleHop, 4), two, DropNone)
		c.goesTo("by a third interface", first(f.b, f.a, portSingleHop, 5), nil, DropNoPeer)
		c.goesTo("of the other family", first(other.b, other.a, portSingleHop, 3), second, DropNone)
		c.goesTo("from a stranger", first(f.odd, f.a, portSingleHop, 3), nil, DropNoPeer)
		c.goesTo("by discriminator", packetFor(two.core.localDiscr, f.b, f.a, portSingleHop, 4), two, DropNone)
		c.goesTo("by discriminator and the wrong interface", packetFor(two.core.localDiscr, f.b, f.a, portSingleHop, 3), nil, DropInterface)
		// One fails, the other does not.
		up := packetFor(second.core.localDiscr, other.b, other.a, portSingleHop, 3)
		up.payload[1] = byte(Init) << 6
		c.table.input(&up, 0)
		down := packetFor(one.core.localDiscr, f.b, f.a, portSingleHop, 3)
		down.payload[1] = byte(AdminDown) << 6
		c.table.input(&down, 0)
		if one.core.state != Down || second.core.state != Up {
			t.Errorf("%s, %s", one.core.state, second.core.state)
		}
	})
}

// Without authentication and with it, a hop limit other than 255 is refused first.
func TestBFD_SH_09_BFD_SH_10_BFD_CG_03(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, conf := range []Config{f.asyncConf(), sha1Conf(f)} {
			r := newRig(t, conf)
			r.settle()
			for ttl := range 256 {
				r.from.ttl = ttl
				want := DropTTL
				if ttl == 255 {
					want = DropNone
				}
				before := r.core.state
				if got := r.hear(inState(Up)); got != want || r.core.state != before {
					t.Errorf("hop limit %d: %s", ttl, got)
				}
			}
		}
	})
}

// On a point-to-point link the source says nothing, and we answer where we are told to.
func TestBFD_SH_14_BFD_SH_15(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		conf := f.asyncConf()
		conf.PointToPoint = true
		r := newRig(t, conf)
		r.from.src = f.odd
		r.bring(Up)
		r.keep(time.Second, 50*time.Millisecond)
		r.mustBe(Up, DiagNone)
		if r.core.conf.Peer != f.b || r.status().Config.Peer != f.b {
			t.Error("the source became the peer")
		}
		c := newCrowd(t)
		p2p := c.join(conf, 3)
		exact := c.join(f.asyncConf(), 3)
		c.goesTo("an odd source", first(f.odd, f.a, portSingleHop, 3), p2p, DropNone)
		c.goesTo("the source of another session", first(f.b, f.a, portSingleHop, 3), exact, DropNone)
		c.goesTo("another link", first(f.odd, f.a, portSingleHop, 4), nil, DropNoPeer)
		c.goesTo("another port", first(f.odd, f.a, portMultihop, 3), nil, DropNoPeer)
	})
}

// Multihop: by both addresses, whatever the interface.
func TestBFD_MH_03(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		c := newCrowd(t)
		conf := f.multihopConf()
		one := c.join(conf, 0)
		other := conf
		other.Local = f.odd
		two := c.join(other, 0)
		for _, link := range []int{0, 3, 9} {
			c.goesTo("to the first address", first(f.farB, f.farA, portMultihop, link), one, DropNone)
			c.goesTo("to the second address", first(f.farB, f.odd, portMultihop, link), two, DropNone)
		}
		c.goesTo("from a stranger", first(f.farA, f.farB, portMultihop, 0), nil, DropNoPeer)
		if _, err := c.table.open(conf, nil, 0); err == nil {
			t.Error("two sessions with the same pair of addresses")
		}
	})
}

// The least hop limit is that of the session.
func TestBFD_MH_06(t *testing.T) {
	for _, c := range []struct{ least, refused, taken int }{{0, 253, 254}, {254, 253, 255}, {255, 254, 255}, {10, 9, 10}, {1, 0, 1}} {
		conf := v4.multihopConf()
		conf.MinTTL = c.least
		r := newRig(t, conf)
		r.settle()
		for _, way := range []func(*Packet){func(*Packet) {}, func(p *Packet) { p.YourDiscriminator = 0 }} {
			r.from.ttl = c.refused
			before := snapshot(r.session)
			if got := r.hear(way); got != DropTTL || before != snapshot(r.session) {
				t.Errorf("least %d: %d was not refused: %s", c.least, c.refused, got)
			}
			r.from.ttl = c.taken
			if got := r.hear(way); got != DropNone {
				t.Errorf("least %d: %d: %s", c.least, c.taken, got)
			}
		}
		if got := r.status().Dropped[DropTTL]; got != 2 {
			t.Errorf("%d counted at the session", got)
		}
	}
}

// Ports do not mix, whatever the discriminator: the hop limit that was checked is that
// of the port.
func TestBFD_MH_07(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		c := newCrowd(t)
		single := c.join(f.asyncConf(), 3)
		multi := c.join(f.multihopConf(), 0)
		echo := c.join(Config{Mode: Echo, Peer: f.odd, Local: f.farA, Interface: "eth3"}, 3)
		for _, s := range []*session{single, multi, echo} {
			for _, p := range []port{portSingleHop, portMultihop, portEcho} {
				if p == s.core.conf.port() {
					continue
				}
				d := packetFor(s.core.localDiscr, s.core.conf.Peer, s.core.conf.Local, p, s.link)
				want := DropPort
				if p == portEcho {
					// Looped packets are known by our own discriminator.
					d.ttl, want = 254, DropNoSession
				}
				c.goesTo("discriminator of a "+s.core.conf.port().name()+" session by "+p.name(), d, nil, want)
				if p == portEcho {
					d.payload[4], d.payload[5], d.payload[6], d.payload[7] = d.payload[8], d.payload[9], d.payload[10], d.payload[11]
					c.goesTo("looped to a "+s.core.conf.port().name()+" session", d, nil, DropPort)
				}
			}
		}
		c.goesTo("first packet by the wrong port", first(f.b, f.a, portMultihop, 3), nil, DropNoPeer)
		c.goesTo("first packet by the other wrong port", first(f.farB, f.farA, portSingleHop, 0), nil, DropNoPeer)
	})
}

// An echo session never takes the first packet of an asynchronous one.
func TestEchoTakesNoFirstPacket(t *testing.T) {
	c := newCrowd(t)
	c.join(Config{Mode: Echo, Peer: v4.b, Local: v4.a, Interface: "eth1"}, 3)
	c.goesTo("by the control port", first(v4.b, v4.a, portSingleHop, 3), nil, DropNoPeer)
}
