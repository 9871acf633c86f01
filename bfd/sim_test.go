package bfd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// family is the addresses of one family.
type family struct {
	name       string
	a, b, odd  netip.Addr
	farA, farB netip.Addr
}

var families = []family{
	{
		name: "IPv4", a: netip.MustParseAddr("203.0.113.1"), b: netip.MustParseAddr("203.0.113.2"),
		odd:  netip.MustParseAddr("198.51.100.77"),
		farA: netip.MustParseAddr("192.0.2.1"), farB: netip.MustParseAddr("198.51.100.1"),
	},
	{
		name: "IPv6", a: netip.MustParseAddr("fe80::1"), b: netip.MustParseAddr("fe80::2"),
		odd:  netip.MustParseAddr("2001:db8:77::77"),
		farA: netip.MustParseAddr("2001:db8:1::1"), farB: netip.MustParseAddr("2001:db8:2::1"),
	},
}

// eachFamily runs f for both families.
func eachFamily(t *testing.T, f func(*testing.T, family)) {
	t.Helper()
	for _, fam := range families {
		t.Run(fam.name, func(t *testing.T) { f(t, fam) })
	}
}

// epoch is the instant 0 of simulated tables.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is tables in virtual time, joined by wires.
type world struct {
	tb      testing.TB
	now     instant
	ends    []*end
	flights []flight
	// watch is called after every step.
	watch func()
}

// flight is a packet under way.
type flight struct {
	at instant
	to *end
	d  datagram
}

// end is a table with one session, and what it sends by.
type end struct {
	w     *world
	table *table
	*session
	events []Event
	wire   wire
	link   int
}

// wire is one direction of a link, and a sender. It captures what is sent, whether or
// not it arrives.
type wire struct {
	w        *world
	to       *end
	port     port
	src, dst netip.Addr
	ttl      int
	delay    time.Duration
	cut      bool
	// lose and lag, if there are any, judge the nth packet from 0 on.
	lose func(n int, p Packet) bool
	lag  func(n int) time.Duration
	// refuse is what send returns.
	refuse error
	shots  []shot
}

// shot is a packet that was sent.
type shot struct {
	Packet
	at  instant
	pdu []byte
}

func (s shot) String() string { return fmt.Sprintf("%v: %v", s.at, s.Packet) }

func (w *wire) send(b []byte) error {
	if w.refuse != nil {
		return w.refuse
	}
	p, err := ParsePacket(b)
	if err != nil {
		w.w.tb.Fatalf("sent at %v: %v", w.w.now, err)
	}
	n := len(w.shots)
	w.shots = append(w.shots, shot{p, w.w.now, slices.Clone(b)})
	if w.to == nil || w.cut || w.lose != nil && w.lose(n, p) {
		return nil
	}
	at := w.w.now + w.delay
	if w.lag != nil {
		at += w.lag(n)
	}
	w.w.flights = append(w.w.flights, flight{at, w.to, datagram{
		payload: slices.Clone(b), src: w.src, dst: w.dst, ttl: w.ttl, link: w.to.link, port: w.port, arrived: at,
	}})
	return nil
}

// asyncConf is a session from a to b.
func (f family) asyncConf() Config {
	return Config{Peer: f.b, Local: f.a, Interface: "eth1"}
}

// multihopConf is one over several hops.
func (f family) multihopConf() Config {
	return Config{Peer: f.farB, Local: f.farA, Multihop: true}
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return &world{tb: tb}
}

func newTestTable(seed uint64) *table { return newTable(rand.New(rand.NewPCG(seed, seed)), epoch.Add) }

// add opens a session on a table of its own.
func (w *world) add(seed uint64, conf Config) *end {
	w.tb.Helper()
	e := &end{w: w, table: newTestTable(seed), link: 7}
	s, err := e.table.open(conf, func(ev Event) { e.events = append(e.events, ev) }, w.now)
	if err != nil {
		w.tb.Fatal(err)
	}
	e.session = s
	e.wire = wire{w: w, port: conf.port(), src: plain(conf.Local), dst: plain(conf.Peer), ttl: 255, delay: time.Millisecond}
	e.table.attach(s, e.link, &e.wire)
	w.ends = append(w.ends, e)
	return e
}

// join connects two ends both ways.
func join(a, b *end) { a.wire.to, b.wire.to = b, a }

// twoEnds returns two ends that are joined; change is applied to both configurations.
func twoEnds(tb testing.TB, conf Config, change func(a, b *Config)) (w *world, a, b *end) {
	tb.Helper()
	w = newWorld(tb)
	back := conf
	back.Peer, back.Local = conf.Local, conf.Peer
	if change != nil {
		change(&conf, &back)
	}
	a, b = w.add(1, conf), w.add(2, back)
	join(a, b)
	return w, a, b
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	w.tb.Helper()
	w.until(d, func() bool { return false })
}

// until lets time pass up to d until done, and reports whether it was.
func (w *world) until(d time.Duration, done func() bool) bool {
	w.tb.Helper()
	end := w.now + d
	for calm := 0; ; calm++ {
		before := w.now
		w.settle()
		if done() {
			return true
		}
		next := w.next()
		if next > end {
			w.now = end
			return false
		}
		w.now = max(w.now, next)
		if w.now > before {
			calm = 0
		}
		if calm > 1000 {
			w.tb.Fatalf("at %v: time does not pass", w.now)
		}
	}
}

// next is when something happens.
func (w *world) next() instant {
	next := never
	for _, e := range w.ends {
		next = min(next, e.table.wake())
	}
	for _, f := range w.flights {
		next = min(next, f.at)
	}
	return next
}

// settle does what is due now: packets that arrived are read first.
func (w *world) settle() {
	for {
		i := -1
		for j, f := range w.flights {
			if f.at <= w.now && (i < 0 || f.at < w.flights[i].at) {
				i = j
			}
		}
		if i < 0 {
			break
		}
		f := w.flights[i]
		w.flights = slices.Delete(w.flights, i, i+1)
		f.to.table.input(&f.d, w.now)
	}
	for _, e := range w.ends {
		e.drive(w.now)
	}
	if w.watch != nil {
		w.watch()
	}
}

// drive does what is due at one end, and delivers its news.
func (e *end) drive(seen instant) {
	e.w.tb.Helper()
	for range 100 {
		if !e.table.advance(e.w.now, seen) {
			break
		}
	}
	for _, n := range e.table.take() {
		n.notify(n.Event)
	}
}

// status is a snapshot of the session.
func (e *end) status() Status { return e.table.status(e.session) }

// shots since the nth.
func (e *end) shots(n int) []shot { return e.wire.shots[n:] }

// last is the packet that was sent last.
func (e *end) last() shot {
	e.w.tb.Helper()
	if len(e.wire.shots) == 0 {
		e.w.tb.Fatalf("at %v: nothing was sent", e.w.now)
	}
	return e.wire.shots[len(e.wire.shots)-1]
}

// trace is the changes of state in words: "down>init init>up".
func (e *end) trace() string {
	var words []string
	for _, ev := range e.events {
		words = append(words, ev.Old.String()+">"+ev.New.String())
	}
	return strings.Join(words, " ")
}

// mustBe fails unless the session is in a state with a diagnostic.
func (e *end) mustBe(s State, d Diag) {
	e.w.tb.Helper()
	if e.core.state != s || e.core.diag != d {
		e.w.tb.Fatalf("at %v: %s, %s; want %s, %s", e.w.now, e.core.state, e.core.diag, s, d)
	}
}

// meet waits until all ends are Up and no Poll Sequence runs.
func (w *world) meet() {
	w.tb.Helper()
	met := w.until(10*time.Second, func() bool {
		for _, e := range w.ends {
			if e.core.state != Up || e.core.poll != pollIdle {
				return false
			}
		}
		return true
	})
	if !met {
		for _, e := range w.ends {
			w.tb.Logf("%s: %s, poll %d", e.core.conf.Peer, e.core.state, e.core.poll)
		}
		w.tb.Fatal("not all sessions came up")
	}
}

// rig is one session whose peer is played by hand.
type rig struct {
	*world
	*end
	// says is what the peer says; its discriminators are filled in.
	says Packet
	// from is how its packets come.
	from datagram
	auth Auth
	seq  uint32
}

// peerDiscr is the discriminator of a peer that is played by hand.
const peerDiscr = 0x5eed

// newRig returns a session from a to b.
func newRig(tb testing.TB, conf Config) *rig {
	tb.Helper()
	w := newWorld(tb)
	e := w.add(3, conf)
	e.wire.delay = 0
	c := e.core.conf
	return &rig{
		world: w, end: e, auth: c.Auth,
		says: Packet{State: Down, DetectMult: 3, MyDiscriminator: peerDiscr, DesiredMinTx: 1_000_000, RequiredMinRx: 1_000},
		from: datagram{src: c.Peer, dst: c.Local, ttl: 255, link: e.link, port: c.port()},
	}
}

// v4 is for tests that addresses do not matter to.
var v4 = families[0]

// hear gives the session one packet now, and returns what became of it.
func (r *rig) hear(change ...func(*Packet)) Drop {
	r.tb.Helper()
	p := r.says
	if p.YourDiscriminator == 0 {
		p.YourDiscriminator = r.core.localDiscr
	}
	for _, f := range change {
		f(&p)
	}
	return r.hearRaw(r.sign(p.Append(nil)))
}

func (r *rig) sign(b []byte) []byte {
	if r.auth.Type == AuthNone {
		return b
	}
	r.seq++
	return r.auth.sign(b, r.seq)
}

// hearRaw gives the session octets.
func (r *rig) hearRaw(b []byte) Drop {
	r.tb.Helper()
	d := r.from
	d.payload, d.arrived = b, r.now
	return r.give(d)
}

// give puts a datagram in, and returns what became of it.
func (r *rig) give(d datagram) Drop {
	r.tb.Helper()
	before, taken := r.table.dropped, r.table.received
	r.table.input(&d, r.now)
	for i := range before {
		if r.table.dropped[i] != before[i] {
			if r.table.received != taken {
				r.tb.Fatalf("at %v: a packet was both taken and dropped", r.now)
			}
			return Drop(i) //nolint:gosec // below drops
		}
	}
	if r.table.received != taken+1 {
		r.tb.Fatalf("at %v: a packet was neither taken nor dropped", r.now)
	}
	return DropNone
}

// take is hear for a packet that has to be taken.
func (r *rig) take(change ...func(*Packet)) {
	r.tb.Helper()
	if drop := r.hear(change...); drop != DropNone {
		r.tb.Fatalf("at %v: dropped: %s", r.now, drop)
	}
	r.settle()
}

// inState makes the peer say a state from now on.
func inState(s State) func(*Packet) { return func(p *Packet) { p.State = s } }

// poll and final set the bits.
func withPoll(p *Packet)  { p.Poll = true }
func withFinal(p *Packet) { p.Final = true }

// bring takes a new session to a state, with a peer that says the same then. No Poll
// Sequence runs in Up.
func (r *rig) bring(s State) {
	r.tb.Helper()
	r.settle()
	switch s {
	case AdminDown:
		r.table.setAdmin(r.session, true, r.now)
	case Down:
	case Init:
		r.take(inState(Down))
	case Up:
		r.take(inState(Init))
		r.says.State = Up
		r.says.DesiredMinTx, r.says.RequiredMinRx = 50_000, 50_000
		r.take(withFinal)
		r.take()
	}
	r.settle()
	if r.core.state != s {
		r.tb.Fatalf("%s, want %s", r.core.state, s)
	}
}

// keep lets d pass while the peer says something every interval.
func (r *rig) keep(d, every time.Duration, change ...func(*Packet)) {
	r.tb.Helper()
	for end := r.now + d; r.now < end; {
		r.run(min(every, end-r.now))
		r.take(change...)
	}
}

// reconfigure updates the session.
func (e *end) reconfigure(change func(*Config)) {
	e.w.tb.Helper()
	c := e.core.conf
	change(&c)
	if err := e.table.update(e.session, c); err != nil {
		e.w.tb.Fatal(err)
	}
}

// stats is what a speaker would tell of the table.
func (t *table) stats() Stats {
	st, dropped := t.counts()
	st.Dropped = counted(&dropped)
	return st
}
