package bfd

import (
	"math/rand/v2"
	"testing"
	"time"
)

// fuzzed is a table under random operations, and what has to hold at any time.
type fuzzed struct {
	t     testing.TB
	data  []byte
	table *table
	now   instant
	// seen is up to when everything was received.
	seen  instant
	parts []*part
}

// part is one session, and the sender that watches it.
type part struct {
	f *fuzzed
	*session
	conf Config
	// index is that of the interface.
	index int
	// sequence is that of the peer.
	sequence uint32
	// last is what was sent last, lastAt the last packet but a Final.
	last   Packet
	lastAt instant
	sent   bool
	// changes were made that may be told at once; polls were taken that may be
	// answered.
	changes, polls int
}

// next takes one octet of the input, 0 at its end.
func (f *fuzzed) next() byte {
	if len(f.data) == 0 {
		return 0
	}
	b := f.data[0]
	f.data = f.data[1:]
	return b
}

// pick takes one of several values.
func pick[T any](f *fuzzed, values ...T) T { return values[int(f.next())%len(values)] }

// send judges a packet: what it says, and whether it may be sent now.
func (p *part) send(b []byte) error {
	t, c := p.f.t, &p.core
	t.Helper()
	x, err := ParsePacket(b)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case x.Poll && x.Final:
		t.Fatalf("P and F: %v", x)
	case x.State != Up && x.DesiredMinTx < 1_000_000:
		t.Fatalf("too fast for its state: %v", x)
	case x.Demand || x.ControlPlaneIndependent || x.RequiredMinEchoRx != 0:
		t.Fatalf("claims what it is not: %v", x)
	case x.State != c.state || x.Diag != c.diag || x.MyDiscriminator != c.localDiscr || x.YourDiscriminator != c.remoteDiscr:
		t.Fatalf("sent %v, session %+v", x, snapshot(p.session))
	case x.DesiredMinTx == 0 || x.DetectMult == 0 || (x.Auth.Type != c.conf.Auth.Type):
		t.Fatalf("sent %v", x)
	}
	if x.Final {
		if p.polls--; p.polls < 0 {
			t.Fatalf("at %v: a Final that nobody asked for", p.f.now)
		}
	} else {
		p.judgePace(x)
	}
	x.Poll, x.Final, x.Auth = false, false, AuthSection{}
	p.last = x
	return nil
}

// judgePace judges when a packet is sent that is no Final.
func (p *part) judgePace(x Packet) {
	t, c := p.f.t, &p.core
	t.Helper()
	x.Poll, x.Auth = false, AuthSection{}
	gap := p.f.now - p.lastAt
	news := x.State != p.last.State || x.Diag != p.last.Diag
	if p.sent && !news && float64(gap) < 0.75*float64(c.interval())-1 {
		if p.changes--; p.changes < 0 {
			t.Fatalf("at %v: sent %v after the last, the interval is %v", p.f.now, gap, c.interval())
		}
	}
	if c.conf.Passive && c.remoteDiscr == 0 || c.remoteMinRx == 0 {
		t.Fatalf("at %v: sent to a peer that must not get anything", p.f.now)
	}
	if !x.Poll && c.demanded() && p.sent && x == p.last && p.changes < 0 {
		t.Fatalf("at %v: sent to a peer in Demand mode", p.f.now)
	}
	p.lastAt, p.sent = p.f.now, true
}

// open opens the session of a part, again if it was closed.
func (p *part) open() {
	before := p.session
	s, err := p.f.table.open(p.conf, func(Event) {}, p.f.now)
	if err != nil {
		p.f.t.Fatal(err)
	}
	if p.session = s; s != before {
		p.last, p.sent, p.changes, p.polls = Packet{}, false, 0, 0
	}
	p.changes++
	if s.sender == nil {
		p.f.table.attach(s, p.index, p)
	}
}

// packet gives the session a packet; most are for it, and some are well-formed.
func (p *part) packet() {
	f, c := p.f, &p.core
	kind, flags := f.next(), f.next()
	x := Packet{
		State: State(flags & 3), Poll: flags&4 != 0, Final: flags&8 != 0, Demand: flags&16 != 0,
		Diag: Diag(flags >> 5), DetectMult: pick(f, byte(3), 1, 255, 0, 2),
		MyDiscriminator: pick(f, uint32(9), 9, 9, 10, 0), YourDiscriminator: pick(f, c.localDiscr, c.localDiscr, c.localDiscr, 0, 1),
		DesiredMinTx:  pick(f, uint32(50_000), 1_000_000, 0, 3_300, 0xffffffff, 10_000_000),
		RequiredMinRx: pick(f, uint32(50_000), 1, 0, 3_300, 0xffffffff, 2_000_000),
	}
	b := x.Append(nil)
	if a := p.conf.Auth; a.Type != AuthNone && kind&1 == 0 {
		p.sequence += pick(f, uint32(1), 1, 1, 0, 1, 200)
		b = a.sign(b, p.sequence)
	}
	if p.conf.Auth.Type == AuthNone && kind == 0x84 {
		auth := sha1Conf(v4).Auth
		b = auth.sign(b, 1)
	}
	if kind&0x70 == 0x70 {
		b[int(f.next())%len(b)] ^= f.next()
	}
	arrived := max(f.seen, f.now-time.Duration(kind&0xe)*time.Millisecond)
	d := datagram{payload: b, src: c.conf.Peer, dst: c.conf.Local, ttl: 255, link: p.index, port: c.conf.port(), arrived: arrived}
	switch kind {
	case 0x80:
		d.port = portMultihop
	case 0x81:
		d.link = 9
	case 0x82:
		d.ttl = 250
	case 0x83:
		d.src = v4.odd
	}
	p.judge(&d)
}

// judge gives the session a packet and judges what became of it.
func (p *part) judge(d *datagram) {
	f, c := p.f, &p.core
	before, taken := snapshot(p.session), f.table.received
	dropped := f.table.dropped
	wasRemoved := p.place == removed
	if d.payload[1]&flagPoll != 0 {
		p.polls++
	}
	f.table.input(d, f.now)
	after := snapshot(p.session)
	if f.table.received == taken {
		admin := f.table.dropped[DropAdminDown] != dropped[DropAdminDown]
		if !admin && before != after {
			f.t.Fatalf("at %v: a packet was dropped and changed\n%+v to\n%+v", f.now, before, after)
		}
		if admin && (after.state != AdminDown || after.lastRx != before.lastRx || after.heard != before.heard || after.urgent != before.urgent) {
			f.t.Fatalf("at %v: in AdminDown a packet changed\n%+v to\n%+v", f.now, before, after)
		}
		return
	}
	if wasRemoved {
		f.t.Fatal("a session that is no more took a packet")
	}
	heard := after.remoteState
	switch {
	case before.state == Down && after.state == Up && heard != Init,
		before.state == Init && after.state == Up && heard != Init && heard != Up,
		before.state == Down && after.state == Init && heard != Down,
		before.state == Up && after.state == Init,
		before.state == Up && after.state == Down && heard != Down && heard != AdminDown,
		before.state == AdminDown, after.state == AdminDown:
		f.t.Fatalf("%s to %s by a packet in %s", before.state, after.state, heard)
	}
	if c.urgent {
		p.changes++
	}
}

// elapse lets time pass; what arrived lately may not have been received yet.
func (f *fuzzed) elapse() {
	span := time.Duration(1+f.next()) * pick(f, time.Millisecond, 100*time.Microsecond, 30*time.Millisecond, time.Second)
	lag := time.Duration(f.next()&0x1f) * time.Millisecond
	if f.next()&1 == 0 {
		lag = 0
	}
	end := f.now + span
	for range 300 {
		f.now = max(f.now+1, min(end, f.table.wake()))
		f.seen = max(f.seen, f.now-lag)
		f.drive()
		if f.now >= end {
			break
		}
	}
}

// drive is one round of the loop.
func (f *fuzzed) drive() {
	f.t.Helper()
	var before [3]core
	for i, p := range f.parts {
		before[i] = p.core
	}
	for i := 0; f.table.advance(f.now, f.seen); i++ {
		if i > len(f.parts) {
			f.t.Fatal("there is no end to it")
		}
	}
	for i, p := range f.parts {
		c, b := &p.core, &before[i]
		expired := b.heard && !c.heard
		if expired != (b.heard && b.deadline() <= f.seen) && p.place != removed {
			f.t.Fatalf("at %v, seen %v: expired is %t, deadline %v", f.now, f.seen, expired, b.deadline())
		}
		if !expired && b.state != c.state {
			f.t.Fatalf("%s became %s by itself", b.state, c.state)
		}
		if c.urgent {
			p.changes++
		}
	}
	f.table.take()
	f.holds()
	if w := f.table.wake(); w <= f.now {
		f.t.Fatalf("at %v: something is due still, at %v", f.now, w)
	}
}

// holds judges what has to hold at any time.
func (f *fuzzed) holds() {
	f.t.Helper()
	f.table.consistent(f.t, f.now)
	for _, p := range f.parts {
		c := &p.core
		if !c.heard && c.state != AdminDown && c.remoteDiscr != 0 {
			f.t.Fatal("a discriminator after silence")
		}
		if !c.heard && (c.state == Up || c.state == Init) {
			f.t.Fatalf("%s without having heard anything", c.state)
		}
		if c.state != Up && (c.minTx < time.Second || c.pacing < time.Second) {
			f.t.Fatalf("%s at %v", c.state, c.minTx)
		}
		if (c.settleAt != never) != (c.poll == pollEnded || c.poll == pollSettling) {
			f.t.Fatalf("poll %d, settles at %v", c.poll, c.settleAt)
		}
	}
}

// operate does one thing.
func (f *fuzzed) operate() {
	op := f.next()
	p := f.parts[int(op>>4)%len(f.parts)]
	p.changes++
	switch op & 15 {
	default:
		p.changes--
		p.packet()
	case 7, 8, 9:
		p.changes--
		f.elapse()
	case 10:
		p.conf.DesiredMinTx = pick(f, 50*time.Millisecond, MinInterval, time.Second, MaxInterval)
		p.conf.RequiredMinRx = pick(f, 50*time.Millisecond, MinInterval, time.Second, MaxInterval)
		p.conf.Multiplier = pick(f, 3, 1, 255)
		p.conf.Passive = f.next()&7 == 7
		if err := f.table.update(p.session, p.conf); err != nil {
			f.t.Fatal(err)
		}
	case 11:
		f.table.setAdmin(p.session, f.next()&1 == 0, f.now)
	case 12:
		f.table.close(p.session, f.now)
	case 13:
		if p.closed() {
			p.open()
		}
	case 14:
		if f.next()&3 == 0 {
			f.table.forwardingReset(p.session, f.now)
		} else {
			f.table.signalPath(p.session, pick(f, DiagNone, DiagConcatenatedPathDown, DiagReverseConcatenatedPathDown))
		}
	case 15:
		if f.next()&1 == 0 {
			f.table.detach(p.session, "gone")
		} else {
			f.table.attach(p.session, p.index, p)
		}
	}
	f.holds()
}

// runFuzzed interprets data as operations on three sessions.
func runFuzzed(t testing.TB, data []byte) *fuzzed {
	t.Helper()
	f := &fuzzed{t: t, data: data, table: newTestTable(uint64(len(data)))}
	signed := sha1Conf(v4)
	signed.Interface = "eth2"
	for i, c := range []Config{v4.asyncConf(), signed, v4.multihopConf()} {
		c = c.withDefaults()
		p := &part{f: f, conf: c, index: 1 + i}
		f.parts = append(f.parts, p)
		p.open()
	}
	for len(f.data) > 0 {
		f.operate()
	}
	return f
}

// FuzzSession does random things to a table, at random times and in any order.
func FuzzSession(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		f.Add(randomOperations(rng, 200))
	}
	// Two expiries in a row, each told at once.
	f.Add([]byte("70100001100007120000110000702"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			return
		}
		runFuzzed(t, data)
	})
}

func randomOperations(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32()) //nolint:gosec // cut on purpose
	}
	return b
}

// TestSessionRandom is the same with many inputs, which reach everything.
func TestSessionRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var ups, failures uint64
	var dropped [drops]uint64
	for range 80 {
		f := runFuzzed(t, randomOperations(rng, 1000))
		for _, p := range f.parts {
			ups += p.ups
			failures += p.failures
		}
		for i, n := range f.table.dropped {
			dropped[i] += n
		}
	}
	if ups < 60 || failures < 20 {
		t.Errorf("came up %d times, failed %d times: the inputs reach too little", ups, failures)
	}
	for _, d := range []Drop{DropTTL, DropVersion, DropLength, DropMultiplier, DropMultipoint, DropMyDiscriminator, DropNoSession, DropState,
		DropNoPeer, DropPort, DropInterface, DropAuthUnexpected, DropAuthMissing, DropAuthDigest, DropAuthSequence, DropAdminDown} {
		if dropped[d] == 0 {
			t.Errorf("no packet was dropped as %s", d)
		}
	}
}
