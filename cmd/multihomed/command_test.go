package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// runHere runs a command line in this process.
func runHere(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestCommands: what is wrong with a command line is said, with the exit code
// that the documentation promises.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	bad, good := filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "good.yaml")
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(bad, "uplinks:\n  - {name: a, interface: eth1, wieght: 3}\n")
	write(good, "uplinks:\n  - {name: a, interface: eth1, gateway: 203.0.113.1}\n  - {name: b, interface: eth2, gateway: 198.51.100.1}\n")
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"version", exitOK, "multihomed ", ""},
		{"--help", exitOK, "Exit codes", ""},
		{"run --help", exitOK, "--log-format", ""},
		{"completion bash", exitOK, "__start_multihomed", ""},
		{"frobnicate", exitUsage, "", `unknown command "frobnicate"`},
		{"check", exitUsage, "", "config"},
		{"check extra --config " + good, exitUsage, "", "extra"},
		{"check --config " + good, exitOK, "2 uplinks", ""},
		{"check --config " + bad, exitUsage, "", `did you mean "weight"`},
		{"check --config " + dir + "/none.yaml", exitUsage, "", "no such file"},
		{"plan --config " + bad, exitUsage, "", `did you mean "weight"`},
		{"run --config " + good + " --log-level loud", exitUsage, "", "debug, info, warn or error"},
		{"run --config " + good + " --log-format xml", exitUsage, "", "text or json"},
		{"status --socket " + dir + "/none.sock", exitNoDaemon, "", "is it running?"},
		{"status -o xml", exitUsage, "", "table or json"},
	} {
		code, stdout, stderr := runHere(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("multihomed %s: exit code %d, stdout %q, stderr %q; want %d with %q and %q",
				c.args, code, tail(stdout, 200), tail(stderr, 300), c.code, c.stdout, c.stderr)
		}
		if code == exitOK && c.stderr == "" && strings.Contains(stderr, "multihomed:") {
			t.Errorf("multihomed %s succeeds and complains: %s", c.args, stderr)
		}
	}
}

// TestRights: without the capabilities run says what it needs instead of failing
// at every write.
func TestRights(t *testing.T) {
	if err := missingRights(); err != nil {
		t.Fatalf("this test has the rights it needs to make namespaces: %v", err)
	}
	file := filepath.Join(t.TempDir(), "good.yaml")
	if err := os.WriteFile(file, []byte("uplinks:\n  - {name: a, interface: eth1, gateway: 203.0.113.1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "run", "--config", file, "--socket", file+".sock")
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	// Inside a user namespace of its own and outside of the network's, nothing
	// is left of the rights.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "CAP_NET_ADMIN") {
		t.Errorf("run without rights: %v: %s; want exit code %d and the capabilities named", err, out, exitFailure)
	}
}

// TestPlan_WritesNothing: plan prints the ops and leaves the kernel alone, and
// what it prints, fed to iproute2, is what run would have made.
func TestPlan_WritesNothing(t *testing.T) {
	r := twoISPs(t)
	before := r.ours()
	ops := r.plan()
	if after := r.ours(); after != before {
		t.Errorf("plan changed the kernel:\n%s", after)
	}
	for _, line := range strings.Split(strings.TrimSpace(ops), "\n") {
		line = strings.NewReplacer("idle_timer 0.1 ", "idle_timer 1 ", "unbalanced_timer 0.5 ", "unbalanced_timer 1 ").Replace(line)
		args := strings.Fields(line)[1:] // iproute2 6.1 takes whole seconds only.
		if _, err := r.site.Edge.IP(args...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if left := r.plan(); strings.Count(left, "\n") != 2 || strings.Count(left, "nexthop replace") != 2 {
		t.Errorf("after its commands plan prints more than the two timers:\n%s", left)
	}
	if out, err := r.run("plan", "--config", r.config, "--exit-code"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("plan --exit-code: %v: %s, want exit status 3", err, out)
	}
}

// TestStatus: both formats of a running daemon, and a daemon that goes away.
func TestStatus(t *testing.T) {
	r := twoISPs(t)
	r.start()
	r.settled()
	for _, c := range []struct{ args, want string }{
		{"status --socket " + r.socket(), "0x200"},
		{"status -o json --socket " + r.socket(), `"role": "active"`},
	} {
		if code, out, errs := runHere(t, strings.Fields(c.args)...); code != exitOK || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d, %s%s; want %q", c.args, code, tail(out, 400), errs, c.want)
		}
	}
	for _, args := range [][]string{{"withdraw"}, {"run", "--socket", r.socket() + ".other"}} {
		r.must(r.daemon.Process.Signal(syscall.SIGSTOP)) // A daemon that does not answer is a daemon.
		out, err := r.run(append(args, "--config", r.config)...)
		r.must(r.daemon.Process.Signal(syscall.SIGCONT))
		if err == nil || !strings.Contains(out, "stop it first") {
			t.Errorf("%s beside a daemon: %v, %s", args, err, out)
		}
	}
	r.kill(syscall.SIGTERM)
	if code, _, errs := runHere(t, "status", "--socket", r.socket()); code != exitNoDaemon {
		t.Errorf("status without a daemon: exit code %d, %s", code, errs)
	}
}

// TestOnExitWithdraw: a clean stop with on-exit: withdraw leaves nothing.
func TestOnExitWithdraw(t *testing.T) {
	r := twoISPs(t)
	r.configure("hold: {up: 1s}\non-exit: withdraw", nil)
	r.must(r.site.Edge.Sysctl("net/ipv4/nexthop_compat_mode", "1"))
	r.start()
	if r.ours() == "" {
		t.Fatal("the daemon wrote nothing")
	}
	r.kill(syscall.SIGTERM)
	if left := r.ours(); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if v := r.sysctl("net/ipv4/nexthop_compat_mode"); v != "1" {
		t.Errorf("nexthop_compat_mode is %s after the withdrawal, want 1", v)
	}
}

// TestPlan_Leftovers: what the script that we replace has left in its tables is
// named before the first run, with the commands that remove it.
func TestPlan_Leftovers(t *testing.T) {
	r := twoISPs(t)
	r.ip("route add default via 203.0.113.1 dev eth1 table 221 proto static")
	r.ip("route add prohibit default metric 1 table 201 proto static")
	out, err := r.run("plan", "--config", r.config)
	if err != nil {
		t.Fatalf("plan: %v: %s", err, out)
	}
	for _, command := range []string{"ip route del default table 221", "ip route del prohibit default table 201 metric 1"} {
		if !strings.Contains(out, command) {
			t.Errorf("plan does not name %q:\n%s", command, out)
		}
	}
}
