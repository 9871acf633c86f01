package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/status"
)

// TestStatus_bfd: everything that a session says of itself is in the document, in both
// modes.
func TestStatus_bfd(t *testing.T) {
	for _, mode := range []string{"async", "echo"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, replaced(withBFD, "{interval", "{mode: "+mode+", interval"), hostOf(t, hostA, hostB))
			b.turn()
			f := b.session()
			f.notices("up", epoch)
			f.say(func(s *bfd.Status) {
				s.LocalDiscriminator, s.RemoteDiscriminator = 7, 8
				s.TxInterval, s.RxInterval, s.RemoteMultiplier = 50*time.Millisecond, 60*time.Millisecond, 5
				s.Polling, s.RemoteDemand, s.Backoff = true, true, 2
				s.Sent, s.Received, s.Dropped = 100, 90, map[bfd.Drop]uint64{bfd.DropTTL: 3, bfd.DropShort: 0}
				s.LastReceived, s.Ups, s.Failures = epoch, 4, 3
				s.Diag, s.RemoteDiag = bfd.DiagTimeExpired, bfd.DiagNeighborSignaledDown
				s.WorstLateness, s.RTT, s.Problem = time.Millisecond, 2*time.Millisecond, "trouble"
			})
			want := &status.BFD{
				Mode: mode, Peer: "203.0.113.1", Local: "203.0.113.2", State: "up", Since: epoch, Problem: "trouble",
				Diagnostic: "detection time expired", RemoteState: "up", RemoteDiagnostic: "neighbour signaled down",
				LocalDiscriminator: 7, RemoteDiscriminator: 8,
				TxInterval: 0.05, RxInterval: 0.06, DetectionTime: 0.15, Multiplier: 3, RemoteMultiplier: 5,
				Polling: true, RemoteDemand: true, Backoff: 2, Sent: 100, Received: 90, Dropped: map[string]uint64{"ttl": 3},
				LastReceived: epoch, Ups: 4, Failures: 3, RTT: 0.002, WorstLateness: 0.001, Auth: "none",
			}
			if mode == "echo" { // The other end says nothing.
				want.EchoSource, want.RemoteState, want.RemoteDiagnostic, want.RemoteMultiplier = "198.51.100.2", "", "", 0
			}
			if diff := cmp.Diff(want, wayOf(t, b.Status(), "a", "ipv4").BFD); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if w := wayOf(t, b.Status(), "b", "ipv4"); w.BFD != nil {
				t.Errorf("b has %+v", w.BFD)
			}
		})
	}
}

// TestStatus_bfdWarnings: lateness beyond half of an interval is told as long as it is
// news, and so is a peer that is administratively down.
func TestStatus_bfdWarnings(t *testing.T) {
	b := newBench(t, withBFD, hostOf(t, hostA, hostB))
	b.now = time.Now()
	b.turn()
	warned := func(words string) bool { return strings.Contains(strings.Join(b.Status().Warnings, "\n"), words) }
	late := func(d time.Duration) {
		b.speakers[0].mu.Lock()
		defer b.speakers[0].mu.Unlock()
		b.speakers[0].lateness = d
	}
	f := b.session()
	f.notices("up", b.now)
	f.say(func(s *bfd.Status) { s.TxInterval = 50 * time.Millisecond })
	if late(25 * time.Millisecond); warned("late") {
		t.Error("half of the interval is warned of")
	}
	if late(25*time.Millisecond + 100*time.Microsecond); !warned("bfd of a/ipv4: packets were sent up to 25.1ms late in the last minutes, more than half of the interval of 50ms") {
		t.Errorf("not told: %q", b.Status().Warnings)
	}
	b.pass(latenessWindow + settledPace)
	if !warned("late") {
		t.Error("what happened in the last window is forgotten")
	}
	b.pass(2*latenessWindow + 2*settledPace)
	if warned("late") || b.speakers[0].resets < 3 {
		t.Errorf("still warned after %d resets: %q", b.speakers[0].resets, b.Status().Warnings)
	}
	if f.notices("admin-down", b.now); !warned("bfd of a/ipv4: 203.0.113.1 says that it is administratively down") {
		t.Errorf("not told: %q", b.Status().Warnings)
	}
	if f.notices("up", b.now); warned("administratively") {
		t.Error("still warned after it is up again")
	}
}

// TestStatus_bfdPanics: a session that cannot be asked takes nothing down.
func TestStatus_bfdPanics(t *testing.T) {
	b := newBench(t, withBFD, hostOf(t, hostA, hostB))
	b.turn()
	b.sessions.all[wayA].handle = broken{}
	b.pass(time.Minute)
	if w := wayOf(t, b.Status(), "a", "ipv4"); w.Verdict != "live" || w.BFD.Problem != "panic: broken" {
		t.Errorf("a is %s, %+v", w.Verdict, w.BFD)
	}
	b.reload(replaced(withBFD, "50ms", "60ms"))
	b.reload(replaced(withBFD, "{interval: 50ms}", "false"))
	if n := b.log.count("level=ERROR"); n < 3 {
		t.Errorf("%d errors logged", n)
	}
}

// broken is a session whose code is.
type broken struct{}

func (broken) Status() bfd.Status      { panic("broken") }
func (broken) Update(bfd.Config) error { panic("broken") }
func (broken) Close()                  { panic("broken") }
