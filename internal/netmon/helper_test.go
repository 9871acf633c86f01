package netmon

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// patience is how long a test waits for what has to come, on a machine that others
// keep busy.
const patience = 60 * time.Second

// helperVariable is set in the environment of a test that is a program.
const helperVariable = "NETMON_TEST_HELPER"

// TestMain lets more tests run side by side than there are processors: they wait for
// timers of the kernel most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	if os.Getenv(helperVariable) != "" {
		// The helper does without the rights that lab.Main would get for it.
		os.Exit(m.Run())
	}
	os.Exit(lab.Main(m))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustIP(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.IP(args...)
	must(t, err)
	return out
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// families is what each family is tested with: the edge's address, that of its
// gateway, and the default route.
var families = []familyCase{
	{name: "IPv4", edge: prefix("192.0.2.1/24"), gateway: prefix("192.0.2.254/24"), ip: "-4", dir: "ipv4"},
	{name: "IPv6", edge: prefix("2001:db8::1/64"), gateway: prefix("2001:db8::fe/64"), ipv6: true, ip: "-6", dir: "ipv6"},
}

type familyCase struct {
	name          string
	edge, gateway netip.Prefix
	ipv6          bool
	// ip is the family option of iproute2, dir the directory of its settings.
	ip, dir string
}

func eachFamily(t *testing.T, f func(t *testing.T, family familyCase)) {
	t.Helper()
	t.Parallel()
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			f(t, family)
		})
	}
}

// site is an edge with a cable to its gateway.
type site struct {
	lab           *lab.Lab
	edge, gateway *lab.Host
}

func newSite(t *testing.T) site {
	t.Helper()
	l, err := lab.New(lab.Options{Name: t.Name()})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	edge, err := l.Host("edge")
	must(t, err)
	gateway, err := l.Host("gateway")
	must(t, err)
	must(t, l.Veth(edge, "eth1", gateway, "eth1"))
	return site{lab: l, edge: edge, gateway: gateway}
}

// newSiteOf adds the addresses of a family and waits until the edge can ask.
func newSiteOf(t *testing.T, f familyCase) site {
	t.Helper()
	s := newSite(t)
	must(t, s.edge.AddAddress("eth1", f.edge))
	must(t, s.gateway.AddAddress("eth1", f.gateway))
	return s
}

// hurry makes the kernel of a host give up a neighbour after three times 100 ms
// instead of three seconds.
func (s site) hurry(t *testing.T, f familyCase) {
	t.Helper()
	must(t, s.edge.Sysctl("net/"+f.dir+"/neigh/eth1/retrans_time_ms", "100"))
}

// running is a monitor that runs in the namespace of a host.
type running struct {
	*Monitor
	poked chan struct{}
	stop  func()
}

// start runs a monitor on a host; change may alter it before it runs.
func start(t *testing.T, h *lab.Host, cfg Config, change ...func(*Monitor)) *running {
	t.Helper()
	r := &running{poked: make(chan struct{}, 1)}
	must(t, h.Do(func() error {
		r.Monitor = New(cfg, Options{Poke: func() {
			select {
			case r.poked <- struct{}{}:
			default:
			}
		}})
		return nil
	}))
	for _, f := range change {
		f(r.Monitor)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(r.stop)
	return r
}

// wait waits for a snapshot that satisfies a condition. It looks only after a poke:
// a snapshot without a poke is a fault.
func (r *running) wait(t *testing.T, what string, condition func(*Snapshot) bool) *Snapshot {
	t.Helper()
	deadline := time.After(patience)
	for {
		s, ok := r.Snapshot()
		if ok && condition(s) {
			return s
		}
		select {
		case <-r.poked:
		case <-deadline:
			t.Fatalf("gave up waiting until %s; the snapshot is %+v", what, s)
		}
	}
}

// neighbourOf finds a neighbour in a snapshot by the name of its link.
func neighbourOf(s *Snapshot, link string, address netip.Addr) Neighbour {
	return s.Neighbours[NeighbourKey{LinkIndex: s.Links[link].Index, Address: address}]
}

// waitNeighbour waits for a state of the gateway.
func (r *running) waitNeighbour(t *testing.T, address netip.Addr, what string, condition func(Neighbour) bool) Neighbour {
	t.Helper()
	s := r.wait(t, what, func(s *Snapshot) bool { return condition(neighbourOf(s, "eth1", address)) })
	return neighbourOf(s, "eth1", address)
}

func reachable(n Neighbour) bool { return n.State == NUDReachable }

// waitFor polls a condition that the kernel or another program makes true.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("gave up waiting until %s", what)
		case <-tick.C:
		}
	}
}
