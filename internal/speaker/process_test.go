package speaker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/bgp"
)

// TestProcess: what a child is: its name, place, rights and manners, and that no secret
// shows anywhere.
func TestProcess(t *testing.T) {
	r := newReal(t, childServes, Options{})
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	c := config("a")
	c.Peers[0].Password = "hunter2secret"
	r.run()
	r.Set(c)
	pid := r.speaks(1)
	read := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := strings.TrimSpace(read("comm")); got != name {
		t.Errorf("the process is called %q, want %q", got, name)
	}
	if got := strings.Split(read("cmdline"), "\x00"); len(got) != 3 || got[0] != os.Args[0] || got[1] != Command {
		t.Errorf("command line %q, want %q %q", got, os.Args[0], Command)
	}
	if got := strings.TrimSpace(read("oom_score_adj")); got != strconv.Itoa(oomScore) {
		t.Errorf("oom_score_adj %s, want %d", got, oomScore)
	}
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d, %v; want %d", group, err, pid)
	}
	// getpriority(2) as a system call returns 20-nice.
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err != nil || 20-raw != nice {
		t.Errorf("niceness %d, %v; want %d", 20-raw, err, nice)
	}
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil || raw != 20 {
		t.Errorf("niceness of the daemon %d, %v; want 0", 20-raw, err)
	}
	rights := uint64(0)
	for _, c := range childRights {
		rights |= 1 << c
	}
	for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapAmb"} {
		if got := field(t, read("status"), set); got != fmt.Sprintf("%016x", rights) {
			t.Errorf("%s %s, want %016x (this test needs root)", set, got, rights)
		}
	}
	if got := field(t, read("status"), "NoNewPrivs"); got != "1" {
		t.Errorf("NoNewPrivs %s, want 1", got)
	}
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if field(t, string(own), "NoNewPrivs") != "0" || field(t, string(own), "CapEff") == fmt.Sprintf("%016x", rights) {
		t.Error("the daemon lost rights with its child")
	}
	// The signals of a terminal and of a service manager say nothing to it.
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Paths(t.Context(), bgp.Query{Prefix: prefix(0)}); err != nil {
		t.Errorf("after the signals: %v", err)
	}
	until(t, "the child's log is here", func() bool { return strings.Contains(r.logs.String(), "a configuration") })
	for where, text := range map[string]string{"log": r.logs.String(), "cmdline": read("cmdline"), "environ": read("environ")} {
		if strings.Contains(text, "hunter2secret") {
			t.Errorf("the secret is in %s", where)
		}
		if where == "environ" && strings.Contains(text, "NOTIFY_SOCKET") {
			t.Error("the child could tell systemd things")
		}
	}
	if !strings.Contains(r.logs.String(), `"component":"bgp"`) {
		t.Errorf("the log does not say that it is the speaker's:\n%s", r.logs)
	}
	r.end()
	if !gone(pid) {
		t.Error("the child outlives the supervisor")
	}
}

// field returns a value of /proc/*/status.
func field(t *testing.T, status, key string) string {
	t.Helper()
	for line := range strings.Lines(status) {
		if value, is := strings.CutPrefix(line, key+":"); is {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in %s", key, status)
	return ""
}

// TestProcess_Killed: a child that is killed is followed by another one at once.
func TestProcess_Killed(t *testing.T) {
	r := newReal(t, childServes, Options{})
	r.run()
	r.Set(config("a"))
	pid := r.speaks(1)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the end is noticed", func() bool { st := r.Status(); return !st.Speaking || st.Starts > 1 })
	if next := r.speaks(2); next == pid {
		t.Error("it is the same process")
	}
	if !strings.Contains(r.logs.String(), "it was killed (SIGKILL)") {
		t.Errorf("the log does not say how it ended:\n%s", r.logs)
	}
}

// TestProcess_Wedged: a child that hangs is killed and followed by another one, and says
// so.
func TestProcess_Wedged(t *testing.T) {
	r := newReal(t, childServes, Options{})
	l := usualLimits()
	l.silence = 3 * time.Second
	r.limit(l)
	r.run()
	r.Set(config("a"))
	pid := r.speaks(1)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.speaks(2)
	if !gone(pid) {
		t.Error("the one that hangs is still there")
	}
	if !strings.Contains(r.logs.String(), "did not answer for 3s, and was killed") {
		t.Errorf("the log does not say why:\n%s", r.logs)
	}
}

// TestProcess_Crash: the trace of a panic is in the log, whole and in one record, and
// its first lines in the status.
func TestProcess_Crash(t *testing.T) {
	r := newReal(t, childPanics, Options{})
	r.run()
	r.Set(config("a"))
	until(t, "the trouble is known", func() bool { return strings.Contains(r.Status().Trouble, "panic: a decoder went wrong / goroutine ") })
	until(t, "the trace is logged", func() bool { return strings.Contains(r.logs.String(), `"trace"`) })
	for line := range strings.Lines(r.logs.String()) {
		var record struct{ Level, Component, Trace string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if record.Trace == "" {
			continue
		}
		for _, want := range []string{"panic: a decoder went wrong", "speaker.(*server).obey", "created by"} {
			if !strings.Contains(record.Trace, want) {
				t.Errorf("no %q in the trace:\n%s", want, record.Trace)
			}
		}
		if record.Component != "bgp" || record.Level != "ERROR" {
			t.Errorf("the trace is logged as %+v", record)
		}
		break
	}
}

// TestProcess_Fails: the last words of a child that ends by itself are in the status.
func TestProcess_Fails(t *testing.T) {
	r := newReal(t, childFails, Options{})
	r.run()
	r.Set(config("a"))
	const want = "the BGP speaker ended: exit status 1; its last words: child: port 179 is taken; it is started again within 30s"
	until(t, "the trouble is known", func() bool { return r.Status().Trouble == want })
}

// TestProcess_DaemonKilled: a child is gone within a second when its daemon is killed,
// by either of two ways: it hears that the socket is closed, or the kernel kills it.
func TestProcess_DaemonKilled(t *testing.T) {
	for _, what := range []string{childServes, childDeaf} {
		t.Run(what, func(t *testing.T) {
			daemon, child, _ := startDaemon(t, what, nil)
			if err := daemon.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			until(t, "the child is gone", func() bool { return gone(child) })
			if took := time.Since(begin); took > time.Second {
				t.Errorf("it took %v, want 1s", took)
			}
		})
	}
}

// TestProcess_Rights: a daemon that is not root hands on what it has and the child
// needs; a program that only its owner may run, who is not root, runs all the same, and
// says what it could not do without.
func TestProcess_Rights(t *testing.T) {
	const nobody = 65534
	rights := func(pid int) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		return field(t, string(text), "CapEff")
	}
	_, child, _ := startDaemon(t, childServes, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
			AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_NICE},
		}
	})
	if got, want := rights(child), fmt.Sprintf("%016x", 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW); got != want {
		t.Errorf("the child of a daemon with ambient capabilities has %s, want %s", got, want)
	}

	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/multihomed"
	if err := os.WriteFile(file, program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, nobody, nobody); err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	_, child, log := startDaemon(t, childServes, func(cmd *exec.Cmd) { cmd.Path = file })
	until(t, "the child says that it has more than it needs", func() bool { return strings.Contains(log.String(), "more rights than it needs") })
	if own := rights(os.Getpid()); rights(child) != own {
		t.Errorf("the child has %s, want %s: it cannot have less", rights(child), own)
	}
}

// TestInherited: without a daemon a child says so.
func TestInherited(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", Command)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err == nil || !strings.Contains(errs.String(), "cannot be started by hand") {
		t.Errorf("%v: %s", err, &errs)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = read.Close(), write.Close() }()
	cmd = exec.Command("/proc/self/exe", Command)
	cmd.ExtraFiles = []*os.File{read}
	errs.Reset()
	cmd.Stderr = &errs
	if err := cmd.Run(); err == nil || !strings.Contains(errs.String(), "cannot be started by hand") {
		t.Errorf("with a pipe in place of the socket: %v: %s", err, &errs)
	}
}

// TestSettle_OOM: a score that is higher stays.
func TestSettle_OOM(t *testing.T) {
	for before, want := range map[string]string{"-900\n": "500", "0\n": "500", "800\n": "800\n"} {
		file := t.TempDir() + "/score"
		if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := offerToOOM(file); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q becomes %q, %v; want %q", before, got, err, want)
		}
	}
}
