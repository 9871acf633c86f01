package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
	"github.com/multihomed/multihomed/internal/status"
)

// ownPrefixes are what the edge announces.
var ownPrefixes = map[bool]string{false: "192.0.2.0/24", true: "2001:db8:100::/48"}

// bgpHead is a configuration for BGP in a lab: quick to come back.
const bgpHead = `hold: {up: 500ms, suppress: 1000000, reuse: 750}
group: {idle-timer: 100ms, unbalanced-timer: 200ms}
bgp:
  as: 64500
  router-id: 192.0.2.1
  announce: [192.0.2.0/24, "2001:db8:100::/48"]`

// bird is BIRD 2 at an ISP, which announces a default route in both families and
// accepts whatever it is told.
type bird struct {
	r       *rig
	isp     string
	socket  string
	process *exec.Cmd
}

// bird starts BIRD at an ISP until the test ends. extra is put behind the static
// default route of each family, bfd says how often it watches the line.
func (r *rig) bird(isp string, as int, bfd time.Duration, extra map[bool]string) *bird {
	r.t.Helper()
	a, err := r.site.Access(isp)
	r.must(err)
	b := &bird{r: r, isp: isp, socket: filepath.Join(r.dir, isp+".ctl")}
	var c strings.Builder
	fmt.Fprintf(&c, "log %q all;\nrouter id 10.0.0.%d;\nprotocol device { scan time 1; }\n", filepath.Join(r.dir, isp+".log"), as%200)
	watch := ""
	if bfd > 0 {
		watch = "bfd on; "
		fmt.Fprintf(&c, "protocol bfd { interface %q { interval %d ms; multiplier 3; }; }\n", a.FarDevice, bfd.Milliseconds())
	}
	for _, ipv6 := range []bool{false, true} {
		line, family, all := a.Line(ipv6), "ipv4", "0.0.0.0/0"
		if ipv6 {
			family, all = "ipv6", "::/0"
		}
		fmt.Fprintf(&c, "protocol static static_%s { %s; route %s unreachable; %s }\n", family, family, all, extra[ipv6])
		fmt.Fprintf(&c, "protocol bgp edge_%s { local %s as %d; neighbor %s as 64500; %sgraceful restart on; hold time 9; connect retry time 1; error wait time 1,2; "+
			"%s { import all; export where source = RTS_STATIC; }; }\n", family, line.Gateway, as, line.Source, watch, family)
	}
	conf := filepath.Join(r.dir, isp+".conf")
	r.must(os.WriteFile(conf, []byte(c.String()), 0o600))
	b.process = exec.Command("/usr/sbin/bird", "-f", "-c", conf, "-s", b.socket, "-P", filepath.Join(r.dir, isp+".pid"))
	var complaints logBuffer
	b.process.Stderr = &complaints
	r.must(a.Host.Start(b.process))
	r.t.Cleanup(func() {
		_ = b.process.Process.Kill() // It may have ended by itself.
		_ = b.process.Wait()
		if r.t.Failed() {
			r.t.Logf("BIRD at %s: %s\n%s\n%s", isp, complaints.String(), b.ask("show", "protocols", "all"), b.ask("show", "bfd", "sessions"))
		}
	})
	return b
}

// ask asks BIRD by its socket.
func (b *bird) ask(words ...string) string {
	out, err := exec.Command("/usr/sbin/birdc", append([]string{"-r", "-s", b.socket}, words...)...).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// hears reports whether our prefix of each family is there, with a text among its
// attributes.
func (b *bird) hears(text string) bool {
	for ipv6, p := range ownPrefixes {
		family := "ipv4"
		if ipv6 {
			family = "ipv6"
		}
		out := b.ask("show", "route", p, "protocol", "edge_"+family, "all")
		if !strings.Contains(out, p) || !strings.Contains(out, text) {
			return false
		}
	}
	return true
}

// silent reports whether neither family has our prefix.
func (b *bird) silent() bool {
	for _, p := range ownPrefixes {
		if strings.Contains(b.ask("show", "route", p, "all"), p) {
			return false
		}
	}
	return true
}

// session waits until the BGP session of an uplink is in a state in both families.
func (r *rig) session(name, state string) {
	r.t.Helper()
	r.wait("the session of "+name+" is "+state, func() bool {
		for _, f := range []string{"ipv4", "ipv6"} {
			if w := r.way(name, f); w.BGP == nil || w.BGP.State != state {
				return false
			}
		}
		return true
	})
}

// TestBGP_DefaultOnly: an uplink comes up by what its ISP announces, goes when the ISP
// takes that away, and the ISP knows our prefixes.
func TestBGP_DefaultOnly(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "isp"}, lab.ISP{Name: "other"})
	r.configure(bgpHead, map[string]string{"isp": "bgp: {peer-as: 64501}", "other": r.icmp("other")})
	far := r.bird("isp", 64501, 0, nil)
	r.start()
	r.session("isp", "established")
	r.role("isp", "active")
	r.wait("BIRD hears our prefixes", func() bool { return far.hears("64500") })
	if w := r.way("isp", "ipv4"); !w.Verified || w.BGP.Default != "accepted" || w.BGP.Accepted != 1 {
		t.Errorf("the status says %+v", w.BGP)
	}
	f := r.flows(60, 100)
	r.wait("traffic flows", func() bool { return f.Results().Received > 2000 })
	far.run("disable", "static_ipv4")
	r.wait("isp is not used for ipv4", func() bool { return r.way("isp", "ipv4").Role == "standby" })
	if w := r.way("isp", "ipv6"); w.Role != "active" {
		t.Errorf("ipv6 is %s: %v", w.Role, w.Reasons)
	}
	far.run("enable", "static_ipv4")
	r.role("isp", "active")
	r.must(f.Stop())
	if res := f.Results(); res.Lost > 0 {
		t.Errorf("%d packets of %d lost", res.Lost, res.Sent)
	}
}

// run gives BIRD an order.
func (b *bird) run(words ...string) {
	b.r.t.Helper()
	if out, err := exec.Command("/usr/sbin/birdc", append([]string{"-s", b.socket}, words...)...).CombinedOutput(); err != nil {
		b.r.t.Fatalf("birdc %v: %v: %s", words, err, out)
	}
}

// TestB_GR_03_BGP_CrashOfTheSpeaker: the process that speaks BGP dies under traffic: no packet is
// lost, no route changes, and sessions come back.
func TestB_GR_03_BGP_CrashOfTheSpeaker(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "isp"}, lab.ISP{Name: "other", PointToPoint: true})
	r.configure(bgpHead, map[string]string{"isp": "bgp: {peer-as: 64501, import: full}", "other": r.icmp("other")})
	far := r.bird("isp", 64501, 0, map[bool]string{
		false: "route 8.8.0.0/16 unreachable; route 9.9.9.0/24 unreachable;", true: "route 2a00:1::/32 unreachable; route 2a00:2::/32 unreachable;",
	})
	r.start()
	r.session("isp", "established")
	r.role("isp", "active")
	r.wait("the prefixes are in the kernel", func() bool {
		s, err := r.status()
		return err == nil && s.BGP != nil && s.BGP.Prefixes != nil && s.BGP.Prefixes.Routes == 4 && s.BGP.Prefixes.Pending == 0 && s.BGP.Synced
	})
	f := r.flows(60, 100)
	r.wait("traffic flows", func() bool { return f.Results().Received > 2000 })
	before, routes := r.ours(), r.prefixes()
	s, err := r.status()
	r.must(err)
	r.log.Reset()
	r.must(syscall.Kill(s.BGP.PID, syscall.SIGKILL))
	r.wait("another process speaks", func() bool { s, err := r.status(); return err == nil && s.BGP.Speaking && s.BGP.Starts == 2 })
	r.session("isp", "established")
	r.wait("all is told again", func() bool {
		s, err := r.status()
		return err == nil && s.BGP.Synced && s.BGP.Prefixes.Unclaimed == 0
	})
	r.wait("BIRD hears our prefixes", func() bool { return far.hears("64500") })
	r.must(f.Stop())
	if res := f.Results(); res.Lost > 0 {
		t.Errorf("%d packets of %d lost, the longest outage %v", res.Lost, res.Sent, res.Longest.Duration)
	}
	if after := r.ours(); after != before {
		t.Errorf("the kernel changed:\n%s", firstDifference(before, after))
	}
	if after := r.prefixes(); after != routes || !strings.Contains(routes, "9.9.9.0/24") {
		t.Errorf("prefixes were\n%s\nand are\n%s", routes, after)
	}
	if w := r.writes(); len(w) > 0 {
		t.Errorf("the daemon wrote %s", w)
	}
	if w := r.way("isp", "ipv4"); w.Verdict != "live" {
		t.Errorf("isp is %s: %v", w.Verdict, w.Reasons)
	}
}

// prefixes is the table of prefixes.
func (r *rig) prefixes() string {
	r.t.Helper()
	return r.ip("-4 route show table 222") + r.ip("-6 route show table 222")
}

// mixed are the weights of the uplinks of the mixed group: one with BGP and BFD, one
// static ethernet with ICMP, one point-to-point without a gateway.
var mixed = []struct {
	name   string
	weight int
}{{"bgp", 3}, {"ether", 2}, {"pptp", 1}}

// shares fails unless flows are shared among the uplinks as their weights say, within 5
// points. It tries again where an uplink was lost on a busy machine.
func (r *rig) shares(when, without string) {
	r.t.Helper()
	for n := range attempts {
		bad := r.share(when, without)
		if len(bad) == 0 {
			return
		}
		if n == attempts-1 {
			r.t.Errorf("%s: %s", when, strings.Join(bad, ", "))
		}
		for _, u := range mixed {
			if u.name != without {
				r.role(u.name, "active")
			}
		}
	}
}

// share measures once, and says what is not as it should be.
func (r *rig) share(when, without string) (bad []string) {
	r.t.Helper()
	total := 0
	taps := map[string]*lab.Tap{}
	for _, u := range mixed {
		if u.name != without {
			total += u.weight
		}
		taps[u.name] = r.tap(u.name)
	}
	f := r.flows(600, 10)
	r.wait("traffic flows", func() bool { return f.Results().Received > 3000 })
	r.must(f.Stop())
	seen := 0
	for _, t := range taps {
		seen += len(t.Seen(f))
	}
	for _, u := range mixed {
		want := 100 * float64(u.weight) / float64(total)
		if u.name == without {
			want = 0
		}
		have := 100 * float64(len(taps[u.name].Seen(f))) / float64(seen)
		r.t.Logf("%s: %s carries %.1f %% of %d flows, wanted %.1f", when, u.name, have, seen, want)
		if have < want-5 || have > want+5 || want == 0 && have > 0 {
			bad = append(bad, fmt.Sprintf("%s carries %.1f %% of the flows, want %.1f within 5 points", u.name, have, want))
		}
	}
	return bad
}

// TestB_POL_15_BGP_MixedGroup: uplinks of three kinds share the traffic by their weights, each
// fails and returns in turn, and the announcements follow as the ISP sees them.
func TestB_POL_15_BGP_MixedGroup(t *testing.T) {
	r := newRig(t, lab.ISP{Name: "bgp"}, lab.ISP{Name: "ether"}, lab.ISP{Name: "pptp", PointToPoint: true})
	// Slow enough for a machine on which BIRD does not run for a while now and then.
	const interval = 300 * time.Millisecond
	uplinks := map[string]string{
		"bgp":   "weight: 3\n" + bfdLine(interval) + "\n" + r.icmp("bgp") + "\nbgp: {peer-as: 64501}",
		"ether": "weight: 2\n" + r.icmp("ether"),
		"pptp":  "weight: 1\n" + r.icmp("pptp"),
	}
	r.configure(bgpHead, uplinks)
	far := r.bird("bgp", 64501, interval, nil)
	r.start()
	r.session("bgp", "established")
	r.bfdUp("bgp")
	all := func() {
		r.t.Helper()
		for _, u := range mixed {
			r.role(u.name, "active")
		}
	}
	all()
	r.wait("BIRD hears our prefixes", func() bool { return far.hears("64500") })
	r.shares("all live", "")
	for _, u := range mixed {
		// Of the line with BGP, BFD notices the silence of the ISP; of the others, ICMP.
		r.must(r.site.Silence(u.name, true))
		r.role(u.name, "standby")
		r.shares("without "+u.name, u.name)
		if u.name != "bgp" {
			r.wait("BIRD hears our prefixes", func() bool { return far.hears("64500") })
		}
		r.must(r.site.Silence(u.name, false))
		all()
		r.session("bgp", "established")
		r.wait("BIRD hears our prefixes", func() bool { return far.hears("64500") })
	}
	r.shares("all live again", "")
	// What lies behind the ISP is dead while its router is well: the session stands, and
	// our prefixes are withdrawn.
	r.must(r.site.CutSilently("bgp", true))
	r.role("bgp", "standby")
	r.wait("our prefixes are withdrawn", far.silent)
	r.session("bgp", "established")
	r.must(r.site.CutSilently("bgp", false))
	all()
	r.wait("BIRD hears our prefixes", func() bool { return far.hears("64500") })
	// Busy buckets are to stay, also those of a sender that does not run for a while, and
	// the kernel is not to move them for the sake of balance.
	r.configure(strings.Replace(bgpHead, "idle-timer: 100ms, unbalanced-timer: 200ms", "idle-timer: 3s, unbalanced-timer: 1h", 1), uplinks)
	r.wait("the group has other timers", func() bool { return strings.Count(r.ip("nexthop"), "unbalanced_timer 3600") == 2 })
	r.drained(far)
}

// drained drains the uplink with BGP and fills it again.
func (r *rig) drained(far *bird) {
	r.t.Helper()
	// Few flows with long pauses leave buckets idle; busy ones stay.
	f := r.flows(60, 100)
	r.wait("traffic flows", func() bool { return f.Results().Received > 2000 })
	if out, err := r.run("drain", "bgp", "--socket", r.socket()); err != nil {
		r.t.Fatalf("drain: %v: %s", err, out)
	}
	r.role("bgp", "draining")
	r.wait("BIRD hears our prefixes with the community", func() bool { return far.hears("(65535,0)") })
	busy := func(w status.Way) bool { return w.Drain != nil && w.Drain.Busy != nil && *w.Drain.Busy > 0 }
	r.wait("the busy flows stay", func() bool { return busy(r.way("bgp", "ipv4")) && busy(r.way("bgp", "ipv6")) })
	r.must(f.Stop())
	if res := f.Results(); res.Lost > 0 {
		r.t.Errorf("draining: %d packets of %d lost", res.Lost, res.Sent)
	}
	r.session("bgp", "shut") // No flow is left.
	r.wait("our prefixes are gone", far.silent)
	if out, err := r.run("undrain", "bgp", "--socket", r.socket()); err != nil {
		r.t.Fatalf("undrain: %v: %s", err, out)
	}
	r.session("bgp", "established")
	r.role("bgp", "active")
	r.wait("BIRD hears our prefixes without the community", func() bool { return far.hears("64500") && !far.hears("(65535,0)") })
}
