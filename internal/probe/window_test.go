package probe

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWindowSize(t *testing.T) {
	for _, c := range []struct {
		limit float64
		want  int
	}{{0, 20}, {0.4, 20}, {0.1, 20}, {0.05, 40}, {0.02, 100}, {0.002, 1000}, {0.0001, 1000}, {1, 20}} {
		if got := windowSize(c.limit); got != c.want {
			t.Errorf("windowSize(%v) = %d, want %d", c.limit, got, c.want)
		}
	}
}

// The running figures equal those that are counted over the last N samples.
func TestWindowAgainstList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 7, 20} {
		w := newWindow(size)
		var all []time.Duration
		for i := range 500 {
			sample := time.Duration(random.IntN(1000)) * time.Millisecond
			if random.IntN(3) == 0 {
				sample = lostSample
			}
			w.add(sample)
			all = append(all, sample)
			tail := all[max(0, len(all)-size):]
			var sum time.Duration
			missing := 0
			for _, s := range tail {
				if s == lostSample {
					missing++
				} else {
					sum += s
				}
			}
			var mean time.Duration
			if n := len(tail) - missing; n > 0 {
				mean = sum / time.Duration(n)
			}
			loss := float64(missing) / float64(len(tail))
			if w.count != len(tail) || w.lost != missing || w.mean() != mean || w.loss() != loss {
				t.Fatalf("size %d sample %d: %d/%d lost, mean %v, loss %v; want %d/%d, %v, %v",
					size, i, w.lost, w.count, w.mean(), w.loss(), missing, len(tail), mean, loss)
			}
			if full := len(tail)*2 >= size; w.full() != full {
				t.Fatalf("size %d sample %d: full %v, want %v", size, i, w.full(), full)
			}
		}
		w.reset()
		if w.loss() != 0 || w.mean() != 0 || w.count != 0 {
			t.Errorf("size %d: not empty after reset", size)
		}
	}
}

// The streak equals the one that is counted over the whole history in the order
// of sending, whatever the order of finishing.
func TestFlightStreakAgainstHistory(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	now := time.Unix(0, 0)
	f := newFlight(Config{Down: 3, Up: 3, Interval: time.Second, Timeout: 3 * time.Second})
	var history []outcome
	for sequence := range uint64(2000) {
		f.add(sequence, now)
		history = append(history, flying)
		for back := range uint64(4) {
			i := sequence - min(back, sequence)
			p := f.find(i, false)
			if p.outcome != flying || random.IntN(2) == 0 && back < 3 {
				continue
			}
			result := answered
			if random.IntN(2) == 0 {
				result = lost
			}
			f.finish(p, result)
			history[i] = result
		}
		answers, losses := f.streak()
		wantAnswers, wantLosses := streakOf(history)
		// The memory is bounded; longer streaks than it are of no interest.
		if min(answers, 3) != min(wantAnswers, 3) || min(losses, 3) != min(wantLosses, 3) {
			t.Fatalf("after %d: streak %d/%d, want %d/%d", sequence, answers, losses, wantAnswers, wantLosses)
		}
	}
	if f.find(1, false) != nil {
		t.Error("a probe is remembered for ever")
	}
	if f.find(1999+65536, true) == nil || f.find(1999+65536, false) != nil {
		t.Error("low 16 bits count only in a short search")
	}
}

func streakOf(history []outcome) (answers, losses int) {
	finished := make([]outcome, 0, len(history))
	for _, o := range history {
		if o != flying {
			finished = append(finished, o)
		}
	}
	if len(finished) == 0 {
		return 0, 0
	}
	last, n := finished[len(finished)-1], 0
	for i := len(finished) - 1; i >= 0 && finished[i] == last; i-- {
		n++
	}
	if last == answered {
		return n, 0
	}
	return 0, n
}

func TestSettle(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name                      string
		user, wall, stamped, want time.Duration
	}{
		{"kernel stamp leaves out our own delay", 30 * ms, 30 * ms, 10 * ms, 10 * ms},
		{"clocks 50 ms apart are believed", 30 * ms, 80 * ms, 10 * ms, 10 * ms},
		{"clocks 51 ms apart are not", 30 * ms, 81 * ms, 10 * ms, 30 * ms},
		{"clock set back", 30 * ms, -3600 * time.Second, -3600 * time.Second, 30 * ms},
		{"stamp before the probe", 30 * ms, 10 * ms, -1, 30 * ms},
		{"stamp after it was read", 30 * ms, 60 * ms, 31 * ms, 30 * ms},
		{"stamp when it was read", 30 * ms, 30 * ms, 30 * ms, 30 * ms},
	} {
		if got := settle(c.user, c.wall, c.stamped); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	sent := time.Now()
	read := sent.Add(9 * ms)
	if got := roundTrip(sent, sent.Round(0).Add(4*ms), read); got != 4*ms {
		t.Errorf("with stamp: %v, want 4ms", got)
	}
	if got := roundTrip(sent, time.Time{}, read); got != 9*ms {
		t.Errorf("without stamp: %v, want 9ms", got)
	}
}

func TestSlot(t *testing.T) {
	const interval = 200 * time.Millisecond
	start := time.Unix(1000, 0)
	firsts := map[time.Duration]bool{}
	for i := range 3 {
		s := newSlot(start, interval, i, 3, 0.5)
		if first := s.due.Sub(start); first < 0 || first > firstSpread {
			t.Errorf("target %d: first probe after %v", i, first)
		}
		s.advance(s.due, 0.5)
		phase := s.due.Sub(start)
		if want := time.Duration((float64(i) + 0.5) / 3 * float64(interval)); phase != want {
			t.Errorf("target %d: phase %v, want %v", i, phase, want)
		}
		firsts[phase] = true
		// Jitter is bounded and does not add up.
		grid := s.due
		for k := range 1000 {
			grid = grid.Add(interval)
			s.advance(s.due, float64(k%100)/100)
			if off := s.due.Sub(grid); off.Abs() > interval/20 {
				t.Fatalf("target %d slot %d: %v off the grid", i, k, off)
			}
		}
		// Missed slots are left out, and the grid is kept.
		late := grid.Add(17*interval + interval/2)
		s.advance(late, 0.5)
		if want := grid.Add(18 * interval); !s.due.Equal(want) {
			t.Errorf("target %d: after a stall due %v, want %v", i, s.due.Sub(start), want.Sub(start))
		}
		// A slot that is due right now is the one that was just served.
		s.advance(s.grid.Add(interval), 0.5)
		if want := grid.Add(20 * interval); !s.due.Equal(want) {
			t.Errorf("target %d: due %v, want %v", i, s.due.Sub(start), want.Sub(start))
		}
	}
	if len(firsts) != 3 {
		t.Errorf("targets share a phase: %v", firsts)
	}
}
