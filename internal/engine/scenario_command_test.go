package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/uplink"
)

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
	case "kernel":
		return s.capabilities(words[1])
	case "default":
		return s.defaultRoute(words[1:])
	case "bfd":
		s.engine.board.Put(uplink.Evidence{Source: uplink.Source{Way: way(words[1:]), Kind: uplink.KindBFD}, Opinion: opinions[words[3]], Since: s.now, Reason: "told so"})
		s.look()
		return nil
	case "session":
		return s.session(words[1:])
	case "taken":
		return s.taken(words[1:])
	case "fight":
		return s.fight(words[1], strings.Join(words[2:], " "))
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
	case "stop":
		s.stop()
		s.engine.tasks.Wait()
		s.engine = nil
		return nil
	case "may-lose-default":
		s.mayLose = true
		return nil
	default:
		return s.expectation(words)
	}
}

func (s *scenario) expectation(words []string) error {
	switch words[0] {
	case "expect-writes":
		var got []string
		for _, op := range s.kernel.Writes() {
			got = append(got, op.String())
		}
		s.expect(got)
		return nil
	case "expect-at-most":
		most, err := strconv.Atoi(words[1])
		if n := len(s.kernel.Writes()); n > most && !s.lenient {
			s.t.Errorf("line %d: %d writes, want at most %d", len(s.out), n, most)
		}
		return err
	case "expect-verdicts":
		var got []string
		for _, m := range s.engine.site.members {
			v := s.engine.verdicts[m.Way]
			got = append(got, fmt.Sprintf("%s %s %s: %s", m.Way, v.State, v.Role, v.Why()))
		}
		s.expect(got)
		return nil
	case "expect-sessions":
		s.expect(s.speaker.asked())
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
	if !slices.Contains(s.tables, c.Tables.Balance) {
		s.tables = append(s.tables, c.Tables.Balance)
		s.notUs()
	}
	if s.engine == nil {
		if s.stop == nil {
			s.restart()
		}
		return nil // It was stopped; restart starts it.
	}
	s.engine.use(reload{config: c, keys: readKeys(c)})
	s.look()
	return nil
}

func (s *scenario) restart() {
	if s.engine != nil {
		s.stop()
		s.engine.tasks.Wait()
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.engine = New(Options{
		Config: s.config, Kernel: s.kernel, Log: slog.New(slog.DiscardHandler),
		NewProber:  func(probe.Config, func(probe.Report)) Prober { return idleProber{} },
		NewSpeaker: s.newSpeaker,
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
	if !s.fighting && (!s.lenient || d >= time.Second) {
		s.atRest()
	}
}

func (s *scenario) link(words []string) error {
	name := words[0]
	links := make(map[string]netmon.Link, len(s.links))
	for n, l := range s.links {
		links[n] = l
	}
	if words[1] == "gone" {
		s.kernel.SetLink(links[name].Index, false)
		s.notUs()
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
		case "dormant":
			l.OperState = w
		default:
			a, err := address(w)
			if err != nil {
				return err
			}
			l.Addresses = append(l.Addresses, a)
		}
	}
	s.kernel.SetLink(index, l.AdminUp && l.Carrier)
	s.notUs()
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
	n := netmon.Neighbour{Address: a, State: netmon.NUDReachable, Router: true, MAC: "02:00:00:00:00:01"}
	if words[2] == "failed" {
		n = netmon.Neighbour{Address: a, State: netmon.NUDFailed, Failures: 1}
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
	way, opinion := way(words), opinions[words[2]]
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

// opinions by the words of the commands.
var opinions = map[string]uplink.Opinion{"up": uplink.Up, "down": uplink.Down, "unknown": uplink.Unknown}

// way reads the words UPLINK FAMILY.
func way(words []string) uplink.Way { return uplink.Way{Uplink: words[0], Family: family(words[1])} }

func family(word string) fib.Family {
	if word == fib.IPv6.String() {
		return fib.IPv6
	}
	return fib.IPv4
}

// address reads a prefix and its flags.
func address(word string) (netmon.Address, error) {
	words := strings.Split(word, ",")
	p, err := netip.ParsePrefix(words[0])
	a := netmon.Address{Prefix: p, Global: !p.Addr().IsLinkLocalUnicast(), Usable: true}
	for _, flag := range words[1:] {
		switch flag {
		case "tentative":
			a.Usable = false
		case "deprecated":
			a.Deprecated = true
		case "temporary":
			a.Temporary = true
		default:
			return a, fmt.Errorf("unknown flag %q", flag)
		}
	}
	return a, err
}

func (s *scenario) capabilities(word string) error {
	c, ok := map[string]fib.Capabilities{
		"none": {}, "groups": {NextHops: true}, "resilient": {NextHops: true, Resilient: true},
	}[word]
	if !ok {
		return errors.New("want none, groups or resilient")
	}
	s.kernel.SetCapabilities(c)
	return nil
}

func (s *scenario) defaultRoute(words []string) error {
	if words[1] == "gone" {
		delete(s.routes, routeOf{words[0], family(words[2])})
		s.look()
		return nil
	}
	gw, err := netip.ParseAddr(words[1])
	f := fib.FamilyOf(gw)
	s.routes[routeOf{words[0], f}] = netmon.Default{Dst: f.Any(), Gateway: gw, Protocol: 16, Table: 254}
	if s.engine != nil {
		s.look()
	}
	return err
}

// taken puts somebody else's next hop on an id.
func (s *scenario) taken(words []string) error {
	id, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return err
	}
	hop := fib.NextHop{ID: uint32(id), Family: fib.IPv4, Device: fib.Device{Index: s.links[words[1]].Index, Name: words[1]}}
	return s.kernel.Stranger(fib.Op{Verb: fib.Add, Object: hop, Protocol: 4})
}

// fight deletes what contains text again and again.
func (s *scenario) fight(duration, text string) error {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	if s.lenient {
		d = min(d, 50*time.Millisecond) // There are enough calls in that to fail.
	}
	s.fighting = true
	defer func() { s.fighting = false }()
	for until := s.now.Add(d); s.now.Before(until); {
		if _, err := s.remove(text); err != nil {
			return err
		}
		s.advance(10 * time.Millisecond)
	}
	return nil
}

// stranger deletes every object of ours whose command contains text.
func (s *scenario) stranger(text string) error {
	n, err := s.remove(text)
	if err != nil {
		return err
	}
	if n == 0 && !s.lenient {
		return fmt.Errorf("nothing of ours contains %q", text)
	}
	s.look()
	return nil
}

func (s *scenario) remove(text string) (n int, err error) {
	actual, _ := s.engine.writer.Actual() // Not a List, which would be a call to fail.
	for _, op := range fib.Plan(fib.NewState(), actual, s.config.Protocol) {
		if add := (fib.Op{Verb: fib.Add, Object: op.Object, Protocol: op.Protocol}); strings.Contains(add.String(), text) {
			n++
			if err := s.kernel.Stranger(op); err != nil {
				return n, err
			}
		}
	}
	s.notUs()
	s.engine.writer.Invalidate("a stranger wrote")
	return n, nil
}
