package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/uplink"
)

var update = flag.Bool("update", false, "rewrite the expectations of the scenarios")

// A scenario is a file of commands, one a line, in virtual time; see the files
// in testdata/scenarios. After each command the engine looks once.
//
//	config <<             the configuration, up to a line "."
//	link NAME INDEX WORD… up|down|nocarrier|p2p and addresses; "link NAME gone"
//	default NAME GATEWAY  somebody else's default route over a link
//	neighbour NAME ADDRESS reachable|failed
//	icmp UPLINK FAMILY up|down|unknown TARGET…
//	stranger del TEXT     somebody deletes our object whose ip command contains TEXT
//	advance DURATION      time passes
//	restart               the daemon dies and another one starts
//	may-lose-default      from here on the balanced default may be withdrawn
//	expect-writes         the ops since the last look at them, in "| " lines
//	expect-kernel         everything in the kernel, in "| " lines
type scenario struct {
	t      *testing.T
	lines  []string
	out    []string
	kernel *fibtest.Kernel
	engine *Engine
	stop   context.CancelFunc
	ctx    context.Context

	config  *config.Config
	now     time.Time
	links   map[string]netmon.Link
	routes  map[string]netmon.Default
	neigh   map[netmon.NeighbourKey]netmon.Neighbour
	targets map[uplink.Way]map[netip.Addr]uplink.Target

	// lenient skips the expectations but the last: a failed call shifts what
	// happens when, not what comes of it.
	lenient     bool
	mayLose     bool
	hadDefault  map[fib.Family]bool
	lostDefault []string
	final       string
}

// snapshots is a monitor without a kernel.
type snapshots struct{ s *scenario }

func (m snapshots) Run(ctx context.Context) { <-ctx.Done() }
func (m snapshots) Configure(netmon.Config) {}
func (m snapshots) Snapshot() (*netmon.Snapshot, bool) {
	snap := &netmon.Snapshot{Links: m.s.links, Neighbours: m.s.neigh}
	for name, d := range m.s.routes {
		if l, ok := m.s.links[name]; ok {
			d.LinkIndex = l.Index
			snap.Defaults = append(snap.Defaults, d)
		}
	}
	return snap, true
}

type idleProber struct{}

func (idleProber) Run(ctx context.Context) { <-ctx.Done() }
func (idleProber) Poke()                   {}

func TestScenarios(t *testing.T) {
	for _, file := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := play(t, file, 0)
			if *update && !t.Failed() {
				if err := os.WriteFile(file, []byte(strings.Join(s.out, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestScenarios_EveryCallFailsOnce plays every scenario once for each kernel
// call that it makes, with that call failing. What comes of it in the end must be
// the same, and the balanced default must never be taken away on the way.
func TestScenarios_EveryCallFailsOnce(t *testing.T) {
	for _, file := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			good := play(t, file, 0)
			for n := 1; n <= good.kernel.Calls(); n++ {
				s := play(t, file, n)
				if diff := cmp.Diff(good.final, s.final); diff != "" {
					t.Errorf("with call %d failing the kernel ends different (-want +got):\n%s", n, diff)
				}
				if len(s.lostDefault) > 0 {
					t.Errorf("with call %d failing the default was taken away by %s", n, s.lostDefault[0])
				}
			}
			t.Logf("%d calls failed once each", good.kernel.Calls())
		})
	}
}

func scenarioFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	return files
}

func play(t *testing.T, file string, failCall int) *scenario {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &scenario{
		t: t, lines: strings.Split(strings.TrimRight(string(data), "\n"), "\n"), kernel: fibtest.New(),
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), lenient: failCall > 0,
		links: map[string]netmon.Link{}, routes: map[string]netmon.Default{},
		neigh:   map[netmon.NeighbourKey]netmon.Neighbour{},
		targets: map[uplink.Way]map[netip.Addr]uplink.Target{}, hadDefault: map[fib.Family]bool{},
	}
	if failCall > 0 {
		s.kernel.FailCall(failCall, errors.New("injected failure"))
	}
	s.kernel.AfterEach = s.watchDefault
	for len(s.lines) > 0 {
		line := s.lines[0]
		s.lines = s.lines[1:]
		s.out = append(s.out, line)
		if err := s.command(line); err != nil {
			t.Fatalf("%s: %s: %v", file, line, err)
		}
	}
	s.stop()
	s.engine.tasks.Wait()
	if !s.lenient && len(s.lostDefault) > 0 {
		t.Errorf("the default was taken away by %s", s.lostDefault[0])
	}
	return s
}

// watchDefault notes when an op of ours leaves a family without the balanced
// default that it had.
func (s *scenario) watchDefault(op fib.Op) {
	for _, f := range fib.Families {
		has := s.kernel.HasDefault(s.config.Tables.Balance, f)
		if s.hadDefault[f] && !has && op.Verb == fib.Delete && !s.mayLose {
			s.lostDefault = append(s.lostDefault, op.String())
		}
		s.hadDefault[f] = has
	}
}

func (s *scenario) command(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return nil
	}
	switch words[0] {
	case "config":
		return s.configure()
	case "link":
		return s.link(words[1:])
	case "default":
		gw, err := netip.ParseAddr(words[2])
		s.routes[words[1]] = netmon.Default{Dst: fib.FamilyOf(gw).Any(), Gateway: gw, Protocol: 16, Table: 254}
		s.look()
		return err
	case "neighbour":
		return s.neighbour(words[1:])
	case "icmp":
		return s.icmp(words[1:])
	case "stranger":
		return s.stranger(strings.TrimPrefix(line, "stranger del "))
	case "advance":
		d, err := time.ParseDuration(words[1])
		s.advance(d)
		return err
	case "restart":
		s.restart()
		return nil
	case "may-lose-default":
		s.mayLose = true
		return nil
	case "expect-writes":
		var got []string
		for _, op := range s.kernel.Writes() {
			got = append(got, op.String())
		}
		s.expect(got)
		return nil
	case "expect-kernel":
		s.kernel.Writes()
		s.final = s.kernel.Text()
		s.expect(strings.Split(strings.TrimSpace(s.final), "\n"))
		return nil
	default:
		return errors.New("unknown command")
	}
}

// expect compares got with the "| " lines that follow, or writes them.
func (s *scenario) expect(got []string) {
	s.t.Helper()
	var want []string
	for len(s.lines) > 0 && strings.HasPrefix(s.lines[0], "| ") {
		want = append(want, strings.TrimPrefix(s.lines[0], "| "))
		s.lines = s.lines[1:]
	}
	for _, g := range got {
		s.out = append(s.out, "| "+g)
	}
	if *update || s.lenient {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("line %d (-want +got):\n%s", len(s.out)-len(got), diff)
	}
}

func (s *scenario) configure() error {
	i := slices.Index(s.lines, ".")
	if i < 0 {
		return errors.New(`no line "." ends the configuration`)
	}
	text := s.lines[:i]
	s.out = append(s.out, s.lines[:i+1]...)
	s.lines = s.lines[i+1:]
	c, err := config.Parse("scenario.yaml", []byte(strings.Join(text, "\n")), nil)
	if err != nil {
		return err
	}
	s.config = c
	if s.engine == nil {
		s.restart()
		return nil
	}
	s.engine.use(reload{config: c})
	s.look()
	return nil
}

func (s *scenario) restart() {
	if s.stop != nil {
		s.stop()
		s.engine.tasks.Wait()
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.engine = New(Options{
		Config: s.config, Kernel: s.kernel, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		NewProber: func(probe.Config, func(probe.Report)) Prober { return idleProber{} },
	})
	s.engine.monitor = snapshots{s}
	s.look()
}

// look is one turn of the loop, with the turns that it asks for at once.
func (s *scenario) look() { s.advance(0) }

// advance lets time pass, turning the loop when it asked to be turned.
func (s *scenario) advance(d time.Duration) {
	until := s.now.Add(d)
	for turns := 0; ; turns++ {
		sleep := s.engine.step(s.ctx, s.now)
		next := s.now.Add(sleep)
		if next.After(until) {
			break
		}
		if turns > 10000 {
			s.t.Fatal("the loop does not come to rest")
		}
		s.now = next
	}
	s.now = until
	s.engine.step(s.ctx, s.now)
}

func (s *scenario) link(words []string) error {
	name := words[0]
	links := make(map[string]netmon.Link, len(s.links))
	for n, l := range s.links {
		links[n] = l
	}
	if words[1] == "gone" {
		s.kernel.SetLink(links[name].Index, false)
		delete(links, name)
		s.links = links
		s.engine.writer.Invalidate("link gone")
		s.look()
		return nil
	}
	index, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	l := netmon.Link{Name: name, Index: index, AdminUp: true, Carrier: true, OperState: "up"}
	for _, w := range words[2:] {
		switch w {
		case "up":
		case "down":
			l.AdminUp, l.Carrier = false, false
		case "nocarrier":
			l.Carrier = false
		case "p2p":
			l.PointToPoint, l.NoARP = true, true
		default:
			p, err := netip.ParsePrefix(w)
			if err != nil {
				return err
			}
			l.Addresses = append(l.Addresses, netmon.Address{Prefix: p, Global: true, Usable: true})
		}
	}
	s.kernel.SetLink(index, l.AdminUp && l.Carrier)
	links[name] = l
	s.links = links
	if s.engine != nil {
		s.engine.writer.Invalidate("link " + name)
		s.look()
	}
	return nil
}

func (s *scenario) neighbour(words []string) error {
	a, err := netip.ParseAddr(words[1])
	if err != nil {
		return err
	}
	n := netmon.Neighbour{State: netmon.NUDReachable, MAC: "02:00:00:00:00:01"}
	if words[2] == "failed" {
		n = netmon.Neighbour{State: netmon.NUDFailed, Failures: 1}
	}
	neigh := map[netmon.NeighbourKey]netmon.Neighbour{{LinkIndex: s.links[words[0]].Index, Address: a}: n}
	for k, v := range s.neigh {
		if _, ok := neigh[k]; !ok {
			neigh[k] = v
		}
	}
	s.neigh = neigh
	s.look()
	return nil
}

func (s *scenario) icmp(words []string) error {
	way := uplink.Way{Uplink: words[0], Family: fib.IPv4}
	if words[1] == fib.IPv6.String() {
		way.Family = fib.IPv6
	}
	opinion := map[string]uplink.Opinion{"up": uplink.Up, "down": uplink.Down, "unknown": uplink.Unknown}[words[2]]
	if s.targets[way] == nil {
		s.targets[way] = map[netip.Addr]uplink.Target{}
	}
	for _, w := range words[3:] {
		a, err := netip.ParseAddr(w)
		if err != nil {
			return err
		}
		s.targets[way][a] = uplink.Target{Address: a, Opinion: opinion, Since: s.now, Reason: "told so"}
	}
	e := uplink.Evidence{Source: uplink.Source{Way: way, Kind: uplink.KindICMP}, Since: s.now}
	for _, t := range s.targets[way] {
		e.Targets = append(e.Targets, t)
	}
	slices.SortFunc(e.Targets, func(a, b uplink.Target) int { return a.Address.Compare(b.Address) })
	s.engine.board.Put(e)
	s.look()
	return nil
}

// stranger deletes every object of ours whose command contains text.
func (s *scenario) stranger(text string) error {
	actual, err := s.kernel.List(s.ctx, s.engine.site.owner)
	if err != nil {
		actual, err = s.kernel.List(s.ctx, s.engine.site.owner) // It was the call to fail.
	}
	if err != nil {
		return err
	}
	found := false
	for _, op := range fib.Plan(fib.NewState(), actual, s.config.Protocol) {
		if add := (fib.Op{Verb: fib.Add, Object: op.Object, Protocol: op.Protocol}); strings.Contains(add.String(), text) {
			found = true
			if err := s.kernel.Stranger(op); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("nothing of ours contains %q", text)
	}
	s.engine.writer.Invalidate("a stranger wrote")
	s.look()
	return nil
}
