package bfd

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// echoFamilies are the addresses that the tests of both families use.
var echoFamilies = map[string]Config{
	"IPv4": {
		Mode: Echo, Interface: "wan", Peer: netip.MustParseAddr("203.0.113.1"),
		Local: netip.MustParseAddr("203.0.113.2"), EchoSource: netip.MustParseAddr("198.51.100.2"),
	},
	"IPv6": {
		Mode: Echo, Interface: "wan", Peer: netip.MustParseAddr("2001:db8:1::1"),
		Local: netip.MustParseAddr("2001:db8:1::2"), EchoSource: netip.MustParseAddr("2001:db8:2::2"),
	},
}

// inEchoFamilies runs f for either family.
func inEchoFamilies(t *testing.T, f func(t *testing.T, conf Config)) {
	t.Helper()
	for name, conf := range echoFamilies {
		t.Run(name, func(t *testing.T) { f(t, conf) })
	}
}

// onEchoSites runs f for either family, beside other tests: it waits more than it works.
func onEchoSites(t *testing.T, f func(t *testing.T, conf Config)) {
	t.Helper()
	t.Parallel()
	for name, conf := range echoFamilies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, conf)
		})
	}
}

// looped is a packet that was sent.
type looped struct {
	at     instant
	source netip.Addr
	b      []byte
}

func (l looped) packet(t *testing.T) Packet {
	t.Helper()
	p, err := ParsePacket(l.b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (l looped) kind() echoKind { return echoKind(l.b[len(l.b)-trailerLength+trailerKind]) }

// neighbourhood is a table with one echo session, and a neighbour in virtual time.
type neighbourhood struct {
	t     *testing.T
	table *table
	s     *session
	now   instant
	// delay is the way there and back.
	delay time.Duration
	// forward says whether the neighbour forwards a packet; nil: every one.
	forward func(looped) bool
	// sent has all packets, flying those that are under way.
	sent, flying []looped
	said         error
	events       []Event
}

const testLink = 7

func newNeighbourhood(t *testing.T, conf Config) *neighbourhood {
	t.Helper()
	n := &neighbourhood{t: t, table: newTable(rand.New(rand.NewPCG(1, 2)), time.Unix(0, 0).Add), delay: 2 * time.Millisecond}
	n.now = 5 * time.Second
	n.s = n.open(conf)
	return n
}

// open adds a session that is looped by the same neighbour.
func (n *neighbourhood) open(conf Config) *session {
	n.t.Helper()
	s, err := n.table.open(conf, func(e Event) { n.events = append(n.events, e) }, n.now)
	if err != nil {
		n.t.Fatal(err)
	}
	n.table.attach(s, testLink, &echoingSender{n: n, source: s.core.conf.EchoSource})
	return s
}

// echoingSender hands packets to the neighbour.
type echoingSender struct {
	n      *neighbourhood
	source netip.Addr
}

func (e *echoingSender) send(b []byte) error { return e.sendFrom(e.source, b) }

func (e *echoingSender) sendTest(b []byte) error { return e.sendFrom(e.n.s.core.conf.Local, b) }

func (e *echoingSender) sendFrom(source netip.Addr, b []byte) error {
	l := looped{at: e.n.now, source: source, b: slices.Clone(b)}
	e.n.sent = append(e.n.sent, l)
	if e.n.forward == nil || e.n.forward(l) {
		e.n.flying = append(e.n.flying, l)
	}
	return nil
}

func (e *echoingSender) failure() error { return e.n.said }

// datagram is l as it comes back now.
func (n *neighbourhood) datagram(l looped) *datagram {
	return &datagram{
		payload: slices.Clone(l.b), src: l.source, dst: n.s.core.conf.Local,
		ttl: 254, link: testLink, port: portEcho, arrived: min(n.now, l.at+n.delay),
	}
}

// run lets time pass.
func (n *neighbourhood) run(d time.Duration) {
	end := n.now + d
	for {
		at := n.table.wake()
		if len(n.flying) > 0 {
			at = min(at, n.flying[0].at+n.delay)
		}
		if at > end {
			break
		}
		n.now = max(n.now, at)
		for len(n.flying) > 0 && n.flying[0].at+n.delay <= n.now {
			l := n.flying[0]
			n.flying = n.flying[1:]
			n.table.input(n.datagram(l), n.now)
		}
		for n.table.advance(n.now, n.now) {
		}
		for _, e := range n.table.take() {
			e.notify(e.Event)
		}
	}
	n.now = end
}

// up runs until the session is Up and its packets come back at the full rate.
func (n *neighbourhood) up() {
	n.t.Helper()
	n.run(time.Second)
	if n.s.core.state != Up {
		n.t.Fatalf("not up: %v, %s", n.s.core.state, n.table.status(n.s).Problem)
	}
}

// drop is why the table drops d now.
func (n *neighbourhood) drop(d *datagram) Drop {
	var p Packet
	_, drop := n.table.accept(d, &p, n.now)
	return drop
}

// retagged changes the control packet of l and makes a good trailer for it, with the
// next number.
func (n *neighbourhood) retagged(l looped, change func(pdu []byte)) looped {
	pdu := slices.Clone(l.b[:len(l.b)-trailerLength])
	change(pdu)
	e := n.s.core.echo
	return looped{at: n.now, source: l.source, b: e.mark(pdu, echoMain, n.now)}
}
