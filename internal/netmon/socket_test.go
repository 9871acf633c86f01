package netmon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A tiny receive buffer: the kernel drops events, and the snapshot is right all the
// same, without waiting for the next full reading.
func TestOverrun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := start(t, s.edge, Config{}, func(m *Monitor) { m.receiveBuffer = 1 })
	m.wait(t, "the first snapshot", func(*Snapshot) bool { return true })
	const addresses = 500
	var add, del strings.Builder
	for i := range addresses {
		fmt.Fprintf(&add, "addr add 10.0.%d.%d/32 dev eth1\n", i>>8, i&0xff)
		fmt.Fprintf(&del, "addr del 10.0.%d.%d/32 dev eth1\n", i>>8, i&0xff)
	}
	count := func(s *Snapshot) (n int) {
		for _, a := range s.Links["eth1"].Addresses {
			if a.Prefix.Addr().Is4() {
				n++
			}
		}
		return n
	}
	for round := 0; m.Counters().Overruns == 0; round++ {
		if round == 100 {
			t.Fatal("no event was ever lost: this test proves nothing")
		}
		batch(t, s.edge, add.String())
		m.wait(t, "all addresses are there", func(s *Snapshot) bool { return count(s) == addresses })
		batch(t, s.edge, del.String())
		m.wait(t, "all addresses are gone", func(s *Snapshot) bool { return count(s) == 0 })
	}
	t.Logf("%+v", m.Counters())
}

// The kernel drops events without a word after the first one that it reports, until
// the queue is empty: the reading after that must not be forgotten.
func TestOverrun_readsAgainWhenDrained(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := newMonitor(Config{}, Options{}, nil)
	m.receiveBuffer = 1
	must(t, s.edge.Do(func() (err error) {
		m.ns, err = currentNamespace()
		return err
	}))
	t.Cleanup(func() { _ = m.ns.Close() })
	c, err := m.dialEvents()
	must(t, err)
	// Nobody reads, so that the queue overruns for certain.
	var add strings.Builder
	for i := range 200 {
		fmt.Fprintf(&add, "addr add 10.0.0.%d/32 dev eth1\n", i)
	}
	batch(t, s.edge, add.String())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.readEvents(ctx, c) }()
	waitFor(t, "everything is read again at the overrun and after the queue", func() bool { return m.Counters().Resyncs == 2 })
	cancel()
	if err := <-done; err == nil {
		t.Error("the reader ended without a reason")
	}
	if got := m.Counters().Overruns; got != 1 {
		t.Errorf("%d overruns, want 1", got)
	}
	if got := m.Counters().Events; got == 0 || got >= 200 {
		t.Errorf("%d events came through, want some, and some lost", got)
	}
}

// A socket that is closed under the monitor is opened again, and what changed in
// between is read.
func TestReconnect(t *testing.T) {
	eachFamily(t, func(t *testing.T, f familyCase) {
		s := newSiteOf(t, f)
		gw := f.gateway.Addr()
		m := start(t, s.edge, watch(gw, 0))
		for i := range 3 {
			var c *conn
			waitFor(t, "the event socket is open", func() bool { c = m.events.Load(); return c != nil })
			c.close()
			mustIP(t, s.edge, "link", "set", "eth1", "mtu", fmt.Sprint(1400+i))
			m.wait(t, "the change is seen", func(s *Snapshot) bool { return s.Links["eth1"].MTU == 1400+i })
			waitFor(t, "another socket is open", func() bool { n := m.events.Load(); return n != nil && n != c })
			mustIP(t, s.edge, "neigh", "replace", gw.String(), "lladdr", fmt.Sprintf("02:00:00:00:00:%02x", i), "dev", "eth1", "nud", "stale")
			m.waitNeighbour(t, gw, "events are heard again", func(n Neighbour) bool { return n.MAC == fmt.Sprintf("02:00:00:00:00:%02x", i) })
		}
		if got := m.Counters().Reconnects; got != 3 {
			t.Errorf("%d reconnects counted, want 3", got)
		}
	})
}

// A request socket that fails is replaced, by the next reading at the latest.
func TestRequestSocketReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var k netlinkKernel
	must(t, s.edge.Do(func() (err error) {
		k.ns, err = currentNamespace()
		return err
	}))
	t.Cleanup(func() { k.close(); _ = k.ns.Close() })
	if _, err := k.links(); err != nil {
		t.Fatal(err)
	}
	k.c.close()
	if links, err := k.links(); err == nil || links != nil {
		t.Fatalf("a closed socket gave %v, %v", links, err)
	}
	links, err := k.links()
	if err != nil || len(links) != 2 {
		t.Fatalf("the next reading gave %v, %v", links, err)
	}
}

// homeNamespace is read before any thread visits another namespace. Later,
// /proc/self would show where the main thread is at the moment, which may be on a
// visit for another test.
var homeNamespace = func() string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		panic(err)
	}
	return ns
}()

// All sockets live where New was called, wherever Run runs.
func TestNamespace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := start(t, s.edge, Config{})
	index, err := s.edge.Index("eth1")
	must(t, err)
	m.wait(t, "the edge's link is seen", func(s *Snapshot) bool { return s.Links["eth1"].Index == index && len(s.Links) == 2 })
	// The thread that was used for it went home.
	must(t, inNamespace(m.ns, func() error { return nil }))
	for range 50 {
		done := make(chan string)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			here, err := os.Readlink("/proc/thread-self/ns/net")
			if err != nil {
				here = err.Error()
			}
			done <- here
		}()
		if here := <-done; here != homeNamespace {
			t.Fatalf("a thread stayed in %s, the process lives in %s", here, homeNamespace)
		}
	}
}

// An ordinary process in one namespace needs no right to change namespaces.
func TestNamespace_withoutSetns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var out bytes.Buffer
	// The lab's thread has an own namespace, a program that it starts is in
	// that one as a whole.
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command("setpriv", "--bounding-set=-sys_admin", self, "-test.run=^TestNamespaceHelper$", "-test.v")
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, s.edge.Start(cmd))
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "saw eth1") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestNamespaceHelper is the program of the test before; by itself it does nothing.
func TestNamespaceHelper(t *testing.T) {
	if os.Getenv(helperVariable) == "" {
		return
	}
	// The test proves nothing with the right to change namespaces.
	ns, err := currentNamespace()
	must(t, err)
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); !errors.Is(err, unix.EPERM) {
		t.Fatalf("setns: %v, want %v", err, unix.EPERM)
	}
	must(t, ns.Close())
	m := New(Config{}, Options{})
	poked := make(chan struct{}, 1)
	m.poke = func() {
		select {
		case poked <- struct{}{}:
		default:
		}
	}
	r := &running{Monitor: m, poked: poked}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go m.Run(ctx)
	r.wait(t, "eth1 is seen", func(s *Snapshot) bool { return s.Links["eth1"].Carrier })
	waitFor(t, "the event socket is open", func() bool { return m.events.Load() != nil })
	t.Log("saw eth1")
}
