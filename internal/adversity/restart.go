package adversity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/status"
)

// goneEach is how many prefixes of each family do not come back after each death.
const goneEach = 5

// restart is a scene whose daemon dies.
type restart struct {
	*scene
	monitor *monitor
	fars    []*far
	// gone are the prefixes of each family that peers do not announce any more: the last
	// ones of the table.
	gone int
}

// Restart kills the daemon with a full table from two peers with graceful restart, and
// then the process that speaks BGP, under traffic.
func Restart(ctx context.Context, o Options) (*Report, error) {
	r := &Report{}
	var uplinks []uplink
	for _, name := range []string{"isp1", "isp2"} {
		uplinks = append(uplinks, uplink{name: name, lines: "bgp: {peer-as: PEER-AS, import: full}"})
	}
	s, err := newScene(ctx, o, r, uplinks)
	if err != nil {
		return r, err
	}
	return r, errors.Join((&restart{scene: s}).run(), s.close())
}

func (s *restart) run() error {
	if err := s.start(); err != nil {
		return err
	}
	s.fars = s.scene.fars("isp1", "isp2")
	begin := time.Now()
	for _, f := range s.fars {
		if err := f.connect(f.restartable()); err != nil {
			return err
		}
		s.closers = append(s.closers, f.close)
	}
	if err := s.together((*far).everything); err != nil {
		return err
	}
	if err := s.loaded(s.Prefixes); err != nil {
		return err
	}
	if err := s.until("both peers are used", func(st *status.Status) bool { return s.received(st, 0) && used(st) }); err != nil {
		return err
	}
	for _, f := range s.fars {
		g, ok := f.peer.Heard().Open.GracefulRestart()
		s.report.fault(ok && !g.Restarting, "%s heard in the first life: %+v, want graceful restart without the R bit", f.name(), g)
	}
	s.report.count("%d prefixes from two peers were in the kernel after %v", s.Prefixes, time.Since(begin).Round(time.Millisecond))
	l, err := s.level()
	if err != nil {
		return err
	}
	s.report.count("then: %v", l)
	if err := s.traffic(); err != nil {
		return err
	}
	if s.monitor, err = s.scene.monitor(); err != nil {
		return err
	}
	if err := s.death("the daemon", func() error {
		s.kill(syscall.SIGKILL)
		return nil
	}, s.start); err != nil {
		return fmt.Errorf("kill the daemon: %w", err)
	}
	if err := s.death("the child", func() error {
		st, err := s.status()
		if err != nil {
			return err
		}
		if err := syscall.Kill(st.BGP.PID, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill process %d: %w", st.BGP.PID, err)
		}
		return nil
	}, func() error {
		return s.until("another child speaks", func(st *status.Status) bool { return st.BGP != nil && st.BGP.Speaking && st.BGP.Starts == 2 })
	}); err != nil {
		return fmt.Errorf("kill the child: %w", err)
	}
	return errors.Join(s.arrived(), s.agreed())
}

// restartable are the options of a peer that keeps what it was told.
func (f *far) restartable() bgptest.Options {
	o := f.options()
	o.GracefulRestart = &bgptest.GracefulRestart{Time: 120 * time.Second, Families: o.Families, Forwarding: o.Families}
	return o
}

func (f *far) everything() error {
	if err := f.announce(0); err != nil {
		return err
	}
	return f.peer.EndOfRIB(f.wire)
}

// together does the same with all peers at once.
func (s *restart) together(do func(f *far) error) error {
	errs := make(chan error)
	for _, f := range s.fars {
		go func() { errs <- do(f) }()
	}
	var all []error
	for range s.fars {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// death kills somebody, and brings peers and tables back step by step: nothing may
// leave the kernel before the last peer has said that this is all.
func (s *restart) death(who string, strike, back func() error) error {
	before := s.Prefixes - 2*s.gone
	if err := s.quiet(); err != nil {
		return err
	}
	s.monitor.reset()
	begin := time.Now()
	if err := strike(); err != nil {
		return err
	}
	if err := s.together((*far).left); err != nil {
		return err
	}
	s.nothingGone(who + " was killed")
	if err := back(); err != nil {
		return err
	}
	s.report.count("%s was killed and is back after %v", who, time.Since(begin).Round(time.Millisecond))
	s.nothingGone(who + " is back")
	if err := s.together(func(f *far) error { return f.connect(f.restartable()) }); err != nil {
		return err
	}
	s.restarting(who)
	s.gone += goneEach
	if err := s.together(func(f *far) error { return f.announce(s.gone) }); err != nil {
		return err
	}
	if err := s.until("all was received again", func(st *status.Status) bool { return s.received(st, s.gone) }); err != nil {
		return err
	}
	s.nothingGone("the tables came again after the death of " + who)
	first := s.fars[:len(families)]
	for _, f := range first {
		if err := f.peer.EndOfRIB(f.wire); err != nil {
			return err
		}
	}
	if err := s.until("the first peer has sent its table", func(st *status.Status) bool { return synced(st, first[0].access.Name) }); err != nil {
		return err
	}
	s.nothingGone("one peer of two has sent its End-of-RIB")
	st, err := s.status()
	if err != nil {
		return err
	}
	s.report.fault(st.BGP.Prefixes.Routes == before, "%d routes are in the kernel before the last End-of-RIB, want %d", st.BGP.Prefixes.Routes, before)
	last := time.Now()
	for _, f := range s.fars[len(families):] {
		if err := f.peer.EndOfRIB(f.wire); err != nil {
			return err
		}
	}
	if err := s.loaded(s.Prefixes - 2*s.gone); err != nil {
		return err
	}
	s.report.count("after the last End-of-RIB, %v until only what came back is in the kernel; %v since the death", time.Since(last).Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	s.swept(who)
	if l, err := s.level(); err == nil {
		s.report.count("then: %v", l)
	}
	return s.together((*far).told)
}

// quietFor is how long nothing must be written for the daemon to have nothing more to do.
const quietFor = time.Second

// quiet waits until the daemon has written everything: what it dies over would be
// written by the next one.
func (s *restart) quiet() error {
	last, since := s.monitor.look(), time.Now()
	return s.wait("the daemon has nothing to write", func() bool {
		if now := s.monitor.look(); now.added != last.added || now.removed != last.removed || now.objectsRemoved != last.objectsRemoved {
			last, since = now, time.Now()
		}
		return time.Since(since) >= quietFor
	})
}

// used reports whether every uplink carries traffic in both families.
func used(st *status.Status) bool {
	for _, u := range st.Uplinks {
		for _, w := range u.Ways {
			if w.Role != "active" || w.BGP == nil || !w.BGP.Synced {
				return false
			}
		}
	}
	return true
}

// left waits until the session has ended.
func (f *far) left() error {
	ctx, cancel := context.WithTimeout(f.s.ctx, f.s.Patience)
	defer cancel()
	if err := f.peer.WaitClosed(ctx); err != nil {
		return fmt.Errorf("%s: %w", f.name(), err)
	}
	h := f.peer.Heard()
	f.s.report.fault(h.Notification == nil, "%s was told %v at a death", f.name(), h.Notification)
	return nil
}

// told waits until the peer was told our prefix again.
func (f *far) told() error {
	ctx, cancel := context.WithTimeout(f.s.ctx, f.s.Patience)
	defer cancel()
	return f.peer.Wait(ctx, f.name()+" hears our prefix", func(h *bgptest.Heard) bool { return h.Announced > 0 && h.EndOfRIB[f.wire] > 0 })
}

// restarting looks at what the OPEN messages say.
func (s *restart) restarting(who string) {
	bits := 0
	for _, f := range s.fars {
		g, ok := f.peer.Heard().Open.GracefulRestart()
		if ok && g.Restarting && slices.Contains(g.Forwarding, f.wire) {
			bits++
			continue
		}
		s.report.fault(false, "%s hears no R bit with an F bit after the death of %s: %+v", f.name(), who, g)
	}
	s.report.count("after the death of %s, %d of %d peers heard the R bit and the F bit", who, bits, len(s.fars))
}

// received reports whether every session has all but so many prefixes and its default.
func (s *restart) received(st *status.Status, without int) bool {
	for _, u := range st.Uplinks {
		for i, f := range families {
			w := u.Ways[i]
			if w.Family != f.name || w.BGP == nil || w.BGP.Received-w.BGP.Stale < s.tables[f.ipv6].Len()-without+1 {
				return false
			}
		}
	}
	return true
}

func synced(st *status.Status, name string) bool {
	for _, u := range st.Uplinks {
		for _, w := range u.Ways {
			if u.Name == name && (w.BGP == nil || !w.BGP.Synced) {
				return false
			}
		}
	}
	return true
}

// nothingGone looks whether anything left the kernel.
func (s *restart) nothingGone(when string) {
	c := s.monitor.look()
	s.report.fault(c.lost == nil, "the kernel was not heard well: %v", c.lost)
	s.report.fault(c.removed == 0 && c.smallRemoved == 0 && c.objectsRemoved == 0,
		"when %s: %d routes to prefixes, %d others and %d next-hop objects had been removed", when, c.removed, c.smallRemoved, c.objectsRemoved)
}

// swept looks whether exactly those prefixes left the kernel that did not come back.
func (s *restart) swept(who string) {
	want := map[netip.Prefix]bool{}
	for _, t := range s.tables {
		for i := t.Len() - s.gone; i < t.Len()-s.gone+goneEach; i++ {
			want[t.Prefix(i)] = true
		}
	}
	err := s.wait("the kernel tells of the sweep", func() bool { return s.monitor.look().removed >= len(want) })
	s.report.fault(err == nil, "%v", err)
	c := s.monitor.look()
	wrong, example := 0, netip.Prefix{}
	for p, n := range c.gone {
		if !want[p] || n != 1 {
			wrong, example = wrong+1, p
		}
	}
	s.report.fault(wrong == 0, "%d prefixes, %v among them, were removed after the death of %s though they came back, or twice", wrong, example, who)
	s.report.fault(c.lost == nil, "the kernel was not heard well: %v", c.lost)
	s.report.fault(c.removed == len(want), "%d routes were removed after the death of %s, want %d", c.removed, who, len(want))
	s.report.fault(c.smallRemoved == 0 && c.objectsRemoved == 0, "%d other routes and %d next-hop objects were removed after the death of %s",
		c.smallRemoved, c.objectsRemoved, who)
	s.report.fault(c.added == 0, "%d routes were written again after the death of %s", c.added, who)
	s.report.count("after the death of %s: %d routes removed, %d of them wrongly; %d written again; %d next-hop objects removed", who, c.removed, wrong, c.added, c.objectsRemoved)
}
