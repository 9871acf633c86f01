package engine

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// refuser is a kernel that refuses next hops over one device.
type refuser struct {
	fib.WatchedKernel
	device  int
	refuses bool
}

func (r *refuser) Apply(ctx context.Context, ops []fib.Op) []error {
	errs := make([]error, len(ops))
	for i, op := range ops {
		if hop, ok := op.Object.(fib.NextHop); ok && r.refuses && op.Verb != fib.Delete && hop.Device.Index == r.device {
			errs[i] = fmt.Errorf("nexthop has invalid gateway: %w", unix.ENETUNREACH)
			continue
		}
		errs[i] = r.WatchedKernel.Apply(ctx, []fib.Op{op})[0]
	}
	return errs
}

// TestJudgeRefusals: a way whose next hop the kernel goes on to refuse is dead and
// says so with the kernel's words; the others are written all the same, and it
// returns when the kernel takes it.
func TestJudgeRefusals(t *testing.T) {
	s := play(t, "testdata/scenarios/two-isps-script.txt", 0)
	r := &refuser{WatchedKernel: s.kernel, device: 2, refuses: true}
	s.engine.opts.Kernel = r
	s.engine.writer = fib.NewWriter(r, s.engine.site.owner)
	if err := s.kernel.Stranger(fib.Plan(fib.NewState(), kernelState(t, s), s.config.Protocol)...); err != nil {
		t.Fatal(err) // The kernel is empty now.
	}
	ctx, stop := context.WithCancel(context.Background())
	defer func() {
		stop()
		s.engine.tasks.Wait()
	}()
	s.ctx = ctx
	ether := uplink.Way{Uplink: "ether", Family: fib.IPv4}
	s.advance(500 * time.Millisecond)
	if v := s.engine.verdicts[ether]; v.State != uplink.Live {
		t.Errorf("within the grace ether is %s: %s, want live", v.State, v.Why())
	}
	s.advance(10 * time.Second)
	v := s.engine.verdicts[ether]
	if v.State != uplink.Dead || v.Role == uplink.Active || !strings.Contains(v.Why(), "invalid gateway") {
		t.Errorf("ether is %s/%s: %s, want dead with the kernel's words", v.State, v.Role, v.Why())
	}
	if !s.kernel.HasDefault(s.config.Tables.Balance, fib.IPv4) {
		t.Error("the other uplink is not in the kernel")
	}
	r.refuses = false
	s.advance(2 * time.Minute)
	if v := s.engine.verdicts[ether]; v.State != uplink.Live || v.Role != uplink.Active {
		t.Errorf("after the kernel took it ether is %s/%s: %s, want live", v.State, v.Role, v.Why())
	}
}

func kernelState(t *testing.T, s *scenario) fib.State {
	t.Helper()
	state, err := s.kernel.List(context.Background(), s.engine.site.owner)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestNUD_07_configured: a configured gateway that says it is no router is used as
// the operator wants it, with a warning.
func TestNUD_07_configured(t *testing.T) {
	gateway := netip.MustParseAddr("2001:db8:1::1")
	for _, router := range []bool{true, false} {
		s, m := memberOf(t, `[{name: a, interface: eth1, gateway: "2001:db8:1::1"}]`, uplink.Way{Uplink: "a", Family: fib.IPv6})
		host := hostOf(t, "eth1 2 2001:db8:1::2/64")
		host.Neighbours = map[netmon.NeighbourKey]netmon.Neighbour{
			{LinkIndex: 2, Address: gateway}: {State: netmon.NUDReachable, Router: router, Address: gateway, MAC: "02:00:00:00:00:01"},
		}
		for _, e := range s.look(m, host).evidence {
			if e.Kind == uplink.KindNeighbour && (e.Opinion != uplink.Up || strings.Contains(e.Reason, "router") == router) {
				t.Errorf("router %v: the neighbour says %s: %s", router, e.Opinion, e.Reason)
			}
		}
	}
}
