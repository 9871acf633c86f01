package main

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestLNX_NH_10_LNX_RT_24_Repair: what a stranger deletes is back within 100 ms (LNX-NH-10,
// LNX-RT-24).
func TestLNX_NH_10_LNX_RT_24_Repair(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	whole := r.ours()
	for _, stranger := range []string{
		"route flush table 201",
		"-6 route flush table 201",
		"route del default table 221",
		"rule del pref 201",
		"-6 rule del pref 221",
		"rule del pref 50",
		fmt.Sprintf("nexthop del id %d", 22100000),
		fmt.Sprintf("nexthop del id %d", 22100000+1024),
		fmt.Sprintf("nexthop del id %d", 22100000+1025),
	} {
		r.within(stranger, 100*time.Millisecond, func() time.Duration {
			// iproute2 6.1 fails on routes that point at a group and still
			// deletes some; what counts is what is gone.
			_, _ = r.site.Edge.IP(strings.Fields(stranger)...)
			start := time.Now()
			if err := waitFor(patience, func() bool { return r.ours() == whole }); err != nil {
				t.Fatalf("%s: %v; the kernel holds:\n%s\nwant:\n%s", stranger, err, r.ours(), whole)
			}
			return time.Since(start)
		})
	}
	s, err := r.status()
	r.must(err)
	if s.Kernel.Drifts == 0 || !strings.Contains(s.Kernel.LastDrift, "nexthop") {
		t.Errorf("the status counts %d drifts, the last one %q; want the next hops named", s.Kernel.Drifts, s.Kernel.LastDrift)
	}
	if !strings.Contains(r.log.String(), "drift") {
		t.Error("the log does not mention the drift")
	}
}

// volatile is what differs between two prints of equal state.
var volatile = regexp.MustCompile(` (expires \S+|unbalanced_time \S+|linkdown|dead)`)

// ours prints everything of ours that the kernel holds, by iproute2.
func (r *rig) ours() string { return r.dump(true) }

// foreign prints everything else.
func (r *rig) foreign() string { return r.dump(false) }

func (r *rig) dump(ours bool) string {
	r.t.Helper()
	var b strings.Builder
	for _, args := range []string{"rule", "-6 rule", "route show table all", "-6 route show table all", "nexthop"} {
		out, err := r.site.Edge.IP(strings.Fields(args)...)
		if err != nil { // A table that nobody ever wrote.
			continue
		}
		for _, line := range strings.Split(out, "\n") {
			if line == "" || strings.HasPrefix(line, "\t") {
				continue
			}
			// The kernel's own routes follow links, not us.
			if strings.Contains(line, "proto 221") == ours && !strings.Contains(line, "proto kernel") && !strings.Contains(line, "table local") {
				b.WriteString(volatile.ReplaceAllString(line, "") + "\n")
			}
		}
	}
	return b.String()
}

// TestLNX_RT_20_Foreign: 1,000 foreign routes, 50 foreign rules and 20 foreign next hops
// are untouched over start, failover, reload and withdrawal (LNX-RT-20).
func TestLNX_RT_20_Foreign(t *testing.T) {
	r := twoISPs(t)
	var batch strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&batch, "route add 10.%d.%d.0/24 via 10.0.0.2 dev eth0 proto %d table %d metric 7\n", 100+i/250, i%250, 4+i%3, 200+i%30)
	}
	for i := range 50 {
		fmt.Fprintf(&batch, "rule add pref %d from 10.200.%d.0/24 lookup %d\n", 40+4*i, i, 200+i%30)
	}
	for i := range 20 {
		fmt.Fprintf(&batch, "nexthop add id %d via 10.0.0.2 dev eth0 proto 4\n", []int{500, 22100000 + 1 + 3*i}[min(i, 1)])
	}
	r.batch(batch.String())
	before := r.foreign()
	if n := strings.Count(before, "\n"); n < 1070 {
		t.Fatalf("only %d foreign objects were made:\n%s", n, tail(before, 500))
	}
	same := func(when string) {
		t.Helper()
		if after := r.foreign(); after != before {
			t.Fatalf("foreign objects changed over %s:\n%s", when, firstDifference(before, after))
		}
	}
	r.start()
	r.settled()
	same("the start")
	r.must(r.site.CutSilently("ether", true))
	r.role("ether", "standby")
	r.must(r.site.Carrier("pptp", false))
	r.role("pptp", "none")
	same("failovers")
	r.must(r.site.CutSilently("ether", false))
	r.must(r.site.Carrier("pptp", true))
	r.settled()
	r.configure("hold: {up: 1s}\nrules: {main: 60, source: 301, mark: 311, balance: 321}", map[string]string{"ether": "weight: 7"})
	r.wait("the reload", func() bool { return strings.Contains(r.ours(), "321:") && !strings.Contains(r.ours(), "221:") })
	same("a reload")
	r.kill(syscall.SIGTERM)
	same("a stop")
	out, err := r.run("withdraw", "--config", r.config, "--socket", r.socket())
	if err != nil {
		t.Fatalf("withdraw: %v: %s", err, out)
	}
	same("the withdrawal")
	if left := r.ours(); left != "" {
		t.Errorf("after the withdrawal this is left:\n%s", left)
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d: %q became %q", i, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines became %d", len(x), len(y))
}

// TestLNX_SYS_09_Sysctl: the compat mode is changed, given back by withdraw, also after a
// crash (LNX-SYS-09).
func TestLNX_SYS_09_Sysctl(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "a"}, lab.ISP{Name: "b"})
	r.configure("hold: {up: 1s}", nil)
	const name = "net/ipv4/nexthop_compat_mode"
	r.must(r.site.Edge.Sysctl(name, "1"))
	r.start()
	if v := r.sysctl(name); v != "0" {
		t.Errorf("%s is %s while the daemon runs, want 0", name, v)
	}
	r.kill(syscall.SIGKILL)
	r.start()
	r.kill(syscall.SIGTERM)
	if v := r.sysctl(name); v != "0" {
		t.Errorf("%s is %s after a stop with on-exit: keep, want 0", name, v)
	}
	if out, err := r.run("withdraw", "--config", r.config, "--socket", r.socket()); err != nil {
		t.Fatalf("withdraw: %v: %s", err, out)
	}
	if v := r.sysctl(name); v != "1" {
		t.Errorf("%s is %s after the withdrawal, want 1", name, v)
	}
}
