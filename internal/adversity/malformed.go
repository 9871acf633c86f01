package adversity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/status"
)

// tally is what the peers that misbehave did, together.
type tally struct {
	mu            sync.Mutex
	sessions      int
	refused       int
	garbage       int
	strangers     int
	messages      int
	octets        int
	ended         int
	notifications map[string]int
}

func (t *tally) note(f func(t *tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

// ending notes how a session ended that the daemon ended.
func (t *tally) ending(h bgptest.Heard) {
	t.note(func(t *tally) {
		t.ended++
		if h.Notification != nil {
			t.notifications[fmt.Sprintf("%d/%d", h.Notification.Code, h.Notification.Subcode)]++
		}
	})
}

func (t *tally) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []string
	for _, k := range slices.Sorted(maps.Keys(t.notifications)) {
		list = append(list, fmt.Sprintf("%s x %d", k, t.notifications[k]))
	}
	return fmt.Sprintf("%d sessions, %d attempts refused, %d with garbage before OPEN, %d from strangers; %d malformed UPDATEs, %d octets; %d sessions ended by the daemon, notifications %s",
		t.sessions, t.refused, t.garbage, t.strangers, t.messages, t.octets, t.ended, strings.Join(list, ", "))
}

// Well-behaved uplinks of Malformed and Misbehaviour: one with BGP, and one on a line
// without a gateway that is probed.
var bystanders = []uplink{
	{name: "good", lines: "bgp: {peer-as: PEER-AS, import: full}"},
	{name: "static", lines: "icmp: {targets: TARGETS, interval: 1s, timeout: 1s, down: 4, up: 2}", ppp: true},
}

// fullEvils of the peers that send malformed messages may announce a full table; the
// others' uplinks want a default. A family has no room for more than eight full ones.
const fullEvils = 7

// Malformed lets peers send malformed UPDATEs in fresh sessions of both families for
// Options.For, while strangers connect too.
func Malformed(ctx context.Context, o Options) (*Report, error) {
	r := &Report{}
	uplinks := slices.Clone(bystanders)
	var names []string
	for i := range o.Peers {
		names = append(names, fmt.Sprintf("evil%d", i+1))
		mode := "full"
		if i >= fullEvils {
			mode = "default"
		}
		uplinks = append(uplinks, uplink{name: names[i], lines: "bgp: {peer-as: PEER-AS, import: " + mode + "}"})
	}
	s, err := newScene(ctx, o, r, uplinks)
	if err != nil {
		return r, err
	}
	t := &tally{notifications: map[string]int{}}
	err = s.endure(func(ctx context.Context, work *sync.WaitGroup) error {
		for i, f := range s.fars(names...) {
			work.Go(func() { f.malform(ctx, t, uint64(i+1)) })
			strangers, err := f.strangers()
			if err != nil {
				return err
			}
			work.Go(func() { f.bother(ctx, t, strangers) })
		}
		return nil
	}, func() {
		r.count("peers that send malformed UPDATEs: %s", t.words())
		r.fault(t.sessions >= 2*o.Peers, "there were %d sessions only", t.sessions)
		r.fault(t.messages > 0, "nothing malformed was sent")
	})
	return r, errors.Join(err, s.close())
}

// settleFrom is how long others must misbehave for it to be worthwhile to wait until what
// they announced is gone: the daemon keeps that for half a minute.
const settleFrom = time.Minute

// endure starts the daemon, its well-behaved peers and the traffic, lets others
// misbehave for Options.For, and looks what became of it.
func (s *scene) endure(misbehave func(ctx context.Context, work *sync.WaitGroup) error, told func()) error {
	good := s.fars("good")
	if err := s.prepare(good); err != nil {
		return err
	}
	before, err := s.level()
	if err != nil {
		return err
	}
	kernel, err := s.monitor()
	if err != nil {
		return err
	}
	w := s.watch("good", "static")
	ctx, cancel := context.WithTimeout(s.ctx, s.For)
	defer cancel()
	var work sync.WaitGroup
	err = misbehave(ctx, &work)
	if err != nil {
		cancel()
	}
	work.Wait()
	w.end()
	if err != nil {
		return err
	}
	told()
	s.stillUp(good)
	s.lived()
	s.untouched(kernel.look())
	if err := s.arrived(); err != nil {
		return err
	}
	if !s.alive() {
		return nil // It is a fault already.
	}
	if s.For >= settleFrom {
		err = s.loaded(s.Prefixes)
		s.report.fault(err == nil, "the routes are not what they were before others came: %v", err)
	}
	if err := s.agreed(); err != nil {
		return err
	}
	return s.returned(before)
}

// prepare starts the daemon, its well-behaved peers and the traffic.
func (s *scene) prepare(good []*far) error {
	if err := s.start(); err != nil {
		return err
	}
	if err := s.steady(good); err != nil {
		return err
	}
	if err := s.until("the well-behaved uplinks are used", func(st *status.Status) bool {
		used := 0
		for _, u := range st.Uplinks {
			for _, w := range u.Ways {
				if (u.Name == "good" || u.Name == "static") && w.Role == "active" {
					used++
				}
			}
		}
		return used == len(bystanders)*len(families)
	}); err != nil {
		return err
	}
	return s.traffic()
}

// untouched looks whether a route was removed that the well-behaved peer announced all
// the time, or that is none to a prefix of peers at all.
func (s *scene) untouched(c changes) {
	ours := 0
	for _, t := range s.tables {
		for i := range t.Len() {
			ours += c.gone[t.Prefix(i)]
		}
	}
	s.report.count("routes to prefixes written %d times and removed %d times, %d of these well-behaved; %d next-hop objects removed", c.added, c.removed, ours, c.objectsRemoved)
	s.report.fault(ours == 0, "%d routes were removed that the well-behaved peer announced all the time", ours)
	s.report.fault(c.smallRemoved == 0, "%d other routes were removed", c.smallRemoved)
	s.report.fault(c.lost == nil, "the kernel was not heard well: %v", c.lost)
}

// pause waits; it reports whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

const (
	// retryEvery is how often a peer that was refused tries again.
	retryEvery = 200 * time.Millisecond
	// burstsPerSecond are what the messages of a second are sent in.
	burstsPerSecond = 20
	// validFirst is how many prefixes are announced before anything is wrong.
	validFirst = 20
)

// malform is the goroutine of a peer that sends malformed UPDATEs.
func (f *far) malform(ctx context.Context, t *tally, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // The same each time.
	line := f.line()
	four, six := line.Gateway, line.Gateway
	if f.ipv6 {
		four = f.access.IPv4.Gateway
	} else {
		six = f.access.IPv6.Gateway
	}
	m := bgptest.NewMalformer(seed, uint32(firstISPAS+f.number), four, six)
	// Peers begin with different rounds: a short time has no more than the first.
	for round := int(seed % 3); ctx.Err() == nil; round++ { //nolint:gosec // 0..2.
		conn, err := f.dial(line.Gateway)(ctx)
		if err != nil {
			t.note(func(t *tally) { t.refused++ })
			pause(ctx, retryEvery)
			continue
		}
		if round%8 == 7 {
			_, _ = conn.Write(random(dice, 1+dice.IntN(5000))) // It may be closed already.
			_ = conn.Close()
			t.note(func(t *tally) { t.garbage++ })
			continue
		}
		o := f.options()
		// The other family is often meant by what is malformed.
		o.Families = []bgptest.Family{bgptest.IPv4, bgptest.IPv6}
		if round%2 == 1 {
			o.GracefulRestart = &bgptest.GracefulRestart{Time: 2 * time.Second, Families: o.Families, Forwarding: o.Families}
		}
		p := bgptest.Start(conn, o)
		next := m.Next
		if round%3 > 0 {
			next = func() []byte { return gently(m, f.ipv6) }
		}
		f.spoil(ctx, t, p, next, 100+dice.IntN(5*f.s.Rate))
		if dice.IntN(2) == 0 {
			p.Cut()
		}
		p.Close()
	}
}

// spoil sends up to n malformed messages in a session.
func (f *far) spoil(ctx context.Context, t *tally, p *bgptest.Peer, next func() []byte, n int) {
	within, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	if p.WaitEstablished(within) != nil {
		t.note(func(t *tally) { t.refused++ })
		pause(ctx, retryEvery)
		return
	}
	t.note(func(t *tally) { t.sessions++ })
	valid := append(f.defaultRoute(), f.s.tables[f.ipv6].Updates(f.view(), 0, validFirst)...)
	if p.Send(append(valid, bgptest.EndOfRIB(f.wire))...) != nil {
		return
	}
	for sent := 0; sent < n; {
		var burst [][]byte
		octets := 0
		for range max(1, f.s.Rate/burstsPerSecond) {
			message := next()
			octets += len(message)
			burst = append(burst, message)
		}
		err := p.Send(burst...)
		if h := p.Heard(); err != nil || h.Closed {
			t.ending(h)
			return
		}
		sent += len(burst)
		t.note(func(t *tally) { t.messages, t.octets = t.messages+len(burst), t.octets+octets })
		if !pause(ctx, time.Second/burstsPerSecond) {
			return
		}
	}
}

// strangers are further addresses of the ISP, which are nobody's peers.
func (f *far) strangers() (all []netip.Addr, err error) {
	line := f.line()
	a := line.Source
	for range 4 {
		a = a.Next()
		if err := f.access.Host.AddAddress(f.access.FarDevice, netip.PrefixFrom(a, line.Subnet.Bits())); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// bother is the goroutine of strangers, who connect and say something or nothing.
func (f *far) bother(ctx context.Context, t *tally, from []netip.Addr) {
	dice := rand.New(rand.NewPCG(uint64(f.number), 9)) //nolint:gosec // The same each time.
	for round := 0; ctx.Err() == nil; round++ {
		conn, err := f.dial(from[round%len(from)])(ctx)
		if err == nil {
			switch round % 3 {
			case 0:
				_, _ = conn.Write(f.options().OpenMessage()) // It may be closed already.
			case 1:
				_, _ = conn.Write(random(dice, 1+dice.IntN(5000)))
			default:
			}
			_ = conn.Close()
			t.note(func(t *tally) { t.strangers++ })
		}
		pause(ctx, retryEvery)
	}
}

func random(d *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	return b
}
