package bgp

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

func TestB_SEC_01_B_SEC_02_TTLSecurity(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { p.TTLSecurity = true })
	s.apply()
	o := bgptest.Options{AS: 64501, ID: netip.MustParseAddr("10.9.9.9")}
	far, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	// What comes before the kernel is told of the limit is heard, but a session does not
	// come of it.
	if f, err := bgptest.Connect(far, bgptest.Socket{TTL: 254}.Dial(a, s.at), o); err == nil {
		<-far.Done()
		f.Close()
	}
	if p := peerOf(s.Status(), "as64501"); p.State == Established || p.Flaps > 0 {
		t.Errorf("a session with somebody who is further away: %+v", p)
	}
	f, err := bgptest.Connect(testContext(t), bgptest.Socket{TTL: 255, MinTTL: 255}.Dial(a, s.at), o)
	must(t, err)
	defer f.Close()
	s.established("as64501")
	must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	s.untilPeer("as64501", "is heard", func(p PeerStatus) bool { return familyOf(p, IPv4).Accepted == 1 })
}

// TestB_GR_12_ANewConnectionReplacesTheOld has a peer come back of which nobody has
// said that it was gone.
func TestB_GR_12_ANewConnectionReplacesTheOld(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, restartable)
	s.apply()
	o := restarter(time.Minute, true, wireFamilies...)
	f := s.far(a, o)
	must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	must(t, f.EndOfRIB(wireFamilies...))
	s.untilPeer("as64501", "is synced", func(p PeerStatus) bool { return familyOf(p, IPv4).Synced && familyOf(p, IPv4).Accepted == 1 })
	// The old connection stays open, and nobody reads it.
	f.Pause()
	began := time.Now()
	g := s.dial(a, o)
	p := s.untilPeer("as64501", "is back", func(p PeerStatus) bool { return p.Flaps == 1 && p.State == Established })
	t.Logf("back after %v", time.Since(began).Round(10*time.Millisecond))
	if x := familyOf(p, IPv4); !x.Retained || x.Received != 1 || p.LastError != "the peer opened a new connection, as one does that has restarted" {
		t.Errorf("%+v", p)
	}
	must(t, g.EndOfRIB(wireFamilies...))
	s.untilPeer("as64501", "has nothing any more", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == 0 })
}

// TestSpeaker_leavesNothing is not parallel: it counts goroutines.
func TestSpeaker_leavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		s := newSite(t)
		a := s.peer(64501, 0, restartable)
		b := s.peer(64502, 1, func(p *Peer) { p.Passive = false })
		s.config.RPKI = []string{"127.0.0.1:1"}
		s.apply()
		f, g := s.far(a, both()), s.far(b, bgptest.Options{})
		must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
		r := s.routes()
		r.until("it is told", func(r *routes) bool { return len(r.known) == 1 })
		must(t, s.stop())
		// The one with graceful restart hears nothing, and its connection ends.
		must(t, f.WaitClosed(testContext(t)))
		if n := f.Heard().Notification; n != nil {
			t.Errorf("%+v", n)
		}
		must(t, g.WaitClosed(testContext(t)))
		f.Close()
		g.Close()
		if _, err := s.Next(testContext(t), nil); !errors.Is(err, ErrStopped) {
			t.Errorf("%v", err)
		}
		if err := s.Set(s.config); !errors.Is(err, ErrStopped) {
			t.Errorf("%v", err)
		}
		if err := s.Run(testContext(t)); err == nil {
			t.Error("it runs again")
		}
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), b[:runtime.Stack(b, true)])
		}
		runtime.Gosched()
	}
}

// TestSpeaker_panicsEndRun has a handler fail: the process goes on, and Run says so.
func TestSpeaker_panicsEndRun(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	s.apply()
	f := s.far(a, bgptest.Options{})
	s.tables.mu.Lock()
	s.tables.peers[a].judge = nil
	s.tables.mu.Unlock()
	must(t, f.Announce(hop(a, 64501), prefix("198.41.0.0/24")))
	must(t, f.WaitClosed(testContext(t)))
	err := s.stop()
	if err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("%v", err)
	}
	s.stop = func() error { return nil }
}

func TestSpeaker_beforeRun(t *testing.T) {
	t.Parallel()
	s := NewSpeaker(Options{})
	if err := s.Set(Config{AS: 0, Peers: []Peer{{}}}); err == nil {
		t.Error("a configuration that cannot be had is accepted")
	}
	if err := s.Reset("a", "b"); !errors.Is(err, errNotRunning) {
		t.Errorf("%v", err)
	}
	if _, err := s.Paths(testContext(t), Query{Prefix: prefix("0.0.0.0/0")}); err != nil {
		t.Errorf("%v", err)
	}
	if st := s.Status(); len(st.Peers) != 0 {
		t.Errorf("%+v", st)
	}
}
