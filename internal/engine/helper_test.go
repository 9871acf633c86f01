package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// epoch is when tests with a time of their own begin.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var errTest = errors.New("told to fail")

func parseConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// twoUplinks is a and b over eth1 and eth2, both families.
const twoUplinks = `
hold: {up: 10s}
uplinks:
  - {name: a, interface: eth1, gateway: [203.0.113.1, "2001:db8:1::1"]}
  - {name: b, interface: eth2, gateway: [198.51.100.1, "2001:db8:2::1"]}
`

// twoLinks are their links.
func twoLinks(t *testing.T) *netmon.Snapshot {
	t.Helper()
	return hostOf(t, "eth1 2 203.0.113.2/24 2001:db8:1::2/64", "eth2 3 198.51.100.2/24 2001:db8:2::2/64")
}

// hostOf makes a snapshot of links "NAME INDEX WORD…"; the words are those of the
// link command of scenarios.
func hostOf(t *testing.T, links ...string) *netmon.Snapshot {
	t.Helper()
	s := &netmon.Snapshot{Links: map[string]netmon.Link{}, Neighbours: map[netmon.NeighbourKey]netmon.Neighbour{}}
	for _, text := range links {
		words := strings.Fields(text)
		l := netmon.Link{Name: words[0], Index: int(words[1][0] - '0'), AdminUp: true, Carrier: true, OperState: "up"}
		for _, w := range words[2:] {
			switch w {
			case "down":
				l.AdminUp, l.Carrier = false, false
			case "nocarrier":
				l.Carrier = false
			case "dormant", "unknown":
				l.OperState = w
			case "p2p":
				l.PointToPoint, l.NoARP = true, true
			case "noarp":
				l.NoARP = true
			default:
				w, peer, _ := strings.Cut(w, "peer=")
				a, err := address(strings.TrimSuffix(w, ","))
				if err != nil {
					t.Fatal(err)
				}
				if peer != "" {
					a.Peer = netip.MustParseAddr(peer)
				}
				l.Addresses = append(l.Addresses, a)
			}
		}
		s.Links[l.Name] = l
	}
	return s
}

// learned adds somebody else's default route.
func learned(s *netmon.Snapshot, link, gateway string) *netmon.Snapshot {
	gw := netip.MustParseAddr(gateway)
	s.Defaults = append(s.Defaults, netmon.Default{LinkIndex: s.Links[link].Index, Dst: fib.FamilyOf(gw).Any(), Gateway: gw, Protocol: 16, Table: 254})
	return s
}

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// count returns how many lines contain all of the words.
func (j *journal) count(words ...string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for line := range strings.Lines(j.text.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

// monitor is a Monitor that sees what it is told.
type monitor struct {
	poke func()
	mu   sync.Mutex // guards what follows
	s    *netmon.Snapshot
	told []netmon.Config
	runs int
}

func (m *monitor) Run(ctx context.Context) {
	m.mu.Lock()
	m.runs++
	m.mu.Unlock()
	<-ctx.Done()
}

func (m *monitor) Snapshot() (*netmon.Snapshot, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.s, m.s != nil
}

func (m *monitor) Configure(c netmon.Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, c)
}

func (m *monitor) see(s *netmon.Snapshot) {
	m.mu.Lock()
	m.s = s
	m.mu.Unlock()
	if m.poke != nil {
		m.poke()
	}
}

// prober is a Prober that says what it is told.
type prober struct {
	config probe.Config
	report func(probe.Report)
	mu     sync.Mutex // guards what follows
	pokes  int
	ended  bool
}

func (p *prober) Run(ctx context.Context) {
	<-ctx.Done()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
}

func (p *prober) Poke() {
	p.mu.Lock()
	p.pokes++
	p.mu.Unlock()
}

// say reports one opinion about every target.
func (p *prober) say(o probe.Opinion) {
	r := probe.Report{Uplink: p.config.Uplink}
	for _, t := range p.config.Targets {
		r.Targets = append(r.Targets, probe.Target{Address: t, Opinion: o, Since: epoch, Reason: "told so"})
	}
	p.report(r)
}

// bench is an engine whose loop the test turns.
type bench struct {
	*Engine
	t       *testing.T
	fake    *fibtest.Kernel
	host    *monitor
	started []*prober
	// speakers are those that were made, the present one last.
	speakers []*bfdSpeaker
	// voices are those of BGP, the present one last.
	voices []*voice
	// memory is the file of drains.
	memory string
	log    *journal
	now    time.Time
	ctx    context.Context
}

func newBench(t *testing.T, text string, s *netmon.Snapshot) *bench {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	b := &bench{t: t, fake: fibtest.New(), host: &monitor{s: s}, log: &journal{}, now: epoch, ctx: ctx}
	b.boot(parseConfig(t, text))
	t.Cleanup(func() {
		stop()
		b.Engine.silence()
		b.tasks.Wait()
	})
	return b
}

// boot starts another engine on the same kernel.
func (b *bench) boot(c *config.Config) {
	if b.Engine != nil {
		b.Engine.silence()
	}
	b.Engine = New(Options{
		Config: c, Path: "test.yaml", Kernel: b.fake, Log: b.log.logger(), Version: "v1",
		NewProber: func(c probe.Config, report func(probe.Report)) Prober {
			p := &prober{config: c, report: report}
			b.started = append(b.started, p)
			return p
		},
		NewSpeaker: func(bfd.Options) (Speaker, error) {
			s := newSpeaker()
			b.speakers = append(b.speakers, s)
			return s, nil
		},
		NewBGP: func(o speaker.Options) BGP {
			v := newVoice(o)
			b.voices = append(b.voices, v)
			return v
		},
		Bulk: b.fake, Memory: b.memory,
	})
	b.monitor = b.host
}

// turn is one turn of the loop.
func (b *bench) turn() time.Duration { return b.step(b.ctx, b.now) }

// pass lets time pass, turning the loop whenever it asked for it.
func (b *bench) pass(d time.Duration) {
	for until := b.now.Add(d); ; {
		next := b.now.Add(b.turn())
		if next.After(until) {
			b.now = until
			b.turn()
			return
		}
		b.now = next
	}
}

// verdict returns "state role" of a way.
func (b *bench) verdict(name string, f fib.Family) string {
	v := b.verdicts[uplink.Way{Uplink: name, Family: f}]
	return v.State.String() + " " + v.Role.String()
}

// written returns the writes since the last call, as commands.
func (b *bench) written() []string {
	var out []string
	for _, op := range b.fake.Writes() {
		out = append(out, op.String())
	}
	return out
}

// await waits for a condition that another goroutine brings about.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
		runtime.Gosched()
	}
}

// replaced returns text with one word in place of another.
func replaced(text, word, by string) string { return strings.Replace(text, word, by, 1) }
