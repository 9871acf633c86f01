package bfd

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What RFC 5880 says of echo beside an asynchronous session: ours never send any, and
// offer to loop none.

// pair is an asynchronous session and what it sends. The peer is played by the test.
type pair struct {
	t     *testing.T
	table *table
	s     *session
	now   instant
	sent  []looped
	// peer is what the other end says; silent, if it says nothing. It answers
	// every packet at once.
	peer   Packet
	silent bool
}

func (p *pair) send(b []byte) error {
	p.sent = append(p.sent, looped{at: p.now, b: append([]byte(nil), b...)})
	return nil
}

// newPair brings a session up with a peer that offers to loop echo packets.
func newPair(t *testing.T, offer uint32) *pair {
	t.Helper()
	p := &pair{t: t, table: newTable(rand.New(rand.NewPCG(1, 2)), time.Unix(0, 0).Add), now: time.Second}
	conf := echoFamilies["IPv4"]
	s, err := p.table.open(Config{Peer: conf.Peer, Local: conf.Local, Interface: "wan"}, nil, p.now)
	if err != nil {
		t.Fatal(err)
	}
	p.s = s
	p.peer = Packet{
		State: Init, DetectMult: 3, MyDiscriminator: 77, YourDiscriminator: s.core.localDiscr,
		DesiredMinTx: 50_000, RequiredMinRx: 50_000, RequiredMinEchoRx: offer,
	}
	p.table.attach(s, testLink, p)
	p.hear()
	p.peer.State = Up
	p.run(2 * time.Second)
	if s.core.state != Up {
		t.Fatal("not up")
	}
	return p
}

func (p *pair) hear() {
	conf := p.s.core.conf
	p.peer.Final = p.s.core.polling()
	p.table.input(&datagram{
		payload: p.peer.Append(nil), src: conf.Peer, dst: conf.Local,
		ttl: 255, link: testLink, port: portSingleHop, arrived: p.now,
	}, p.now)
}

// run lets time pass, with a packet of the peer every 20 ms.
func (p *pair) run(d time.Duration) {
	for end := p.now + d; p.now < end; p.now += 20 * time.Millisecond {
		if !p.silent {
			p.hear()
		}
		for p.table.advance(p.now, p.now) {
		}
	}
}

// only fails if anything but control packets was sent, or echo was offered.
func (p *pair) only() {
	p.t.Helper()
	if p.s.core.echo != nil {
		p.t.Fatal("an asynchronous session has an echo function")
	}
	for _, l := range p.sent {
		if len(l.b) != headerLength {
			p.t.Fatalf("sent % x", l.b)
		}
		if offered := binary.BigEndian.Uint32(l.b[20:]); offered != 0 {
			p.t.Fatalf("offered to loop echo packets every %d µs", offered)
		}
	}
}

// TestBFD_EC_01_BFD_EC_02_BFD_EC_03_BFD_EC_07_BFD_EC_08_NeverSent: in no state, however
// willing the peer is, and nothing is looped for it.
func TestBFD_EC_01_BFD_EC_02_BFD_EC_03_BFD_EC_07_BFD_EC_08_NeverSent(t *testing.T) {
	for _, offer := range []uint32{0, 1, 1_000_000} {
		p := newPair(t, offer)
		p.run(5 * time.Second)
		p.silent = true
		p.run(5 * time.Second)
		if p.s.core.state != Down {
			t.Error("the peer is silent, and the session up")
		}
		p.table.setAdmin(p.s, true, p.now)
		p.run(5 * time.Second)
		p.only()
	}
}

// TestBFD_EC_04_BFD_EC_05_BFD_EC_09_BFD_EC_10_ControlDecides: without echo packets to
// miss, the failure of an asynchronous session is never that of its echo. What comes by
// the echo port moves nothing.
func TestBFD_EC_04_BFD_EC_05_BFD_EC_09_BFD_EC_10_ControlDecides(t *testing.T) {
	p := newPair(t, 1_000_000)
	p.silent = true
	d := datagram{
		src: p.s.core.conf.Local, dst: p.s.core.conf.Local, ttl: 254, link: testLink, port: portEcho,
	}
	for end := p.now + time.Second; p.now < end; p.now += 20 * time.Millisecond {
		d.payload, d.arrived = slices.Clone(p.sent[len(p.sent)-1].b), p.now
		binary.BigEndian.PutUint32(d.payload[8:], p.s.core.localDiscr)
		var packet Packet
		if _, drop := p.table.accept(&d, &packet, p.now); drop != DropPort {
			t.Fatalf("by the echo port: %v", drop)
		}
		binary.BigEndian.PutUint32(d.payload[4:], 1)
		if _, drop := p.table.accept(&d, &packet, p.now); drop != DropNoSession {
			t.Fatalf("of a stranger: %v", drop)
		}
		for p.table.advance(p.now, p.now) {
		}
	}
	if p.s.core.state != Down || p.s.core.diag != DiagTimeExpired {
		t.Errorf("%v, %v", p.s.core.state, p.s.core.diag)
	}
}

// TestBFD_EC_06_ReceiveIntervalStays: no echo function, so that the interval for
// control packets stays what was configured.
func TestBFD_EC_06_ReceiveIntervalStays(t *testing.T) {
	p := newPair(t, 1)
	p.run(5 * time.Second)
	last := p.sent[len(p.sent)-1].packet(t)
	if last.RequiredMinRx != 50_000 || last.DesiredMinTx != 50_000 {
		t.Errorf("%v", last)
	}
	p.only()
}

// A session that is administratively down goes on to follow the peer's numbers, and
// forgets them when the peer falls silent: one that began anew meanwhile, with other
// numbers, is understood when the session is enabled.
func TestBFD_ST_12_Disabled(t *testing.T) {
	r := newRig(t, sha1Conf(v4))
	r.bring(Up)
	r.table.setAdmin(r.session, true, r.now)
	r.says.State = Down
	for range 20 {
		r.run(time.Second)
		if got := r.hear(); got != DropAdminDown {
			t.Fatal(got)
		}
	}
	r.run(10 * time.Second)
	r.seq += 1 << 20
	for range 20 {
		r.run(time.Second)
		if got := r.hear(); got != DropAdminDown {
			t.Fatal(got)
		}
	}
	r.table.setAdmin(r.session, false, r.now)
	r.take()
	r.mustBe(Init, DiagAdminDown)
}
