package probe

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// calm is an interval at which wake-ups are saved: 50 ms of gathering.
func calm(c *Config) { c.Interval, c.Timeout = time.Second, time.Second }

// silent is a target that does not answer.
const silent = time.Duration(-1)

// spread makes the answers of the targets come after their own times.
func (b *bench) spread(after ...time.Duration) {
	b.set(func(n *fakeNet) {
		n.alter = func(_ []byte, k packet) []packet {
			for i, target := range b.prober.config.Targets {
				if target == k.from && after[i] == silent {
					return nil
				}
				if target == k.from {
					k.kernel = k.kernel.Add(after[i] - n.delay)
				}
			}
			return []packet{k}
		}
	})
}

func TestThrift(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		interval time.Duration
		want     thrift
	}{
		{10 * ms, thrift{}},
		{499 * ms, thrift{}},
		{500 * ms, thrift{together: 50 * ms, gather: 25 * ms, late: ms}},
		{time.Second, thrift{together: 100 * ms, gather: 50 * ms, late: ms}},
		{time.Minute, thrift{together: 6 * time.Second, gather: 100 * ms, late: ms}},
	} {
		if got := newThrift(c.interval); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.interval, got, c.want)
		}
	}
}

// What a round of three targets costs in wake-ups, where it was six and more.
func TestWakeUpsPerRound(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		after []time.Duration
		// most wake-ups and receives per round. The last receive before a
		// wait for what is still to come finds nothing.
		most, receives int
	}{
		{"near", []time.Duration{10 * ms, 20 * ms, 30 * ms}, 2, 3},
		{"near and far", []time.Duration{10 * ms, 20 * ms, 150 * ms}, 3, 4},
		{"far", []time.Duration{80 * ms, 90 * ms, 100 * ms}, 3, 4},
		{"one silent", []time.Duration{10 * ms, 20 * ms, silent}, 3, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			families(t, calm, func(t *testing.T, b *bench) {
				b.spread(c.after...)
				b.start(t)
				b.pass(10 * time.Second)
				b.set(func(n *fakeNet) { n.waits, n.receives, n.sends = 0, 0, nil })
				b.pass(100 * time.Second)
				// One for the edges.
				if rounds := len(b.sends) / 3; rounds < 99 || b.waits > c.most*(rounds+1) {
					t.Errorf("%d wake-ups in %d rounds, want %d per round", b.waits, rounds, c.most)
				}
				if b.receives > c.receives*(len(b.sends)/3+1) {
					t.Errorf("%d receives for %d probes", b.receives, len(b.sends))
				}
				r, _ := b.last()
				for i, target := range r.Targets {
					want := max(c.after[i], 0) // silent: none
					if target.RTT != want || (target.Opinion == Up) != (want > 0) {
						t.Errorf("gathering spoils the figures: %+v, want %v", target, want)
					}
				}
			})
		})
	}
}

// Probes that were sent one after the other are found lost together.
func TestLossesTogether(t *testing.T) {
	for _, f := range wireFamilies {
		p, now := idleProber(f), time.Now()
		p.targets[0].sent(1, now)
		p.targets[0].sent(2, now.Add(expireLate/2))
		p.targets[0].slot.due = now.Add(time.Hour)
		until, listen := p.next(now)
		if want := now.Add(p.config.Timeout + expireLate); !until.Equal(want) || !listen {
			t.Errorf("%s: next %v after the probe, want %v; listen %v", f.name, until.Sub(now), want.Sub(now), listen)
		}
		p.targets[0].expire(until)
		if n := p.flying(); n != 0 {
			t.Errorf("%s: %d left in flight", f.name, n)
		}
	}
}

// The targets are asked together, in the same rhythm as if they were apart.
func TestRhythmTogether(t *testing.T) {
	families(t, calm, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		b.set(func(n *fakeNet) { n.sends = nil })
		b.pass(500 * time.Second)
		last := map[netip.Addr]time.Time{}
		offs := map[time.Duration]bool{}
		for i, s := range b.sends {
			if gap := s.at.Sub(last[s.to]); i >= 3 && (gap < 900*time.Millisecond || gap > 1100*time.Millisecond) {
				t.Fatalf("%v after the probe before", gap)
			}
			if first := b.sends[i-i%3]; !s.at.Equal(first.at) {
				t.Fatalf("%v after the first of its round", s.at.Sub(first.at))
			}
			last[s.to] = s.at
			offs[s.at.Sub(b.sends[0].at)%time.Second] = true
		}
		if n := len(b.sends); n < 3*499 || n > 3*501 || len(last) != 3 {
			t.Errorf("%d probes to %d targets in 500 s", n, len(last))
		}
		if len(offs) < 400 {
			t.Errorf("only %d different offsets: no jitter", len(offs))
		}
	})
}

// The promise of doc.go holds where wake-ups are saved; expireLate is all that
// comes on top.
func TestSilentCutIsFoundInTimeTogether(t *testing.T) {
	const limit = 3*time.Second + time.Second + 2*50*time.Millisecond + expireLate
	families(t, calm, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		for i := range 40 {
			b.pass(5*time.Second + time.Duration(i)*37*time.Millisecond)
			b.set(func(n *fakeNet) { n.alter = func([]byte, packet) []packet { return nil } })
			b.pass(limit)
			if b.opinions() != allDown {
				t.Fatalf("cut %d: %v after %v", i, b.opinions(), limit)
			}
			b.set(func(n *fakeNet) { n.alter = nil })
			b.pass(limit)
			if b.opinions() != allUp {
				t.Fatalf("return %d: %v", i, b.opinions())
			}
		}
	})
}

// The first answer is not gathered but told at once; an unreachable waits for no
// longer than the gathering takes.
func TestGatheringDelaysLittle(t *testing.T) {
	families(t, calm, func(t *testing.T, b *bench) {
		b.spread(10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond)
		// The end of firstSpread, from which gathering would last beyond.
		b.prober.random = func() float64 { return 0.9 }
		b.start(t)
		b.pass(firstSpread + 30*time.Millisecond)
		if b.opinions() != allUp {
			t.Fatalf("first answers: %v", b.opinions())
		}
		b.pass(5 * time.Second)
		f := wireFamilies[0]
		if b.v6 {
			f = wireFamilies[1]
		}
		b.set(func(n *fakeNet) {
			n.sends = nil
			n.alter = func(request []byte, k packet) []packet {
				k.data = icmpError(f.unreachable, f.hostCode, netip.Addr{}, packetTo(k.from, request), b.v6)
				return []packet{k}
			}
		})
		b.pass(4 * time.Second)
		r, at := b.last()
		if b.opinions() != allDown || !strings.HasPrefix(r.Targets[0].Reason, "3 probes in a row lost: ") {
			t.Fatalf("%+v", r.Targets)
		}
		if late := r.Targets[0].Since.Sub(b.sends[6].at); late > b.prober.thrift.gather {
			t.Errorf("down %v after the third probe, told at %v", late, at)
		}
	})
}

// A process that was kept from running while it gathered loses nothing.
func TestStallIsNoLossTogether(t *testing.T) {
	families(t, calm, func(t *testing.T, b *bench) {
		b.start(t)
		b.pass(5 * time.Second)
		for range 40 {
			b.set(func(n *fakeNet) { n.stall = 3 * time.Second })
			b.pass(4*time.Second + 31*time.Millisecond)
		}
		r, _ := b.last()
		for _, target := range r.Targets {
			if target.Opinion != Up || target.Loss != 0 || target.RTT != 20*time.Millisecond {
				t.Errorf("%+v", target)
			}
		}
	})
}

// Under a flood nothing is left in the buffer of the socket, which is small.
func TestFloodIsNotGathered(t *testing.T) {
	families(t, calm, func(t *testing.T, b *bench) {
		flood := func(_ []byte, k packet) []packet {
			all := []packet{k}
			for i := range 100 {
				foreign := k
				foreign.data, foreign.kernel = nil, k.kernel.Add(time.Duration(i)*time.Millisecond)
				all = append(all, foreign)
			}
			return all
		}
		b.start(t)
		b.pass(5 * time.Second)
		b.set(func(n *fakeNet) { n.alter = flood })
		b.pass(3 * time.Second)
		if b.backlog < 50 {
			t.Errorf("the flood is no test of gathering: %d packets in the socket", b.backlog)
		}
		b.set(func(n *fakeNet) { n.backlog, n.sends = 0, nil })
		b.pass(20 * time.Second)
		// Three targets' worth of a millisecond, and their own answers.
		if b.backlog > 6 || len(b.sends) < 57 {
			t.Errorf("%d packets lay in the socket; %d probes", b.backlog, len(b.sends))
		}
		b.set(func(n *fakeNet) { n.alter = nil })
		b.pass(5 * time.Second)
		b.set(func(n *fakeNet) { n.waits, n.sends = 0, nil })
		b.pass(20 * time.Second)
		if rounds := len(b.sends) / 3; b.waits > 2*(rounds+1) {
			t.Errorf("after the flood: %d wake-ups in %d rounds", b.waits, rounds)
		}
		if b.opinions() != allUp {
			t.Errorf("%v", b.opinions())
		}
	})
}
