package netmon

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// at is a reading n seconds after the epoch of an entry that has just changed.
func at(seconds float64, state NUD) observation {
	now := epoch.Add(time.Duration(seconds * float64(time.Second)))
	return observation{state: state, before: now, after: now}
}

// aged is a reading of an entry that last changed and was confirmed long ago.
func aged(seconds float64, state NUD, age time.Duration) observation {
	o := at(seconds, state)
	o.updatedAge, o.confirmedAge = age, age
	return o
}

// follow gives the readings to a tracker whose link is ready.
func follow(readings ...observation) *tracker {
	t := &tracker{interval: 5 * time.Second, n: Neighbour{Address: netip.MustParseAddr("203.0.113.1")}}
	for _, o := range readings {
		t.observe(o, true)
	}
	return t
}

// opinionAfter is the opinion with the given number of tries.
func opinionAfter(tries int, readings ...observation) Opinion {
	o, _ := follow(readings...).n.Opinion(tries)
	return o
}

func wantOpinion(t *testing.T, got, want Opinion) {
	t.Helper()
	if got != want {
		t.Errorf("opinion %v, want %v", got, want)
	}
}

// RFC 4861 section 7.3.1: what the neighbour sends without being asked makes the
// entry STALE, which proves nothing, neither of a fresh entry nor of a failed one.
func TestNUD_01(t *testing.T) {
	wantOpinion(t, opinionAfter(1, at(0, NUDStale)), OpinionUnknown)
	wantOpinion(t, opinionAfter(1, at(0, NUDAbsent), at(1, NUDStale)), OpinionUnknown)
	wantOpinion(t, opinionAfter(1, at(0, NUDFailed), at(1, NUDStale)), OpinionDown)
}

// RFC 4861 section 7.3.1: only a confirmation is up.
func TestNUD_02(t *testing.T) {
	for state := NUDAbsent; state <= NUDPermanent; state++ {
		want := OpinionUnknown
		switch state {
		case NUDReachable:
			want = OpinionUp
		case NUDFailed:
			want = OpinionDown
		case NUDAbsent, NUDIncomplete, NUDStale, NUDDelay, NUDProbe, NUDNoARP, NUDPermanent:
		}
		t.Run(state.String(), func(t *testing.T) { wantOpinion(t, opinionAfter(1, at(0, state)), want) })
	}
}

// RFC 4861 section 7.3.2: STALE for an hour is no failure.
func TestNUD_04(t *testing.T) {
	wantOpinion(t, opinionAfter(1, at(0, NUDReachable), at(30, NUDStale), aged(3630, NUDStale, time.Hour)), OpinionUnknown)
}

// RFC 4861 section 7.3.2: DELAY and PROBE are no failure, the end of the round is,
// and only an answer ends that.
func TestNUD_05(t *testing.T) {
	readings := []observation{at(0, NUDReachable)}
	for i, step := range []struct {
		state NUD
		want  Opinion
	}{
		{NUDStale, OpinionUnknown}, {NUDDelay, OpinionUnknown}, {NUDProbe, OpinionUnknown},
		{NUDFailed, OpinionDown}, {NUDIncomplete, OpinionDown}, {NUDFailed, OpinionDown},
		{NUDAbsent, OpinionDown}, {NUDIncomplete, OpinionDown}, {NUDReachable, OpinionUp},
		{NUDProbe, OpinionUnknown}, {NUDReachable, OpinionUp},
		{NUDAbsent, OpinionUnknown}, {NUDIncomplete, OpinionUnknown}, {NUDFailed, OpinionDown},
	} {
		readings = append(readings, at(float64(10*(i+1)), step.state))
		if got := opinionAfter(1, readings...); got != step.want {
			t.Errorf("step %d, %v: %v, want %v", i, step.state, got, step.want)
		}
	}
}

// The kernel announces that a round has failed, but not that one began, so that
// FAILED is read after FAILED: the entry's age tells the rounds apart.
func TestFailuresCountRounds(t *testing.T) {
	for _, tc := range []struct {
		name     string
		readings []observation
		want     int
	}{
		{"none", []observation{at(0, NUDReachable), at(1, NUDProbe)}, 0},
		{"read twice at once", []observation{at(0, NUDFailed), aged(2, NUDFailed, 2*time.Second)}, 1},
		{"read twice with rounding", []observation{aged(0.009, NUDFailed, 0), aged(2.001, NUDFailed, 1980*time.Millisecond)}, 1},
		{"another round unseen", []observation{at(0, NUDFailed), aged(5, NUDFailed, time.Second)}, 2},
		{"another round seen", []observation{at(0, NUDFailed), at(1, NUDIncomplete), at(4, NUDFailed)}, 2},
		{"collected in between", []observation{at(0, NUDFailed), at(30, NUDAbsent), at(31, NUDIncomplete), at(34, NUDFailed)}, 2},
		{"an answer in between", []observation{at(0, NUDFailed), at(1, NUDReachable), at(4, NUDFailed)}, 1},
		{"stale in between", []observation{at(0, NUDFailed), at(1, NUDStale), at(2, NUDProbe), at(5, NUDFailed)}, 2},
		{"permanent in between", []observation{at(0, NUDFailed), at(1, NUDPermanent), at(2, NUDAbsent)}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := follow(tc.readings...).n.Failures; got != tc.want {
				t.Errorf("%d failures, want %d", got, tc.want)
			}
		})
	}
}

// A slow reading knows less about when the entry changed; it must not count the
// same round twice.
func TestFailuresCountRounds_slowReading(t *testing.T) {
	tr := follow(at(0, NUDFailed))
	slow := aged(2, NUDFailed, 2*time.Second)
	slow.before = slow.before.Add(-1 * time.Second)
	slow.after = slow.after.Add(3 * time.Second)
	tr.observe(slow, true)
	if tr.n.Failures != 1 {
		t.Errorf("%d failures, want 1", tr.n.Failures)
	}
}

// A round that ends while the link cannot carry solicitations says nothing about the
// neighbour, then and later.
func TestFailuresNeedALink(t *testing.T) {
	tr := &tracker{interval: time.Second}
	tr.observe(at(0, NUDIncomplete), true)
	tr.observe(at(1, NUDFailed), false)
	tr.observe(aged(3, NUDFailed, 2*time.Second), true)
	if tr.n.Failures != 0 {
		t.Errorf("%d failures, want none", tr.n.Failures)
	}
	tr.observe(at(7, NUDFailed), true)
	if tr.n.Failures != 1 {
		t.Errorf("%d failures after a real round, want 1", tr.n.Failures)
	}
}

func TestSince(t *testing.T) {
	tr := follow(aged(100, NUDStale, 40*time.Second))
	want := epoch.Add(60 * time.Second)
	if !tr.n.Since.Equal(want) {
		t.Errorf("since %v, want the entry's own age %v", tr.n.Since, want)
	}
	tr.observe(aged(110, NUDStale, 5*time.Second), true)
	if !tr.n.Since.Equal(want) {
		t.Errorf("since %v moved without a change of state", tr.n.Since)
	}
	tr.observe(at(120, NUDAbsent), true)
	if want := epoch.Add(120 * time.Second); !tr.n.Since.Equal(want) {
		t.Errorf("since %v, want %v", tr.n.Since, want)
	}
}

// RFC 7048 section 3: 1, 3, 9, 27 and then 60 seconds between rounds, from the
// start after an answer or a new link.
func TestNUD_13(t *testing.T) {
	tr := follow()
	var got []time.Duration
	now := 0.0
	round := func() {
		tr.observe(at(now, NUDFailed), true)
		act, due := tr.due()
		if act != actionResolve {
			t.Fatalf("action %v at a failed neighbour", act)
		}
		failed := epoch.Add(time.Duration(now * float64(time.Second)))
		got = append(got, due.Sub(failed))
		tr.asked = due
		now += due.Sub(failed).Seconds() + 3
	}
	for range 7 {
		round()
	}
	tr.observe(at(now, NUDReachable), true)
	now++
	round()
	round()
	tr.observe(at(now, NUDAbsent), false)
	now += 100
	tr.observe(at(now, NUDAbsent), true)
	if _, due := tr.due(); due.After(epoch.Add(time.Duration(now) * time.Second)) {
		t.Errorf("after a new link the neighbour is asked only at %v", due)
	}
	round()
	s := time.Second
	if diff := cmp.Diff([]time.Duration{s, 3 * s, 9 * s, 27 * s, 60 * s, 60 * s, 60 * s, s, 3 * s, s}, got); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
}

func TestDue(t *testing.T) {
	const never = -1
	for _, tc := range []struct {
		name     string
		interval time.Duration
		asked    float64 // seconds after the epoch; negative: never
		reading  observation
		failures int
		notReady bool
		act      action
		due      float64
	}{
		{name: "absent", interval: 5 * time.Second, asked: never, reading: at(10, NUDAbsent), act: actionResolve, due: 0},
		{name: "absent just after asking", interval: 5 * time.Second, asked: 9.5, reading: at(10, NUDAbsent), act: actionResolve, due: 10.5},
		{name: "stale", interval: 5 * time.Second, asked: never, reading: aged(10, NUDStale, 8*time.Second), act: actionProbe, due: 3},
		{name: "stale, asked", interval: 5 * time.Second, asked: 8, reading: aged(10, NUDStale, 8*time.Second), act: actionProbe, due: 13},
		{name: "stale after failures", interval: 50 * time.Second, asked: 8, reading: at(10, NUDStale), failures: 2, act: actionProbe, due: 11},
		{name: "delay", interval: 5 * time.Second, asked: 8, reading: at(10, NUDDelay), act: actionProbe, due: 13},
		{name: "reachable", interval: 5 * time.Second, asked: 8, reading: aged(10, NUDReachable, 2*time.Second), act: actionProbe, due: 13},
		{name: "reachable, confirmed by traffic", interval: 5 * time.Second, asked: 1, reading: at(10, NUDReachable), act: actionProbe, due: 15},
		{name: "interval below RetransTimer", interval: time.Millisecond, asked: 10, reading: at(10, NUDReachable), act: actionProbe, due: 11},
		{name: "interval below RetransTimer, old state", interval: time.Millisecond, asked: 9.5, reading: aged(10, NUDStale, 8*time.Second), act: actionProbe, due: 10.5},
		{name: "incomplete", interval: 5 * time.Second, asked: 8, reading: at(10, NUDIncomplete), due: never},
		{name: "probe", interval: 5 * time.Second, asked: 8, reading: at(10, NUDProbe), due: never},
		{name: "permanent", interval: 5 * time.Second, asked: never, reading: at(10, NUDPermanent), due: never},
		{name: "noarp", interval: 5 * time.Second, asked: never, reading: at(10, NUDNoARP), due: never},
		{name: "only looked at", asked: never, reading: at(10, NUDStale), due: never},
		{name: "link not ready", interval: 5 * time.Second, asked: never, reading: at(10, NUDFailed), notReady: true, due: never},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := &tracker{interval: tc.interval}
			tr.n.Failures = tc.failures
			if tc.asked >= 0 {
				tr.asked = epoch.Add(time.Duration(tc.asked * float64(time.Second)))
			}
			tr.observe(tc.reading, !tc.notReady)
			act, due := tr.due()
			if act != tc.act {
				t.Errorf("action %d, want %d", act, tc.act)
			}
			switch {
			case tc.due == never:
				if !due.IsZero() {
					t.Errorf("due at %v, want never", due)
				}
			case tc.due == 0:
				if due.After(epoch) {
					t.Errorf("due at %v, want at once", due)
				}
			case !due.Equal(epoch.Add(time.Duration(tc.due * float64(time.Second)))):
				t.Errorf("due %v after the epoch, want %v s", due.Sub(epoch), tc.due)
			}
		})
	}
}

// A deleted entry is no opinion, and no answer either: what failed before it still
// counts.
func TestLNX_NB_02(t *testing.T) {
	wantOpinion(t, opinionAfter(2, at(0, NUDReachable), at(1, NUDAbsent)), OpinionUnknown)
	wantOpinion(t, opinionAfter(2, at(0, NUDFailed), at(1, NUDAbsent)), OpinionUnknown)
	wantOpinion(t, opinionAfter(2, at(0, NUDFailed), at(1, NUDAbsent), at(5, NUDFailed)), OpinionDown)
}

// PERMANENT never fails, and the reason says so.
func TestLNX_NB_04(t *testing.T) {
	o, reason := follow(at(0, NUDFailed), at(1, NUDPermanent)).n.Opinion(1)
	wantOpinion(t, o, OpinionUnknown)
	want := "gateway 203.0.113.1 has a permanent neighbour entry, which never fails: delete the entry to watch the gateway"
	if reason != want {
		t.Errorf("reason %q, want %q", reason, want)
	}
}

func TestCanSolicit(t *testing.T) {
	v4 := Address{Prefix: prefix("192.0.2.1/24"), Global: true, Usable: true}
	v6 := Address{Prefix: prefix("2001:db8::1/64"), Global: true, Usable: true}
	local := Address{Prefix: prefix("fe80::1/64"), Usable: true}
	tentative := Address{Prefix: prefix("fe80::1/64")}
	loopback := Link{Name: "lo", AdminUp: true, Carrier: true, Addresses: []Address{{Prefix: prefix("127.0.0.1/8")}}}
	up := Link{Name: "eth1", AdminUp: true, Carrier: true}
	for _, tc := range []struct {
		name   string
		target string
		link   Link
		other  []Address
		want   bool
	}{
		{name: "IPv4", target: "192.0.2.254", link: with(up, v4), want: true},
		{name: "IPv4 without an address", target: "192.0.2.254", link: with(up, v6, local)},
		{name: "IPv4 with a borrowed address", target: "192.0.2.254", link: with(up), other: []Address{v4}, want: true},
		{name: "IPv6", target: "2001:db8::fe", link: with(up, v6, local), want: true},
		{name: "IPv6 link-local", target: "fe80::fe", link: with(up, local), want: true},
		{name: "IPv6 during duplicate detection", target: "fe80::fe", link: with(up, v6, tentative)},
		{name: "IPv6 with an address elsewhere", target: "fe80::fe", link: with(up), other: []Address{local}},
		{name: "no carrier", target: "192.0.2.254", link: with(Link{Name: "eth1", AdminUp: true}, v4)},
		{name: "down", target: "192.0.2.254", link: with(Link{Name: "eth1", Carrier: true}, v4)},
		{name: "no ARP", target: "192.0.2.254", link: with(Link{Name: "eth1", AdminUp: true, Carrier: true, NoARP: true}, v4)},
		{name: "no link", target: "192.0.2.254", link: Link{Name: "eth9"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			links := map[string]Link{"lo": with(loopback, append(loopback.Addresses, tc.other...)...), tc.link.Name: tc.link}
			if got := canSolicit(links, "eth1", addr(tc.target)); got != tc.want {
				t.Errorf("canSolicit = %v, want %v", got, tc.want)
			}
		})
	}
}

func with(l Link, addresses ...Address) Link {
	l.Addresses = addresses
	return l
}
