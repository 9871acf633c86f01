package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
	"github.com/multihomed/multihomed/internal/status"
)

// asDaemon makes the test binary behave as multihomed itself, so that the
// daemon under test is the code under test, race detector included.
const asDaemon = "TEST_AS_MULTIHOMED"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
		return
	}
	os.Exit(lab.Main(m))
}

// patience bounds every wait of a test. It is generous because machines are
// shared; what is measured is measured from the traffic, not from the wait.
const patience = 30 * time.Second

// rig is a site with the daemon on its edge.
type rig struct {
	t      testing.TB
	site   *lab.Site
	dir    string
	config string
	daemon *exec.Cmd
	exited chan struct{}
	log    *logBuffer
	exe    string
}

// logBuffer keeps what the daemon logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Reset forgets what was logged so far.
func (l *logBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig builds a site; the daemon is not started yet.
func newRig(t testing.TB, isps ...lab.ISP) *rig {
	t.Helper()
	l, err := lab.New(lab.Options{Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	site, err := lab.NewSite(l, lab.SiteOptions{ISPs: isps})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, site: site, dir: t.TempDir(), log: &logBuffer{}, exe: "/proc/self/exe"}
	r.config = filepath.Join(r.dir, "multihomed.yaml")
	// Flows differ in ports, as the traffic of a site behind NAT does.
	for _, name := range []string{"net/ipv4/fib_multipath_hash_policy", "net/ipv6/fib_multipath_hash_policy"} {
		r.must(site.Edge.Sysctl(name, "1"))
	}
	t.Cleanup(func() {
		r.kill(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", tail(r.log.String(), 12000))
		}
	})
	return r
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// configure writes the configuration: head, then one uplink per ISP with the
// lines that extra gives for its name.
func (r *rig) configure(head string, extra map[string]string) {
	r.t.Helper()
	var b strings.Builder
	b.WriteString(head + "\nuplinks:\n")
	for _, a := range r.site.Accesses {
		fmt.Fprintf(&b, "  - name: %s\n    interface: %s\n", a.Name, a.Device)
		if !a.PointToPoint {
			fmt.Fprintf(&b, "    gateway: [%s, %q]\n", a.IPv4.Gateway, a.IPv6.Gateway)
		}
		for _, line := range strings.Split(extra[a.Name], "\n") {
			if line != "" {
				fmt.Fprintf(&b, "    %s\n", line)
			}
		}
	}
	temp := r.config + ".new"
	r.must(os.WriteFile(temp, []byte(b.String()), 0o600))
	r.must(os.Rename(temp, r.config))
}

func (r *rig) socket() string { return filepath.Join(r.dir, "mh.sock") }

// command returns the daemon's program with args, to be run on the edge.
func (r *rig) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.exe, args...)
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	return cmd
}

// start starts the daemon and waits until it has written the kernel.
func (r *rig) start() {
	r.t.Helper()
	r.daemon = r.command("run", "--config", r.config, "--socket", r.socket(), "--log-level", "debug")
	r.daemon.Stderr = r.log
	r.must(r.site.Edge.Start(r.daemon))
	r.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // How it ended is seen in its log.
		close(exited)
	}(r.daemon, r.exited)
	r.wait("the daemon is ready", func() bool { s, err := r.status(); return err == nil && s.Ready && s.Kernel.InSync })
}

// kill ends the daemon with a signal and waits for its end.
func (r *rig) kill(sig syscall.Signal) {
	if r.daemon == nil {
		return
	}
	_ = r.daemon.Process.Signal(sig) // It may have ended by itself.
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Errorf("the daemon does not end on %v", sig)
		_ = r.daemon.Process.Kill()
	}
	r.daemon = nil
}

func (r *rig) status() (status.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return status.Dial(r.socket()).Get(ctx)
}

// way returns what the daemon says of one uplink and family.
func (r *rig) way(name, family string) status.Way {
	s, err := r.status()
	if err != nil {
		return status.Way{}
	}
	for _, u := range s.Uplinks {
		for _, w := range u.Ways {
			if u.Name == name && w.Family == family {
				return w
			}
		}
	}
	return status.Way{}
}

// role waits until an uplink has a role in both families.
func (r *rig) role(name, role string) {
	r.t.Helper()
	r.wait(name+" is "+role, func() bool {
		return r.way(name, "ipv4").Role == role && r.way(name, "ipv6").Role == role
	})
}

// wait polls until ok, for patience.
func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	if err := waitFor(patience, ok); err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

func waitFor(limit time.Duration, ok func() bool) error {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v", limit)
		}
		<-tick.C
	}
	return nil
}

// ip runs iproute2 on the edge.
func (r *rig) ip(args string) string {
	r.t.Helper()
	out, err := r.site.Edge.IP(strings.Fields(args)...)
	r.must(err)
	return out
}

// plan runs `multihomed plan` on the edge and returns what it prints.
func (r *rig) plan() string {
	r.t.Helper()
	cmd := r.command("plan", "--config", r.config)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	r.must(r.site.Edge.Start(cmd))
	if err := cmd.Wait(); err != nil {
		r.t.Fatalf("plan: %v: %s", err, errs.String())
	}
	return out.String()
}

// flows sends many flows from the LAN to the internet in both families.
func (r *rig) flows(n, rate int) *lab.Flows {
	r.t.Helper()
	var to []netip.Addr
	v4, v6 := r.site.Destinations(false), r.site.Destinations(true)
	for i := range min(len(v4), len(v6)) {
		to = append(to, v4[i], v6[i])
	}
	f, err := lab.StartFlows(lab.FlowOptions{From: r.site.LAN, To: r.site.Internet, Destinations: to, Flows: n, Rate: rate})
	r.must(err)
	r.t.Cleanup(func() { r.must(f.Stop()) })
	return f
}

// tap listens to what an ISP carries.
func (r *rig) tap(isp string) *lab.Tap {
	r.t.Helper()
	a, err := r.site.Access(isp)
	r.must(err)
	tap, err := lab.NewTap(a.Host, a.FarDevice)
	r.must(err)
	r.t.Cleanup(func() { r.must(tap.Close()) })
	return tap
}

// icmp is the probing that most tests use: 200 ms x 3 to the site's targets.
func (r *rig) icmp(isp string) string {
	r.t.Helper()
	targets, err := r.site.Targets(isp)
	r.must(err)
	words := make([]string, len(targets))
	for i, a := range targets {
		words[i] = fmt.Sprintf("%q", a)
	}
	return "icmp: {targets: [" + strings.Join(words, ", ") + "], interval: 200ms, timeout: 200ms, down: 3, up: 2}"
}

// attempts is how often a figure may be measured before it counts as missed. A
// busy machine only ever adds to it, so the best one is the software's.
const attempts = 3

// within measures a figure until it is below limit, and fails if it never is.
func (r *rig) within(what string, limit time.Duration, measure func() time.Duration) {
	r.t.Helper()
	for n := range attempts {
		took := measure()
		r.t.Logf("%s: %v, limit %v", what, took.Round(100*time.Microsecond), limit)
		if took < limit {
			return
		}
		if n == attempts-1 {
			r.t.Errorf("%s: %v, want less than %v", what, took, limit)
		}
	}
}

// build compiles the program without the race detector, for measurements of its
// footprint; it is done once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "multihomed-test")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "multihomed")
	out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, fmt.Errorf("%s", out))
	}
	return exe, nil
})

// run runs one command of the program on the edge and returns what it printed.
func (r *rig) run(args ...string) (string, error) {
	r.t.Helper()
	cmd := r.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r.must(r.site.Edge.Start(cmd))
	err := cmd.Wait()
	return out.String(), err
}

// batch feeds commands to iproute2 on the edge.
func (r *rig) batch(commands string) {
	r.t.Helper()
	file := filepath.Join(r.dir, "batch")
	r.must(os.WriteFile(file, []byte(commands), 0o600))
	_, err := r.site.Edge.IP("-batch", file)
	r.must(err)
}

func (r *rig) sysctl(name string) string {
	r.t.Helper()
	var value []byte
	r.must(r.site.Edge.Do(func() (err error) {
		value, err = os.ReadFile("/proc/sys/" + name)
		return err
	}))
	return strings.TrimSpace(string(value))
}
