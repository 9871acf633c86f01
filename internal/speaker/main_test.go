package speaker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// wait bounds every wait for a real process. It is generous because machines are
// shared.
const wait = 60 * time.Second

// childVariable says what a child of a test does; daemonVariable makes the test program
// a daemon.
const (
	childVariable  = "TEST_SPEAKER_CHILD"
	daemonVariable = "TEST_SPEAKER_DAEMON"
)

// What children do.
const (
	childServes = "serves"
	// childReal has the real speaker.
	childReal = "real"
	// childDeaf does not notice that its socket is closed.
	childDeaf = "deaf"
	// childStopped: see serveStopped.
	childStopped = "stopped"
	childPanics  = "panics"
	childFails   = "fails"
	childRoutes  = "routes"
	routesOfTest = 1_000_000
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == Command:
		if err := beChild(os.Getenv(childVariable)); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
	case os.Getenv(daemonVariable) != "":
		beDaemon()
	default:
		os.Exit(m.Run())
	}
}

// beChild is what the command bgp-speaker does, with a speaker of ours.
func beChild(what string) error {
	conn, err := Inherited()
	if err != nil {
		return err
	}
	log := NewLog(os.Stderr)
	Settle(log)
	v := newFakeVoice()
	v.setting = func(c bgp.Config) error {
		log.Info("a configuration", "peers", len(c.Peers), "config", c)
		return nil
	}
	switch what {
	case childFails:
		return fmt.Errorf("port 179 is taken")
	case childPanics:
		v.setting = func(bgp.Config) error { panic("a decoder went wrong") }
	case childDeaf:
		// A test that fails does not leave it behind for ever.
		time.AfterFunc(2*wait, func() { panic("nobody ended this") })
		if _, err := conn.Write(frameOf(kindHello, hello{pid: os.Getpid()}.append(nil))); err != nil {
			return err
		}
		if _, err := conn.Write(frameOf(kindStatus, []byte("{}"))); err != nil {
			return err
		}
		select {}
	case childStopped:
		return serveStopped(v, conn, log)
	case childReal:
		return Serve(context.Background(), conn, log)
	case childRoutes:
		many := &manyRoutes{fakeVoice: v}
		for n := range routesOfTest {
			many.routes = append(many.routes, route(n))
		}
		return newServer(conn, log, func(o bgp.Options) voice {
			v.opts = o
			return many
		}).serve(context.Background())
	}
	return v.server(conn, log).serve(context.Background())
}

// manyRoutes is a speaker that has routes at once and does nothing for them.
type manyRoutes struct {
	*fakeVoice
	routes []bgp.Route
}

func (m *manyRoutes) Next(ctx context.Context, buf []bgp.Route) (bgp.Batch, error) {
	if m.routes == nil {
		<-ctx.Done()
		return bgp.Batch{}, ctx.Err()
	}
	n := min(cap(buf), len(m.routes))
	buf = append(buf, m.routes[:n]...)
	if m.routes = m.routes[n:]; len(m.routes) > 0 {
		return bgp.Batch{Routes: buf}, nil
	}
	m.routes = nil
	return bgp.Batch{Routes: buf, Synced: true}, nil
}

// beDaemon runs a Supervisor until it is killed, and prints the process of its child.
func beDaemon() {
	s := NewSupervisor(Options{Start: Process, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	told := make(chan struct{}, 1)
	s.opts.Changed = func() { poke(told) }
	s.Set(config("a"))
	go s.Run(context.Background())
	// A test that is gone leaves nothing behind.
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(orphaned)
	}()
	for {
		select {
		case <-orphaned:
			return
		case <-told:
		}
		if st := s.Status(); st.Speaking {
			fmt.Println(st.PID)
		}
	}
}

// until waits for a condition of real processes.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, wait)
		case <-tick.C:
		}
	}
}

// gone tells whether a process has ended, reaped or not.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// real is a Supervisor of real processes.
type real struct {
	*Supervisor
	t    testing.TB
	logs *logs
	end  func()
}

func newReal(t testing.TB, what string, o Options) *real {
	t.Helper()
	t.Setenv(childVariable, what)
	r := &real{t: t, logs: &logs{}}
	o.Start = Process
	o.Log = slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Supervisor = NewSupervisor(o)
	return r
}

func (r *real) run() {
	r.t.Helper()
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.Run(ctx)
	}()
	r.end = func() {
		stop()
		<-over
	}
	r.t.Cleanup(func() {
		r.end()
		until(r.t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
		if r.t.Failed() {
			r.t.Logf("log:\n%s", r.logs)
		}
	})
}

// speaks waits until the nth child speaks, or on a busy machine one after it, and
// returns its process.
func (r *real) speaks(n uint64) int {
	r.t.Helper()
	until(r.t, fmt.Sprintf("child %d speaks", n), func() bool { st := r.Status(); return st.Speaking && st.Starts >= n })
	return r.Status().PID
}

// startDaemon runs a daemon of its own, as change says, and returns it, its child, and
// what it logs.
func startDaemon(t *testing.T, what string, change func(cmd *exec.Cmd)) (daemon *exec.Cmd, child int, log *logs) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), daemonVariable+"=1", childVariable+"="+what)
	log = &logs{}
	cmd.Stderr = log
	if change != nil {
		change(cmd)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	late := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	if err != nil {
		t.Fatalf("%v:\n%s", err, log)
	}
	child, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil || gone(child) {
		t.Fatalf("child %q: %v; want one that lives", line, err)
	}
	return cmd, child, log
}
