package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
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
	"github.com/multihomed/multihomed/internal/uplink"
)

var update = flag.Bool("update", false, "rewrite the expectations of the scenarios")

// A scenario is a file of commands, one a line, in virtual time; see the files
// in testdata/scenarios. After each command the engine looks once.
//
//	config <<             the configuration, up to a line "."
//	kernel none|groups|resilient   what it can hold, from here on
//	link NAME INDEX WORD… up|down|nocarrier|p2p|dormant and addresses, which may
//	                      have ",tentative", ",deprecated", ",temporary" behind
//	                      them; "link NAME gone"
//	default NAME GATEWAY  somebody else's default route over a link, replacing the
//	                      one of that family; "default NAME gone FAMILY"
//	neighbour NAME ADDRESS reachable|failed
//	icmp UPLINK FAMILY up|down|unknown TARGET…
//	bfd UPLINK FAMILY up|down|unknown
//	session UPLINK FAMILY EVENT   what its BFD session notices: up, expired,
//	                      told-down (by the peer), admin-down (of the peer),
//	                      init
//	taken ID NAME         a stranger has a next hop with an id of our range
//	stranger del TEXT     somebody deletes our object whose ip command contains TEXT
//	fight DURATION TEXT   somebody does so every 10 ms
//	advance DURATION      time passes
//	restart               the daemon dies and another one starts
//	stop                  the daemon dies; restart starts another one
//	may-lose-default      from here on the balanced default may be withdrawn
//	expect-writes         the ops since the last look at them, in "| " lines
//	expect-at-most N      no more than that many ops since then
//	expect-verdicts       the verdicts of all ways, in "| " lines
//	expect-sessions       what was asked of BFD since the last look, in "| " lines
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
	routes  map[routeOf]netmon.Default
	neigh   map[netmon.NeighbourKey]netmon.Neighbour
	targets map[uplink.Way]map[netip.Addr]uplink.Target
	speaker *bfdSpeaker

	// lenient skips the expectations but the last: a failed call shifts what
	// happens when, not what comes of it.
	lenient bool
	mayLose bool
	// fighting says that somebody deletes what we write all the time.
	fighting bool
	// tables are the balance tables of the configurations so far.
	tables      []uint32
	hadDefault  map[fib.Family]bool
	lostDefault []string
	final       string
}

// routeOf is a link and a family.
type routeOf struct {
	link   string
	family fib.Family
}

// snapshots is a monitor without a kernel.
type snapshots struct{ s *scenario }

func (m snapshots) Run(ctx context.Context) { <-ctx.Done() }
func (m snapshots) Configure(netmon.Config) {}
func (m snapshots) Snapshot() (*netmon.Snapshot, bool) {
	snap := &netmon.Snapshot{Links: m.s.links, Neighbours: m.s.neigh}
	for of, d := range m.s.routes {
		if l, ok := m.s.links[of.link]; ok {
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
	t.Parallel()
	for _, file := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			good := play(t, file, 0)
			n := 1
			for ; ; n++ {
				s := play(t, file, n)
				if s.kernel.Calls() < n {
					break
				}
				if diff := cmp.Diff(firstChoice(good.final), firstChoice(s.final)); diff != "" {
					t.Errorf("with call %d failing the kernel ends different (-want +got):\n%s", n, diff)
				}
				if len(s.lostDefault) > 0 {
					t.Errorf("with call %d failing the default was taken away by %s", n, s.lostDefault[0])
				}
			}
			t.Logf("%d calls failed once each", n-1)
		})
	}
}

// firstChoice replaces ids of other choices by the first: which of its candidates an
// object has is a matter of what was free when it was written.
func firstChoice(text string) string {
	const base, quarter = 22_100_000, 1 << 18
	text = regexp.MustCompile(`\b22\d{6}\b`).ReplaceAllStringFunc(text, func(id string) string {
		n, _ := strconv.Atoi(id)
		return strconv.Itoa(base + (n-base)%quarter)
	})
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
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
		links: map[string]netmon.Link{}, routes: map[routeOf]netmon.Default{},
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
		has := s.balanced(f)
		if s.hadDefault[f] && !has && !s.mayLose {
			s.lostDefault = append(s.lostDefault, op.String())
		}
		s.hadDefault[f] = has
	}
}

// balanced reports whether a packet without a mark and with a source of no uplink
// finds a default in a balance table: where a reload changed its number, in the one
// that a rule still leads to.
func (s *scenario) balanced(f fib.Family) bool {
	if len(s.tables) == 1 {
		return s.kernel.HasDefault(s.tables[0], f)
	}
	return slices.ContainsFunc(s.tables, func(table uint32) bool {
		return s.kernel.HasDefault(table, f) && s.looksUp(f, table)
	})
}

// looksUp reports whether a rule of ours leads to a table.
func (s *scenario) looksUp(f fib.Family, table uint32) bool {
	for line := range strings.Lines(s.kernel.Text()) {
		if strings.Contains(line, " rule ") && strings.HasPrefix(line, "ip -6 ") == (f == fib.IPv6) &&
			strings.Contains(line, fmt.Sprintf(" lookup %d protocol", table)) {
			return true
		}
	}
	return false
}

// notUs looks at the default anew after something that was not our doing.
func (s *scenario) notUs() {
	if s.config == nil {
		return
	}
	for _, f := range fib.Families {
		s.hadDefault[f] = s.balanced(f)
	}
}

// atRest holds the flagship law against the kernel: while a way that the kernel
// can send by is active there is a balanced default.
func (s *scenario) atRest() {
	s.t.Helper()
	for w, v := range s.engine.verdicts {
		if v.Role == uplink.Active && s.engine.facts[w].Usable && !s.kernel.HasDefault(s.config.Tables.Balance, w.Family) {
			s.t.Errorf("line %d: %s is active and usable but there is no balanced default:\n%s", len(s.out), w, s.kernel.Text())
		}
	}
}
