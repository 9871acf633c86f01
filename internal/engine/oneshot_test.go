package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/uplink"
)

func planned(t *testing.T, b *bench, text string) []string {
	t.Helper()
	before := b.fake.Text()
	ops, problems, err := Plan(t.Context(), parseConfig(t, text), b.fake, b.host.s)
	if err != nil || len(problems) > 0 {
		t.Fatalf("problems %q, error %v", problems, err)
	}
	if b.fake.Text() != before {
		t.Error("a plan wrote")
	}
	out := []string{}
	for _, op := range ops {
		out = append(out, op.String())
	}
	return out
}

// TestPlan: what it shows is what a daemon then does.
func TestPlan(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	want := planned(t, b, twoUplinks)
	b.turn()
	if diff := cmp.Diff(want, b.written()); diff != "" || len(want) < 30 {
		t.Errorf("on an empty kernel, %d ops, -plan +daemon:\n%s", len(want), diff)
	}
	b.pass(time.Second)
	if got := planned(t, b, twoUplinks); len(got) != 0 {
		t.Errorf("on an equal kernel: %q", got)
	}
	// What only a running daemon knows is as it was.
	b.tell("a", fib.IPv4, uplink.Down)
	b.written()
	if got := planned(t, b, twoUplinks); len(got) != 0 {
		t.Errorf("beside a daemon that has a dead uplink: %q", got)
	}
	const weight = "hold: {up: 10s}\nuplinks:\n  - {name: a, interface: eth1, gateway: [203.0.113.1, \"2001:db8:1::1\"], weight: 2}\n  - {name: b, interface: eth2, gateway: [198.51.100.1, \"2001:db8:2::1\"]}\n"
	want = planned(t, b, weight)
	b.use(reload{config: parseConfig(t, weight)})
	b.turn()
	if diff := cmp.Diff(want, b.written()); diff != "" || len(want) != 1 {
		t.Errorf("another weight -plan +daemon:\n%s", diff)
	}
}

// TestPlan_carrier: what the host says counts.
func TestPlan_carrier(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	b.host.see(hostOf(t, "eth1 2 203.0.113.2/24 2001:db8:1::2/64 nocarrier", "eth2 3 198.51.100.2/24 2001:db8:2::2/64"))
	if got := planned(t, b, twoUplinks); len(got) == 0 || !strings.Contains(got[0], "group 22100004,255 ") {
		t.Errorf("got %q", got)
	}
}

func TestPlan_errors(t *testing.T) {
	k := fibtest.New()
	k.FailCall(1, errTest)
	if _, _, err := Plan(t.Context(), parseConfig(t, twoUplinks), k, twoLinks(t)); !errors.Is(err, errTest) {
		t.Errorf("error is %v", err)
	}
	k.SetCapabilities(fib.Capabilities{NextHops: true, Resilient: true})
	for id := range uint32(4) {
		hop := fib.NextHop{ID: 22100000 + id<<18, Family: fib.IPv4, Device: fib.Device{Index: 9}}
		if err := k.Stranger(fib.Op{Verb: fib.Add, Object: hop, Protocol: 4}); err != nil {
			t.Fatal(err)
		}
	}
	_, problems, err := Plan(t.Context(), parseConfig(t, twoUplinks), k, twoLinks(t))
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], "strangers hold every candidate") {
		t.Errorf("problems %q, error %v", problems, err)
	}
}

// foreign is a route that is not ours.
var foreign = fib.Op{Verb: fib.Add, Protocol: 4, Object: fib.Route{Table: 221, Dst: fib.IPv4.Any(), Metric: 7, Type: fib.RouteBlackhole}}

// TestWithdraw removes everything of ours and nothing else, whichever call fails once.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range 60 {
			b := newBench(t, twoUplinks, twoLinks(t))
			b.pass(time.Second)
			if err := b.fake.Stranger(foreign); err != nil {
				t.Fatal(err)
			}
			b.fake.FailCall(n, errTest)
			ops, err := Withdraw(t.Context(), b.site.config, b.fake)
			if err != nil || len(ops) < 30 {
				t.Errorf("with call %d failing: %d ops, error %v", n, len(ops), err)
			}
			if got := b.fake.Text(); got != foreign.String()+"\n" {
				t.Errorf("with call %d failing the kernel holds:\n%s", n, got)
			}
		}
	})
}

// TestWithdraw_gaveUp: a kernel that goes on refusing is an error that says so, soon.
func TestWithdraw_gaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, twoUplinks, twoLinks(t))
		b.pass(time.Second)
		start := time.Now()
		_, err := Withdraw(t.Context(), b.site.config, refusing{b.fake})
		if !errors.Is(err, errLeft) || !errors.Is(err, errTest) || time.Since(start) > 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if _, err := Withdraw(ctx, b.site.config, refusing{b.fake}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// refusing takes no deletion.
type refusing struct{ fib.Kernel }

func (k refusing) Apply(_ context.Context, ops []fib.Op) []error {
	errs := make([]error, len(ops))
	for i := range errs {
		errs[i] = errTest
	}
	return errs
}

func TestWatch(t *testing.T) {
	if got := Watch(parseConfig(t, learning)); len(got.LearnFrom) != 1 || len(got.Neighbours) != 0 {
		t.Errorf("got %+v", got)
	}
}
