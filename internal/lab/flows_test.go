package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// flowsOf builds Flows with a history and no sockets: per flow, the times in
// milliseconds at which packets were sent, negative if the packet was lost.
func flowsOf(history ...[]int) *Flows {
	f := &Flows{base: time.Now().Add(-time.Hour), options: FlowOptions{FirstSourcePort: 20000}}
	for _, packets := range history {
		fl := &flow{to: netip.AddrPortFrom(addr("198.51.100.1"), 9)}
		for seq, ms := range packets {
			at := int64(max(ms, -ms)) * int64(time.Millisecond)
			fl.sent = append(fl.sent, at)
			if ms >= 0 {
				fl.arrive(seq, at+1)
			}
		}
		f.flows = append(f.flows, fl)
	}
	return f
}

func TestWatchJudgesWindows(t *testing.T) {
	t.Parallel()
	history := []int{0, 10, -20, -30, 40, 50, -60, -70, -80, 90, -100, -110}
	type judged struct {
		Sent, Received, Lost int
		StartMS, LongestMS   int64
		LongestLost          int
	}
	for _, c := range []struct {
		name     string
		from, to int
		want     judged
	}{
		{"everything", -1, -1, judged{12, 5, 7, 60, 30, 3}},
		{"nothing lost", 40, 55, judged{2, 2, 0, 0, 0, 0}},
		{"edges are inclusive", 40, 50, judged{2, 2, 0, 0, 0, 0}},
		{"begins within an outage", 30, 50, judged{3, 2, 1, 30, 10, 1}},
		{"ends within an outage, which counts to its end", 50, 60, judged{2, 1, 1, 60, 30, 3}},
		{"an outage without an end counts to the last packet", 95, -1, judged{2, 0, 2, 100, 10, 2}},
		{"before everything", -5, -5, judged{}},
	} {
		f := flowsOf(history)
		at := func(ms int) time.Time {
			if ms == -1 {
				return time.Time{}
			}
			return f.base.Add(time.Duration(ms) * time.Millisecond)
		}
		r := f.Watch(at(c.from), at(c.to))
		got := judged{Sent: r.Sent, Received: r.Received, Lost: r.Lost, LongestLost: r.Longest.Lost,
			LongestMS: r.Longest.Duration.Milliseconds()}
		if r.Longest.Lost > 0 {
			got.StartMS = r.Longest.Start.Sub(f.base).Milliseconds()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestWatchFindsTheWorstFlow(t *testing.T) {
	t.Parallel()
	f := flowsOf([]int{0, -10, 20}, []int{5, -15, -25, 35}, []int{7, 17, 27})
	r := f.Results()
	if at := r.Flows[0].LastArrival.Sub(f.base).Round(time.Millisecond); at != 20*time.Millisecond {
		t.Errorf("last arrival at %s", at)
	}
	if r.Longest.Flow != 1 || r.Longest.Duration != 20*time.Millisecond || r.Longest.Lost != 2 {
		t.Errorf("longest: %+v", r.Longest)
	}
	if r.Sent != 10 || r.Received != 7 || r.Lost != 3 {
		t.Errorf("sent %d received %d lost %d", r.Sent, r.Received, r.Lost)
	}
	if r.Flows[2].Longest.Lost != 0 || r.Flows[0].Longest.Duration != 10*time.Millisecond {
		t.Errorf("flows: %+v", r.Flows)
	}
}

func TestArriveCountsDuplicatesAndStrangers(t *testing.T) {
	t.Parallel()
	f := flowsOf([]int{0, 10})
	f.flows[0].arrive(1, 20)
	f.flows[0].arrive(2, 20)
	r := f.Results()
	if got := r.Flows[0]; got.Duplicates != 1 || got.Received != 2 || got.SourcePort != 20000 {
		t.Errorf("got %+v", got)
	}
}

// TestOutageIsMeasured cuts a gateway for a known time.
func TestOutageIsMeasured(t *testing.T) {
	t.Parallel()
	a, gateway, b, far := chain(t)
	const rate, cut = 200, 300 * time.Millisecond
	f, err := StartFlows(FlowOptions{From: a, To: b, Destinations: far, Flows: 10, Rate: rate})
	must(t, err)
	defer func() { must(t, f.Stop()) }()
	waitFor(t, "flows arrive", func() bool { return f.Results().Received > 100 })

	before := time.Now()
	must(t, gateway.Blackhole(true))
	began := time.Now()
	<-time.After(cut)
	ended := time.Now()
	must(t, gateway.Blackhole(false))
	after := time.Now()
	waitFor(t, "flows arrive again", func() bool { return arrivals(f, after) == 10 })
	must(t, f.Stop())

	r := f.Results()
	if r.SinkDropped != 0 || r.Unsent != 0 {
		t.Errorf("dropped by the sink: %d, unsent: %d", r.SinkDropped, r.Unsent)
	}
	// Every packet that was sent while the gateway was certainly cut is lost,
	// every one before and after it is not.
	if inside := f.Watch(began, ended); inside.Received != 0 || inside.Sent == 0 {
		t.Errorf("inside the cut: %d of %d arrived", inside.Received, inside.Sent)
	}
	slack := 20 * time.Millisecond
	for _, w := range []Results{f.Watch(time.Time{}, before.Add(-slack)), f.Watch(after, time.Time{})} {
		if w.Lost != 0 || w.Sent == 0 {
			t.Errorf("outside of the cut %d of %d were lost", w.Lost, w.Sent)
		}
	}
	interval := time.Second / rate
	low, high := ended.Sub(began)-2*interval-r.MaxSendDelay, after.Sub(before)+2*interval+r.MaxSendDelay
	for _, one := range r.Flows {
		if d := one.Longest.Duration; d < low || d > high {
			t.Errorf("flow %d: outage of %s, want %s to %s", one.Flow, d, low, high)
		}
	}
	if r.Longest.Start.Before(before.Add(-slack)) || r.Longest.Start.After(began.Add(2*interval+r.MaxSendDelay)) {
		t.Errorf("the outage began at %s, the cut at %s", r.Longest.Start, began)
	}
}

// arrivals is how many flows had a packet arrive that was sent after since.
func arrivals(f *Flows, since time.Time) (n int) {
	for _, one := range f.Watch(since, time.Time{}).Flows {
		if one.Received > 0 {
			n++
		}
	}
	return n
}

func TestManyFlows(t *testing.T) {
	t.Parallel()
	a, b := pair(t, newTestLab(t))
	f, err := StartFlows(FlowOptions{From: a, To: b, Destinations: pairB, Flows: 1000, Rate: 5})
	must(t, err)
	waitFor(t, "each flow arrived", func() bool { return arrivals(f, time.Time{}) == 1000 })
	must(t, f.Stop())
	must(t, f.Stop())
	r := f.Results()
	if r.Lost != int(r.SinkDropped)+int(r.Unsent) {
		t.Errorf("lost %d of %d on a healthy link, sink dropped %d, unsent %d", r.Lost, r.Sent, r.SinkDropped, r.Unsent)
	}
	t.Logf("sent %d, lost %d, worst delay of the sender %s", r.Sent, r.Lost, r.MaxSendDelay)
}

func TestStartFlowsRefuses(t *testing.T) {
	t.Parallel()
	h := &Host{name: "a"}
	some := pairB
	for want, o := range map[string]FlowOptions{
		"no From or no To": {To: h, Destinations: some, Flows: 1, Rate: 1},
		"no destinations":  {From: h, To: h, Flows: 1, Rate: 1},
		"0 flows":          {From: h, To: h, Destinations: some, Rate: 1},
		"do not fit":       {From: h, To: h, Destinations: some, Flows: 10, FirstSourcePort: 65530, Rate: 1},
		"rate 10001":       {From: h, To: h, Destinations: some, Flows: 1, Rate: 10001},
	} {
		if _, err := StartFlows(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestStartFlowsToAPortInUse(t *testing.T) {
	t.Parallel()
	a, b := pair(t, newTestLab(t))
	o := FlowOptions{From: a, To: b, Destinations: pairB, Flows: 1, Rate: 1}
	f, err := StartFlows(o)
	must(t, err)
	defer func() { must(t, f.Stop()) }()
	if _, err := StartFlows(o); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestTapTellsWhoCarriesWhat(t *testing.T) {
	t.Parallel()
	a, b := pair(t, newTestLab(t))
	tap, err := NewTap(b, "eth0")
	must(t, err)
	defer func() { must(t, tap.Close()) }()
	silent, err := NewTap(a, "eth0")
	must(t, err)
	defer func() { must(t, silent.Close()) }()
	f, err := StartFlows(FlowOptions{From: a, To: b, Destinations: pairB, Flows: 4, Rate: 100})
	must(t, err)
	defer func() { must(t, f.Stop()) }()
	waitFor(t, "the tap saw all flows", func() bool { return len(tap.Seen(f)) == 4 })
	for flow, p := range tap.Seen(f) {
		source := []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}[flow%2]
		if p.Source != source || p.Destination != pairB[flow%2] || p.Packets == 0 {
			t.Errorf("flow %d: %+v", flow, p)
		}
	}
	if n := len(silent.Seen(f)); n != 0 {
		t.Errorf("the tap on the sender's device saw %d flows go out", n)
	}
	must(t, f.Stop())
	tap.Reset()
	if n := len(tap.Seen(f)); n != 0 {
		t.Errorf("%d flows after Reset", n)
	}
	if _, err := NewTap(a, "nothere0"); err == nil {
		t.Error("a tap on a device that does not exist")
	}
}

func TestTapSeenSince(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := &Flows{run: 7}
	tap := &Tap{seen: map[passageKey]*Passage{
		{7, 1}: {Last: now},
		{7, 2}: {Last: now.Add(-time.Second)},
		{8, 3}: {Last: now},
	}}
	if got := tap.SeenSince(f, now); len(got) != 1 || !got[1].Last.Equal(now) {
		t.Errorf("got %v", got)
	}
	if got := tap.Seen(f); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestParseUDPIgnoresStrangers(t *testing.T) {
	t.Parallel()
	v4 := make([]byte, 28)
	v4[0], v4[9] = 0x45, 17
	v6 := make([]byte, 48)
	v6[0], v6[6] = 0x60, 17
	for i, b := range [][]byte{v4, v6} {
		if _, _, payload, ok := parseUDP(b); !ok || len(payload) != 0 {
			t.Errorf("packet %d was refused", i)
		}
		for n := range b {
			if _, _, _, ok := parseUDP(b[:n]); ok {
				t.Errorf("packet %d, first %d bytes: accepted", i, n)
			}
		}
	}
	tcp := append([]byte{}, v4...)
	tcp[9] = 6
	short := append([]byte{}, v4...)
	short[0] = 0x44
	for _, b := range [][]byte{tcp, short, {0xff}, nil} {
		if _, _, _, ok := parseUDP(b); ok {
			t.Errorf("accepted %x", b)
		}
	}
}
