package interop

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/multihomed/multihomed/bfd"
)

// TestDaemons: what these tests do to the peers works without our help: start,
// configure, disable, kill and start again.
func TestDaemons(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		s.peerSays(t, bfd.Down)
		s.daemon.apply(t, terms{tx: 10 * time.Millisecond, rx: 20 * time.Millisecond, multiplier: 5, passive: true})
		s.daemon.disable(t, true)
		eventually(t, "the peer has no session that is not disabled", func() error {
			views, err := s.daemon.views()
			for _, v := range views {
				if v.state != bfd.AdminDown {
					return fmt.Errorf("it says %v", views)
				}
			}
			return err
		})
		s.daemon.disable(t, false)
		s.peerSays(t, bfd.Down)
		s.process.kill(t)
		if _, err := s.daemon.views(); err == nil {
			t.Error("a dead daemon answers")
		}
		s.launch(t, theirs)
		s.peerSays(t, bfd.Down)
	})
}

func TestNeedsTellsHowToGetThem(t *testing.T) {
	t.Parallel()
	err := needs(birdPath, "/nowhere/bfdd")
	if err == nil || !strings.Contains(err.Error(), "apt-get install -y bird2 frr") || !strings.Contains(err.Error(), "/nowhere/bfdd") {
		t.Errorf("%v", err)
	}
}

func TestParseBird(t *testing.T) {
	t.Parallel()
	got, err := parseBird(`BIRD 2.0.12 ready.
bfd1:
IP address                Interface  State      Since         Interval  Timeout
198.51.100.1              ---        Down       23:33:43.166    1.000    0.000
2001:db8::1               eth0       Up         23:33:44.019    0.100    0.210
`)
	want := map[netip.Addr]view{
		ip("198.51.100.1"): {bfd.Down, time.Second, 0},
		ip("2001:db8::1"):  {bfd.Up, 100 * time.Millisecond, 210 * time.Millisecond},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(view{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if v, err := parseBird("192.0.2.1 eth0 Sideways 23:33:43.166 1.000 0.000"); err == nil {
		t.Errorf("a state that does not exist is %v", v)
	}
}

func TestParseFRR(t *testing.T) {
	t.Parallel()
	got, err := parseFRR(`[{"multihop":false, "peer":"fe80::1", "status":"up", "diagnostic":"ok", "receive-interval":300, "remote-detect-multiplier":5}]`)
	want := map[netip.Addr]frrSession{
		ip("fe80::1"): {Peer: ip("fe80::1"), Status: "up", Diagnostic: "ok", Receive: 300, RemoteMultiplier: 5},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if _, err := parseFRR("bfdd is not running"); err == nil {
		t.Error("words are read as sessions")
	}
	if state, err := frrState("sideways"); err == nil {
		t.Errorf("a state that does not exist is %s", state)
	}
}
