package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLNX_RT_21_Restart: a crash and a restart under traffic cost no packet, write nothing
// and change no verdict (LNX-RT-20, LNX-RT-21).
func TestLNX_RT_21_Restart(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			r := twoISPs(t)
			r.start()
			r.settled()
			f := r.flows(50, 200)
			r.wait("traffic flows", func() bool { return f.Results().Received > 2000 })
			before := r.ours()
			r.log.Reset()
			r.kill(sig)
			r.start()
			r.settled()
			from := time.Now()
			r.wait("more traffic", func() bool { return f.Watch(from, time.Time{}).Received > 5000 })
			r.must(f.Stop())
			res := f.Results()
			t.Logf("%d packets sent, %d lost", res.Sent, res.Lost)
			if res.Lost > 0 {
				t.Errorf("%d packets lost of %d, the longest outage %v", res.Lost, res.Sent, res.Longest.Duration)
			}
			if after := r.ours(); after != before {
				t.Errorf("the kernel changed over a restart:\n%s", firstDifference(before, after))
			}
			if writes := r.writes(); len(writes) > 0 {
				t.Errorf("the restarted daemon wrote: %s", writes)
			}
		})
	}
}

// TestRestart_DeadStaysDead: a restart does not put traffic on an uplink that was
// dead a moment ago.
func TestRestart_DeadStaysDead(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	r.must(r.site.CutSilently("ether", true))
	r.role("ether", "standby")
	before := r.ours()
	r.kill(syscall.SIGKILL)
	r.log.Reset()
	r.start()
	r.wait("the probes have spoken", func() bool { return r.way("pptp", "ipv4").Verified })
	if w := r.way("ether", "ipv4"); w.Role == "active" {
		t.Errorf("ether is active after the restart: %v", w.Reasons)
	}
	if after := r.ours(); after != before {
		t.Errorf("the kernel changed over a restart:\n%s", firstDifference(before, after))
	}
	r.must(r.site.CutSilently("ether", false))
	r.settled()
}

// writes returns the kernel writes in the log.
func (r *rig) writes() []string {
	var ops []string
	for _, l := range strings.Split(r.log.String(), "\n") {
		if strings.Contains(l, `msg="kernel write"`) {
			ops = append(ops, l)
		}
	}
	return ops
}

// TestReload: one new weight is one replaced group and nothing else; plan says
// so before, and says nothing after.
func TestReload(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	if p := r.plan(); p != "" {
		t.Errorf("plan prints what the kernel already holds:\n%s", p)
	}
	before := r.ours()
	r.log.Reset()
	r.configure("hold: {up: 1s}", map[string]string{
		"ether": "weight: 5\n" + r.icmp("ether"),
		"pptp":  "weight: 3\n" + r.icmp("pptp"),
	})
	r.wait("the reload", func() bool { return strings.Contains(r.log.String(), "configuration reloaded") && len(r.writes()) > 0 })
	r.wait("plan is empty", func() bool { return r.plan() == "" })
	writes := r.writes()
	if len(writes) != 2 {
		t.Errorf("the reload wrote %d ops, want one group per family:\n%s", len(writes), strings.Join(writes, "\n"))
	}
	for n, id := range []int{22100000 + 1024, 22100000 + 1025} {
		if n < len(writes) && !strings.Contains(writes[n], fmt.Sprintf("nexthop replace id %d group", id)) {
			t.Errorf("the reload wrote %s, want group %d replaced", writes[n], id)
		}
	}
	if r.ours() == before {
		t.Error("the kernel did not change")
	}
}

// TestReload_Bad: a bad file changes nothing and the status says why; SIGHUP
// reads it again.
func TestReload_Bad(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	before := r.ours()
	r.configure("hold: {up: 1s}\nwieghts: 3", nil)
	r.wait("the status tells why", func() bool {
		s, err := r.status()
		return err == nil && strings.Contains(s.ConfigError, "wieghts")
	})
	if after := r.ours(); after != before {
		t.Errorf("a bad file changed the kernel:\n%s", firstDifference(before, after))
	}
	r.log.Reset()
	r.must(r.daemon.Process.Signal(syscall.SIGHUP))
	r.wait("SIGHUP reads the file", func() bool { return strings.Contains(r.log.String(), "wieghts") })
	r.configure("hold: {up: 1s}", nil)
	r.wait("a good file is taken", func() bool {
		s, err := r.status()
		return err == nil && s.ConfigError == ""
	})
}
