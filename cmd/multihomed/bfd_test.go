package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/engine"
	"github.com/multihomed/multihomed/internal/lab"
)

// bfdLine is the configuration of an uplink's BFD: multiplier 3.
func bfdLine(interval time.Duration) string {
	return fmt.Sprintf("bfd: {interval: %v, multiplier: 3}", interval)
}

// farEnd is BFD at an ISP.
type farEnd struct {
	speaker  *bfd.Speaker
	sessions []*bfd.Session
	stop     func()
}

// answer runs BFD at an ISP for both families until the test ends.
func (r *rig) answer(isp string, interval time.Duration) *farEnd {
	r.t.Helper()
	a, err := r.site.Access(isp)
	r.must(err)
	f := &farEnd{}
	r.must(a.Host.Do(func() (err error) {
		f.speaker, err = bfd.NewSpeaker(bfd.Options{Logger: slog.New(slog.DiscardHandler)})
		return err
	}))
	for _, ipv6 := range []bool{false, true} {
		line := a.Line(ipv6)
		s, err := f.speaker.Open(bfd.Config{
			Peer: line.Source, Local: line.Gateway, Interface: a.FarDevice, PointToPoint: a.PointToPoint,
			DesiredMinTx: interval, RequiredMinRx: interval, Multiplier: 3,
		}, nil)
		r.must(err)
		f.sessions = append(f.sessions, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.speaker.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		r.must(<-ended)
	})
	r.t.Cleanup(f.stop)
	return f
}

// bfdUp waits until BFD speaks for an uplink in both families.
func (r *rig) bfdUp(name string) { r.t.Helper(); r.bfdSays(name, "up") }

// bfdSays waits for an opinion of BFD in both families.
func (r *rig) bfdSays(name, opinion string) {
	r.t.Helper()
	r.wait("bfd of "+name+" is "+opinion, func() bool {
		return r.opinion(name, "ipv4", "bfd") == opinion && r.opinion(name, "ipv6", "bfd") == opinion
	})
}

// opinion is what one kind of evidence says of a way, "" if it says nothing.
func (r *rig) opinion(name, family, kind string) string {
	for _, e := range r.way(name, family).Evidence {
		if e.Kind == kind {
			return e.Opinion
		}
	}
	return ""
}

// silentCut silences an ISP, waits until its flows are elsewhere, brings it back
// and returns the longest outage of any flow.
func (r *rig) silentCut(f *lab.Flows, isp string) time.Duration {
	r.t.Helper()
	a, err := r.site.Access(isp)
	r.must(err)
	tap, err := lab.NewTap(a.Host, a.FarDevice)
	r.must(err)
	r.wait(isp+" carries traffic", func() bool { return len(tap.Seen(f)) > 0 })
	r.must(tap.Close())
	cut := time.Now()
	r.must(r.site.Silence(isp, true))
	r.role(isp, "standby")
	// The outage of a flow has ended when something arrived that was sent from now on.
	// What was sent at the very last may be under way.
	from := time.Now()
	var to time.Time
	r.wait("every flow arrives again", func() bool {
		to = time.Now().Add(-20 * time.Millisecond)
		return to.After(from) &&
			!slices.ContainsFunc(f.Watch(from, to).Flows, func(fr lab.FlowResult) bool { return fr.Received == 0 })
	})
	res := f.Watch(cut.Add(-50*time.Millisecond), to)
	r.must(r.site.Silence(isp, false))
	r.role(isp, "active")
	if res.Longest.Duration == 0 {
		r.t.Fatal("nothing was lost: the cut did not cut")
	}
	return res.Longest.Duration
}

// TestBFD_GA_09_BFD_SH_01_SilentCut: a line that goes dead without a word costs the
// flows the detection time. The figure, with its margin of 5 ms, is that of
// BenchmarkSilentCut; here the machine is busy with the race detector.
func TestBFD_GA_09_BFD_SH_01_SilentCut(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "ether"}, lab.ISP{Name: "pptp", PointToPoint: true})
	const interval = 50 * time.Millisecond
	r.configure("hold: {up: 500ms, suppress: 1000000, reuse: 750}\ngroup: {idle-timer: 100ms, unbalanced-timer: 200ms}", map[string]string{
		"ether": bfdLine(interval), "pptp": bfdLine(interval),
	})
	for _, a := range r.site.Accesses {
		r.answer(a.Name, interval)
	}
	r.start()
	for _, a := range r.site.Accesses {
		r.bfdUp(a.Name)
	}
	r.settled()
	f := r.flows(60, 200)
	r.wait("traffic flows", func() bool { return f.Results().Received > 3000 })
	for _, a := range r.site.Accesses {
		r.within("longest outage of a silent cut of "+a.Name, 3*interval+50*time.Millisecond, func() time.Duration {
			return r.silentCut(f, a.Name)
		})
		r.bfdUp(a.Name)
	}
}

// TestBFD_GA_03_BFD_GA_04_AdminDown: an ISP that takes its BFD down by intent has not
// failed; an uplink that nothing else speaks for leaves the group all the same.
func TestBFD_GA_03_BFD_GA_04_AdminDown(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "probed"}, lab.ISP{Name: "alone", PointToPoint: true})
	const interval = 50 * time.Millisecond
	r.configure("hold: {up: 0s}", map[string]string{
		"probed": r.icmp("probed") + "\n" + bfdLine(interval), "alone": bfdLine(interval),
	})
	ends := map[string]*farEnd{}
	for _, a := range r.site.Accesses {
		ends[a.Name] = r.answer(a.Name, interval)
	}
	r.start()
	for _, a := range r.site.Accesses {
		r.bfdUp(a.Name)
	}
	r.settled()
	for _, e := range ends {
		for _, s := range e.sessions {
			s.Disable()
		}
	}
	r.bfdSays("probed", "unknown")
	r.bfdSays("alone", "down")
	r.role("alone", "standby")
	r.role("probed", "active")
	for _, e := range ends {
		for _, s := range e.sessions {
			s.Enable()
		}
	}
	r.bfdUp("probed")
	r.settled()
}

// TestBFD_AD_02_BFD_GA_05_OwnRestart: a daemon that stops says so to its peers, for
// which nothing failed, and its next start does not show as a failure here.
func TestBFD_AD_02_BFD_GA_05_OwnRestart(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "ether"}, lab.ISP{Name: "pptp", PointToPoint: true})
	const interval = 50 * time.Millisecond
	r.configure("hold: {up: 0s}", map[string]string{"ether": bfdLine(interval), "pptp": bfdLine(interval)})
	var sessions []*bfd.Session
	for _, a := range r.site.Accesses {
		sessions = append(sessions, r.answer(a.Name, interval).sessions...)
	}
	r.start()
	for _, a := range r.site.Accesses {
		r.bfdUp(a.Name)
	}
	r.settled()
	before := r.ip("nexthop")
	r.kill(15)
	for _, s := range sessions {
		r.wait("the peer knows", func() bool { return s.Status().State == bfd.Down })
		if st := s.Status(); st.Diag != bfd.DiagNeighborSignaledDown || st.RemoteState != bfd.AdminDown || st.Failures != 0 {
			t.Errorf("the peer on %s saw %v with %v, %d failures: want the neighbour's word, administratively down",
				st.Config.Interface, st.Diag, st.RemoteState, st.Failures)
		}
	}
	r.start()
	for _, a := range r.site.Accesses {
		r.bfdUp(a.Name)
	}
	if after := r.ip("nexthop"); after != before {
		t.Errorf("the restart changed the next hops:\n%s\nto\n%s", before, after)
	}
}

// TestBFD_UE_20_BFD_UE_01_Echo: an ISP without BFD that forwards our packets back is
// watched by echo, and one that refuses their source is never up, with the cause in
// the status.
func TestBFD_UE_20_BFD_UE_01_Echo(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "open"}, lab.ISP{Name: "strict"})
	const echo = "bfd: {mode: echo, interval: 50ms, multiplier: 3}"
	r.configure("hold: {up: 500ms, suppress: 1000000, reuse: 750}", map[string]string{"open": echo, "strict": echo})
	strict, err := r.site.Access("strict")
	r.must(err)
	for _, dev := range []string{"all", strict.FarDevice} {
		r.must(strict.Host.Sysctl("net/ipv4/conf/"+dev+"/rp_filter", "1"))
	}
	r.start()
	r.bfdUp("open")
	r.settled()
	r.wait("the status names the cause", func() bool {
		for _, e := range r.way("strict", "ipv4").Evidence {
			if e.Kind == "bfd" && e.Opinion == "unknown" && strings.Contains(e.Reason, "reverse-path filter") && strings.Contains(e.Reason, strict.IPv4.Source.String()) {
				return true
			}
		}
		return false
	})
	f := r.flows(60, 200)
	r.wait("traffic flows", func() bool { return f.Results().Received > 3000 })
	r.within("longest outage of a silent cut, by echo", 200*time.Millisecond, func() time.Duration { return r.silentCut(f, "open") })
	if r.opinion("strict", "ipv4", "bfd") != "unknown" {
		t.Errorf("bfd of strict says %s, want unknown", r.opinion("strict", "ipv4", "bfd"))
	}
}

// BenchmarkSilentCut is the outage that flows see when one of 2 and of 64 uplinks
// goes dead without a word, as the median and the worst of b.N cuts, and by how much
// the median exceeds the detection time.
//
//	go test -run '^$' -bench SilentCut -benchtime 10x ./cmd/multihomed
func BenchmarkSilentCut(b *testing.B) {
	for _, uplinks := range []int{2, 64} {
		for _, interval := range []time.Duration{50 * time.Millisecond, 10 * time.Millisecond} {
			b.Run(fmt.Sprintf("uplinks=%d/interval=%v", uplinks, interval), func(b *testing.B) { benchmarkSilentCut(b, uplinks, interval) })
		}
	}
}

// carrier returns an ISP that carries traffic, the nth or one after it: with 64 of them
// not every one has a flow.
func (r *rig) carrier(f *lab.Flows, n int) string {
	r.t.Helper()
	var name string
	r.wait("an ISP carries traffic", func() bool {
		a := r.site.Accesses[n%len(r.site.Accesses)]
		n++
		tap, err := lab.NewTap(a.Host, a.FarDevice)
		r.must(err)
		if err := waitFor(300*time.Millisecond, func() bool { return len(tap.Seen(f)) > 0 }); err == nil {
			name = a.Name
		}
		r.must(tap.Close())
		return name != ""
	})
	return name
}

func benchmarkSilentCut(b *testing.B, uplinks int, interval time.Duration) {
	b.Helper()
	// The far ends live here, beside the traffic: they have to be in time as well.
	engine.TuneRuntime()
	var isps []lab.ISP
	lines := map[string]string{}
	for n := range uplinks {
		isps = append(isps, lab.ISP{Name: fmt.Sprintf("isp%d", n+1)})
		lines[isps[n].Name] = bfdLine(interval)
	}
	r := newRig(b, isps...)
	exe, err := build()
	r.must(err)
	r.exe = exe
	r.configure("tables: {uplinks: 10000}\nhold: {up: 1s, suppress: 1000000, reuse: 750}\ngroup: {idle-timer: 100ms, unbalanced-timer: 200ms}", lines)
	for _, isp := range isps {
		r.answer(isp.Name, interval)
	}
	r.start()
	for _, isp := range isps {
		r.bfdUp(isp.Name)
	}
	r.settled()
	f := r.flows(40, 500)
	r.wait("traffic flows", func() bool { return f.Results().Received > 10000 })
	var outages []time.Duration
	for b.Loop() {
		name := r.carrier(f, len(outages))
		outages = append(outages, r.silentCut(f, name))
		r.bfdUp(name)
	}
	slices.Sort(outages)
	median := outages[len(outages)/2]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(median), "median-ms")
	b.ReportMetric(milliseconds(outages[len(outages)-1]), "worst-ms")
	b.ReportMetric(milliseconds(median-3*interval), "over-detection-ms")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
