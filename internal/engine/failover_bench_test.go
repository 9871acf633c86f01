package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/lab"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/uplink"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// BenchmarkFailover measures the time from evidence put on the board to the
// group replaced in a real kernel, acknowledged: the whole daemon but its probes.
// It reports the median and the 99th percentile.
func BenchmarkFailover(b *testing.B) {
	for _, uplinks := range []int{1, 8, 64} {
		for _, foreign := range []int{0, 100_000} {
			b.Run(fmt.Sprintf("uplinks=%d/foreign-routes=%d", uplinks, foreign), func(b *testing.B) {
				benchmarkFailover(b, uplinks, foreign)
			})
		}
	}
}

func benchmarkFailover(b *testing.B, uplinks, foreign int) {
	b.Helper()
	b.Helper()
	TuneRuntime() // As the daemon does.
	l, err := lab.New(lab.Options{Name: b.Name()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	}()
	edge, c, snapshot := benchSite(b, l, uplinks+1) // One more, so that a failover has somewhere to go.
	foreignRoutes(b, edge, foreign)
	var kernel *fib.Netlink
	if err := edge.Do(func() (err error) { kernel, err = fib.OpenNetlink(); return err }); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := kernel.Close(); err != nil {
			b.Error(err)
		}
	}()
	if err := TakeSysctls(kernel, filepath.Join(b.TempDir(), "sysctls"), slog.New(slog.DiscardHandler)); err != nil {
		b.Fatal(err)
	}

	replaced, quiet := make(chan time.Time, 16), make(chan struct{}, 1)
	e := New(Options{
		Config: c, Kernel: kernel, Log: slog.New(slog.DiscardHandler),
		NewMonitor: func(netmon.Config, func()) Monitor { return still{snapshot} },
		NewProber:  func(probe.Config, func(probe.Report)) Prober { return idleProber{} },
		Changed: func() {
			select {
			case quiet <- struct{}{}:
			default:
			}
		},
		OnWrite: func(rep fib.Report, _ fib.Desired) {
			for _, f := range rep.Failed {
				b.Errorf("write: %v", f)
			}
			for _, op := range rep.Done {
				if _, ok := op.Object.(fib.Group); ok {
					replaced <- time.Now()
					return
				}
			}
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	<-replaced // The start.

	way := uplink.Way{Uplink: "u0", Family: fib.IPv4}
	took := make([]time.Duration, 0, b.N)
	opinion := uplink.Down
	for b.Loop() {
		start := time.Now()
		e.Board().Put(uplink.Evidence{Source: uplink.Source{Way: way, Kind: uplink.KindBFD}, Opinion: opinion, Reason: "detection time expired"})
		took = append(took, (<-replaced).Sub(start))
		<-quiet // The engine is done with it: the next one starts from rest.
		opinion = uplink.Up + uplink.Down - opinion
	}
	slices.Sort(took)
	at := func(share float64) float64 { return float64(took[int(share*float64(len(took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

// still is a host that does not change.
type still struct{ s *netmon.Snapshot }

func (m still) Run(ctx context.Context)            { <-ctx.Done() }
func (m still) Configure(netmon.Config)            {}
func (m still) Snapshot() (*netmon.Snapshot, bool) { return m.s, true }

// benchSite builds an edge with n ethernet uplinks, both families.
func benchSite(b *testing.B, l *lab.Lab, n int) (*lab.Host, *config.Config, *netmon.Snapshot) {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	edge, err := l.Host("edge")
	must(err)
	far, err := l.Host("far")
	must(err)
	s := &netmon.Snapshot{Links: map[string]netmon.Link{}}
	var text strings.Builder
	text.WriteString("hold: {up: 0s, penalty-half-life: 1ms, suppress: 1000000, reuse: 750}\ntables: {uplinks: 1001, balance: 1000}\nrules: {main: 50, source: 200, mark: 400, balance: 600}\nuplinks:\n")
	for i := range n {
		dev := fmt.Sprintf("eth%d", i+1)
		must(l.Veth(edge, dev, far, dev))
		v4 := netip.AddrFrom4([4]byte{10, byte(i), 0, 2})
		v6 := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(i), 15: 2})
		p4, p6 := netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)
		must(edge.AddAddress(dev, p4))
		must(edge.AddAddress(dev, p6))
		index, err := edge.Index(dev)
		must(err)
		s.Links[dev] = netmon.Link{Name: dev, Index: index, AdminUp: true, Carrier: true, Addresses: []netmon.Address{
			{Prefix: p4, Global: true, Usable: true}, {Prefix: p6, Global: true, Usable: true},
		}}
		fmt.Fprintf(&text, "  - {name: u%d, interface: %s, gateway: [%s, %q], neighbour: false}\n", i, dev, v4.Prev(), v6.Prev())
	}
	c, err := config.Parse("bench.yaml", []byte(text.String()), nil)
	must(err)
	return edge, c, s
}

// foreignRoutes adds n routes that are not ours.
func foreignRoutes(b *testing.B, h *lab.Host, n int) {
	b.Helper()
	if n == 0 {
		return
	}
	var batch strings.Builder
	for i := range n {
		fmt.Fprintf(&batch, "route add 100.%d.%d.%d/32 via 10.0.0.1 dev eth1 proto 12\n", i>>16, i>>8&255, i&255)
	}
	file := filepath.Join(b.TempDir(), "routes")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	if _, err := h.IP("-batch", file); err != nil {
		b.Fatal(err)
	}
}
