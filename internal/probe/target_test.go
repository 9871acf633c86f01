package probe

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// script drives one target. Each letter is a probe, 200 ms after the one before:
//
//	a  answered after 10 ms      s  answered slowly, after 90 ms
//	l  lost by the timeout       u  unreachable at once
//	f  could not be sent
type script struct {
	t        *testing.T
	target   target
	now      time.Time
	sequence uint64
}

func newScript(t *testing.T, change func(*Config)) *script {
	c := Config{
		Source:   netip.MustParseAddr("192.0.2.2"),
		Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond,
		Down: 3, Up: 3,
	}
	if change != nil {
		change(&c)
	}
	c = c.normal()
	s := &script{t: t, now: time.Unix(1000, 0)}
	s.target = newTarget(&c, netip.MustParseAddr("198.51.100.1"), s.now)
	return s
}

func (s *script) play(letters string) {
	s.t.Helper()
	router := trouble{words: "host unreachable", from: netip.MustParseAddr("192.0.2.1")}
	for _, letter := range letters {
		if letter == 'f' {
			s.target.fault("no buffer space available", s.now)
		} else {
			s.sequence++
			s.target.sent(s.sequence, s.now)
		}
		switch letter {
		case 'a':
			s.answer(s.sequence, 10*time.Millisecond)
		case 's':
			s.answer(s.sequence, 90*time.Millisecond)
		case 'u':
			if got := s.target.unreachable(s.sequence, true, router, s.now); got != Believed {
				s.t.Fatalf("unreachable: %v", got)
			}
		case 'l', 'f':
		default:
			s.t.Fatalf("unknown letter %c", letter)
		}
		s.now = s.now.Add(200 * time.Millisecond)
		s.target.expire(s.now)
	}
}

func (s *script) answer(sequence uint64, rtt time.Duration) {
	s.t.Helper()
	if got := s.target.answered(sequence, time.Time{}, s.now.Add(rtt)); got != Believed {
		s.t.Fatalf("answered: %v", got)
	}
}

func TestOpinion(t *testing.T) {
	lossy := func(c *Config) { c.LossEnter, c.LossLeave = 0.4, 0.2 }
	lossy4 := func(c *Config) { lossy(c); c.Up = 4 }
	slow := func(c *Config) { c.LatencyEnter, c.LatencyLeave = 50*time.Millisecond, 26*time.Millisecond }
	// 1 %: a window of 200 probes, judged from 100 on.
	fine := func(c *Config) { c.LossEnter = 0.01 }
	for _, c := range []struct {
		name    string
		change  func(*Config)
		play    string
		opinion Opinion
		reason  string
	}{
		{"DGD-07 never asked", nil, "", Unknown, "not asked yet"},
		{"DGD-07 no opinion yet", nil, "l", Unknown, "asked, no answer yet"},
		{"first answer", nil, "a", Up, "answers"},
		{"first answer after losses", nil, "lla", Up, "answers"},
		{"one short of down at the start", nil, "ll", Unknown, "asked, no answer yet"},
		{"down at the start", nil, "lll", Down, "3 probes in a row lost"},
		{"one short of down", nil, "aallall", Up, "answers"},
		{"down", nil, "aalll", Down, "3 probes in a row lost"},
		{"down by one", func(c *Config) { c.Down = 1 }, "al", Down, "1 probe lost"},
		{"DGD-12 one unreachable is one lost probe", nil, "aauuaau", Up, "answers"},
		{"DGD-13 unreachable counts like lost", nil, "aalul", Down, "3 probes in a row lost"},
		{"the last trouble is named", nil, "aallu", Down, "3 probes in a row lost: host unreachable, says 192.0.2.1"},
		{"one short of up", nil, "llllaa", Down, "down before, 3 answers in a row needed"},
		{"up again", nil, "llllaaa", Up, "3 probes in a row answered"},
		{"a loss begins the count anew", nil, "llllaalaa", Down, "down before, 3 answers in a row needed"},

		{"loss below the limit", lossy, "aalaalaalaalaalaalal", Up, "answers"},
		{"loss at the limit", lossy, "aalaalaalaalaalalall", Down, "loss 40 % over 20 probes, limit 40 %"},
		{"a streak is named before a share", lossy, "aalaalaalaalaalaalll", Down, "3 probes in a row lost"},
		{"loss without a limit", nil, "alalalalalalalalalalal", Up, "answers"},
		{"too few probes for a share", lossy, "aallaalla", Up, "answers"},
		{"enough probes for a share", lossy, "aallaallaa", Down, "loss 40 % over 10 probes, limit 40 %"},
		{"loss above leave", lossy, "aallaallaa" + "aaaaaaaaa", Down, "answers again, but loss must fall to 20 %"},
		{"loss at leave", lossy, "aallaallaa" + "aaaaaaaaaa", Up, "3 probes in a row answered"},
		{"loss at leave but too few answers", lossy4, "aallaallaa" + "aaaaaaaaalaaa", Down, "down before, 4 answers in a row needed"},
		{"loss at leave and enough answers", lossy4, "aallaallaa" + "aaaaaaaaalaaaa", Up, "4 probes in a row answered"},
		{"one loss is never a share", fine, strings.Repeat("a", 99) + "l", Up, "answers"},
		{"two losses are", fine, strings.Repeat("a", 99) + "lal", Down, "loss 2 % over 102 probes, limit 1 %"},

		{"latency below the limit", slow, "aaaaaassss", Up, "answers"},
		{"latency at the limit", slow, "aaaaasssss", Down, "mean round trip 50 ms over 10 answers, limit 50 ms"},
		{"latency without a limit", nil, "ssssssssss", Up, "answers"},
		{"latency with too few probes", slow, "sssssssss", Up, "answers"},
		{"latency above leave", slow, "aaaaasssss" + "aaaaaaaaaaaaaaa", Down, "answers again, but mean round trip must fall to 26 ms"},
		{"latency at leave", slow, "aaaaasssss" + "aaaaaaaaaaaaaaaa", Up, "3 probes in a row answered"},

		{"one fault", nil, "aaf", Up, "answers"},
		{"faults are not losses", nil, "aalflf", Up, "answers"},
		{"faults make unknown, not down", nil, "aafff", Unknown, "cannot send: no buffer space available"},
		{"an answer after faults", nil, "aafffa", Up, "answers"},
		{"losses after faults", nil, "aafffll", Unknown, "asked, no answer yet"},
		{"down after faults", nil, "aafffl" + "ll", Down, "3 probes in a row lost"},
		{"unknown is no short cut to up", nil, "lllfffaa", Unknown, "down before, 3 answers in a row needed"},
		{"up through unknown", nil, "lllfffaaa", Up, "3 probes in a row answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, c.change)
			s.play(c.play)
			got := s.target.report()
			if got.Opinion != c.opinion || !strings.HasPrefix(got.Reason, c.reason) {
				t.Errorf("%q: %v %q (loss %v over %d, %v), want %v %q",
					c.play, got.Opinion, got.Reason, got.Loss, got.Samples, got.RTT, c.opinion, c.reason)
			}
		})
	}
}

// What comes late, twice or from nowhere has its own name and changes nothing.
func TestAnswersThatDoNotCount(t *testing.T) {
	late := func(s *script) {
		if got := s.target.answered(s.sequence, time.Time{}, s.now); got != IgnoredLate {
			s.t.Errorf("late answer: %v", got)
		}
	}
	s := newScript(t, nil)
	s.play("lll")
	before := s.target.report()
	late(s)
	if got := s.target.unreachable(s.sequence, true, trouble{words: "host unreachable"}, s.now); got != IgnoredLate {
		t.Errorf("late error: %v", got)
	}
	if got := s.target.answered(99, time.Time{}, s.now); got != IgnoredSequence {
		t.Errorf("answer to nothing: %v", got)
	}
	if got := s.target.unreachable(99, false, trouble{}, s.now); got != IgnoredSequence {
		t.Errorf("error about nothing: %v", got)
	}
	if got := s.target.report(); got != before {
		t.Errorf("changed from %+v to %+v", before, got)
	}

	s = newScript(t, nil)
	s.play("al")
	before = s.target.report()
	if got := s.target.answered(1, time.Time{}, s.now); got != IgnoredDuplicate {
		t.Errorf("second answer: %v", got)
	}
	for range 5 {
		if got := s.target.unreachable(1, false, trouble{}, s.now); got != IgnoredDuplicate {
			t.Errorf("error after the answer: %v", got)
		}
	}
	if got := s.target.report(); got != before {
		t.Errorf("changed from %+v to %+v", before, got)
	}
}

// DGD-12: the same probe is lost once, however often routers complain.
func TestUnreachableRepeated(t *testing.T) {
	s := newScript(t, nil)
	s.play("au")
	for range 10 {
		s.target.unreachable(s.sequence, false, trouble{words: "host unreachable"}, s.now)
	}
	if got := s.target.report(); got.Opinion != Up || got.Samples != 2 || got.Loss != 0.5 {
		t.Errorf("%+v, want up with 1 of 2 lost", got)
	}
}

// DGD-13: an error counts at once, an answer before the timeout too, silence
// not before it.
func TestTimeout(t *testing.T) {
	for _, c := range []struct {
		rtt  time.Duration
		want Ignored
	}{{199 * time.Millisecond, Believed}, {200 * time.Millisecond, IgnoredLate}} {
		s := newScript(t, nil)
		s.target.sent(1, s.now)
		if got := s.target.deadline(); !got.Equal(s.now.Add(200 * time.Millisecond)) {
			t.Fatalf("deadline %v", got)
		}
		if got := s.target.answered(1, time.Time{}, s.now.Add(c.rtt)); got != c.want {
			t.Errorf("answer after %v: %v, want %v", c.rtt, got, c.want)
		}
		if !s.target.deadline().IsZero() || s.target.window.count != 1 {
			t.Errorf("answer after %v: the probe is still in flight", c.rtt)
		}
		s.target.sent(2, s.now)
		s.target.expire(s.now.Add(200*time.Millisecond - 1))
		if s.target.window.count != 1 {
			t.Error("lost before the timeout")
		}
		s.target.expire(s.now.Add(200 * time.Millisecond))
		if s.target.window.count != 2 || s.target.window.lost == 0 {
			t.Error("not lost at the timeout")
		}
		s.target.sent(3, s.now)
		lost := s.target.window.lost
		s.target.unreachable(3, false, trouble{}, s.now)
		if s.target.window.lost != lost+1 {
			t.Error("DGD-13: unreachable is not a loss at once")
		}
	}
}

// An old loss that is noticed after a newer answer is no sign of a new failure.
func TestLossBeforeAnswer(t *testing.T) {
	s := newScript(t, func(c *Config) { c.Timeout = 600 * time.Millisecond })
	for sequence := range uint64(5) {
		s.target.sent(sequence, s.now)
		s.now = s.now.Add(time.Millisecond)
	}
	s.answer(2, 10*time.Millisecond)
	s.target.expire(s.now.Add(time.Second)) // 0, 1, 3 and 4 are lost
	if got := s.target.report(); got.Opinion != Up || got.Samples != 5 || got.Loss != 0.8 {
		t.Errorf("%+v, want up with 4 of 5 lost", got)
	}
	s.target.sent(5, s.now)
	s.target.expire(s.now.Add(time.Second))
	if s.target.opinion != Down {
		t.Errorf("%v after 3 losses in a row", s.target.opinion)
	}
}

// Since moves with the opinion only, changed with opinion and class of reason.
func TestSince(t *testing.T) {
	s := newScript(t, nil)
	s.target.changed = false
	s.play("a")
	first := s.target.since
	if !s.target.changed {
		t.Error("the first opinion is no change")
	}
	s.target.changed = false
	s.play("aall")
	if s.target.changed || !s.target.since.Equal(first) {
		t.Error("changed without a change")
	}
	s.play("l")
	down := s.target.since
	if !s.target.changed || !down.After(first) {
		t.Error("down is no change")
	}
	s.target.changed = false
	s.play("lllll")
	if s.target.changed {
		t.Error("every further loss is a change")
	}
	s.play("a")
	if !s.target.changed || s.target.opinion != Down || !s.target.since.Equal(down) {
		t.Error("the reason to stay down is no change, or moved since")
	}
}

func TestTargetOfOtherFamily(t *testing.T) {
	for _, c := range []struct {
		source, target string
		usable         bool
	}{
		{"192.0.2.2", "198.51.100.1", true},
		{"192.0.2.2", "::ffff:198.51.100.1", true},
		{"192.0.2.2", "2001:db8::1", false},
		{"2001:db8::2", "198.51.100.1", false},
		{"2001:db8::2", "2001:db8::1", true},
		{"2001:db8::2", "fe80::1%eth1", true},
	} {
		config := Config{Source: netip.MustParseAddr(c.source)}.normal()
		if got := newTarget(&config, netip.MustParseAddr(c.target), time.Time{}); got.usable != c.usable {
			t.Errorf("%s from %s: usable %v", c.target, c.source, got.usable)
		}
	}
}

func TestExhaustiveEnums(t *testing.T) {
	s := newScript(t, nil)
	for why := causeNone; why <= causeLocal; why++ {
		if s.target.words(why, 3) == "" {
			t.Errorf("cause %d has no words", why)
		}
	}
	if !panics(func() { s.target.words(causeLocal+1, 0) }) {
		t.Error("an unknown cause has words")
	}
}
