package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// twoISPs is the site of the classic script: an ethernet and a point-to-point
// link, weights 2:3.
func twoISPs(t *testing.T) *rig {
	r := newRig(t, lab.ISP{Name: "ether"}, lab.ISP{Name: "pptp", PointToPoint: true})
	r.configure("hold: {up: 1s}\ngroup: {idle-timer: 100ms, unbalanced-timer: 500ms}", map[string]string{
		"ether": "weight: 2\n" + r.icmp("ether"),
		"pptp":  "weight: 3\n" + r.icmp("pptp"),
	})
	return r
}

// settled waits until both uplinks carry traffic.
func (r *rig) settled() {
	r.t.Helper()
	for _, a := range r.site.Accesses {
		r.role(a.Name, "active")
	}
}

// TestMP_01_MP_08_Shares: 1,000 flows spread by weight, within 5 points, and no flow
// uses two uplinks (MP-01, MP-08).
func TestMP_01_MP_08_Shares(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	ether, pptp := r.tap("ether"), r.tap("pptp")
	f := r.flows(1000, 5)
	r.wait("every flow was seen", func() bool { return len(ether.Seen(f))+len(pptp.Seen(f)) >= 1000 })
	a, b := ether.Seen(f), pptp.Seen(f)
	for flow := range a {
		if _, both := b[flow]; both {
			t.Errorf("flow %d used both uplinks", flow)
		}
	}
	share := 100 * float64(len(a)) / float64(len(a)+len(b))
	t.Logf("shares of %d flows: ether %.1f %%, pptp %.1f %%; wanted 40/60", len(a)+len(b), share, 100-share)
	if share < 35 || share > 45 {
		t.Errorf("ether carries %.1f %% of the flows, want 40 within 5 points", share)
	}
}

// TestDGD_01_DGD_11_SilentCut: the ISP drops everything while the carrier stays; with
// ICMP at 200 ms x 3 the traffic moves within 3 x 200 ms + 250 ms (DGD-01,
// DGD-11: the gateway itself still answers).
func TestDGD_01_DGD_11_SilentCut(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	ether, pptp := r.tap("ether"), r.tap("pptp")
	f := r.flows(240, 50)
	r.wait("traffic flows", func() bool { return f.Results().Received > 1000 })
	r.within("longest outage of a silent cut", 3*200*time.Millisecond+250*time.Millisecond, func() time.Duration {
		cut := time.Now()
		r.must(r.site.CutSilently("ether", true))
		r.role("ether", "standby")
		from := time.Now()
		r.wait("every flow is on pptp", func() bool { return len(pptp.SeenSince(f, from)) == 240 })
		outage := f.Watch(cut.Add(-100*time.Millisecond), time.Now()).Longest.Duration
		if outage == 0 {
			t.Error("nothing was lost: the cut did not cut")
		}
		from = time.Now()
		r.must(r.site.CutSilently("ether", false))
		r.role("ether", "active")
		r.wait("ether carries again", func() bool { return len(ether.SeenSince(f, from)) > 0 })
		return outage
	})
}

// TestLNX_NH_01_Carrier: carrier loss costs the flows less than 50 ms, whether the
// daemon runs or is stopped: the kernel fails over by itself.
func TestLNX_NH_01_Carrier(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		name := map[bool]string{false: "daemon running", true: "daemon stopped"}[stopped]
		t.Run(name, func(t *testing.T) {
			r := twoISPs(t)
			r.start()
			r.settled()
			ether, pptp := r.tap("ether"), r.tap("pptp")
			f := r.flows(240, 100)
			r.wait("traffic flows", func() bool { return f.Results().Received > 5000 })
			r.within("longest outage of a carrier loss", 50*time.Millisecond, func() time.Duration {
				if len(ether.Seen(f)) == 0 {
					t.Fatal("ether carries nothing: there is nothing to fail over")
				}
				if stopped {
					r.must(r.daemon.Process.Signal(syscall.SIGSTOP))
				}
				cut := time.Now()
				r.must(r.site.Carrier("ether", false))
				r.wait("every flow is on pptp", func() bool { return len(pptp.SeenSince(f, cut.Add(time.Second))) == 240 })
				res := f.Watch(cut.Add(-100*time.Millisecond), time.Now().Add(-100*time.Millisecond))
				t.Logf("%d packets lost of %d, worst lateness of the sender %v", res.Lost, res.Sent, res.MaxSendDelay.Round(time.Millisecond))
				if stopped {
					r.must(r.daemon.Process.Signal(syscall.SIGCONT))
				}
				ether.Reset()
				r.must(r.site.Carrier("ether", true))
				r.settled()
				r.wait("ether carries again", func() bool { return len(ether.Seen(f)) > 0 })
				return res.Longest.Duration
			})
		})
	}
}

// TestDGD_02_DGD_15_Tiers: with everything alive a backup tier gets no packet.
func TestDGD_02_DGD_15_Tiers(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "fiber"}, lab.ISP{Name: "cable"}, lab.ISP{Name: "lte", PointToPoint: true})
	r.configure("hold: {up: 1s}\ngroup: {idle-timer: 1s, unbalanced-timer: 3s}", map[string]string{
		"fiber": r.icmp("fiber"),
		"cable": r.icmp("cable"),
		"lte":   "tier: 2\n" + r.icmp("lte"),
	})
	r.start()
	r.role("fiber", "active")
	r.role("cable", "active")
	r.role("lte", "standby")
	lte, fiber := r.tap("lte"), r.tap("fiber")
	f := r.flows(200, 50)
	r.wait("traffic flows", func() bool { return f.Results().Received > 5000 })
	if n := len(lte.Seen(f)); n > 0 {
		t.Errorf("the backup carries %d flows although both lines are alive", n)
	}
	// DGD-02: kill one after the other; revive in another order.
	r.must(r.site.CutSilently("fiber", true))
	r.role("fiber", "none")
	r.must(r.site.CutSilently("cable", true))
	r.role("lte", "active")
	cut := time.Now()
	r.wait("every flow is on lte", func() bool { return len(lte.SeenSince(f, cut)) == 200 })
	// DGD-15: the better tier is still judged, and its return is seen.
	r.must(r.site.CutSilently("fiber", false))
	r.role("fiber", "active")
	back := time.Now()
	r.wait("every flow is on fiber", func() bool { return len(fiber.SeenSince(f, back)) == 200 })
	left := time.Now()
	r.wait("time passes", func() bool { return time.Since(left) > 300*time.Millisecond })
	if n := len(lte.SeenSince(f, left)); n > 0 {
		t.Errorf("%d flows stay on the backup after the return", n)
	}
}
