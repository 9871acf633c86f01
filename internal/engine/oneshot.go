package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/uplink"
)

// Plan returns the ops that a daemon with configuration c would begin with on
// this host, and what cannot be had there, in words. It writes nothing. What is
// dead or live is taken from the kernel where a daemon left its mark there, and
// otherwise from what the host itself says.
func Plan(ctx context.Context, c *config.Config, k fib.Kernel, s *netmon.Snapshot) ([]fib.Op, []string, error) {
	t := newSite(c)
	actual, err := k.List(ctx, t.owner)
	if err != nil {
		return nil, nil, fmt.Errorf("read kernel: %w", err)
	}
	now := time.Now()
	previous, found := t.adopt(actual, s, now)
	evidence, facts := uplink.Snapshot{}, uplink.Facts{}
	for _, m := range t.members {
		v := t.look(m, s)
		for _, e := range v.evidence {
			evidence[e.Source] = e
		}
		if v.present {
			found.seen[m.Way] = true
		}
		if found.draws(m) {
			facts[m.Way] = v.fact
		}
		// What only a running daemon can know is as it was.
		if p, adopted := previous[m.Way]; adopted && p.State == uplink.Dead {
			src := uplink.Source{Way: m.Way, Kind: uplink.KindICMP}
			evidence[src] = uplink.Evidence{Source: src, Opinion: uplink.Down, Reason: "found out of use"}
		}
	}
	verdicts, _ := uplink.Decide(t.policy, previous, evidence, now)
	// Which groups prefixes need only a running daemon knows: those that are there.
	var choices []uplink.Choice
	for _, id := range foundChoices(t.layout, t.owner, actual) {
		f, code, _ := t.layout.ChoiceOf(id)
		choices = append(choices, t.defaultSlots().choice(t.layout, f, code))
	}
	desired := t.layout.Desired(facts, verdicts, choices)
	if seer, ok := k.(intruderSeer); ok {
		// Before the first run no rule leads to our tables yet, and List did not
		// look into them.
		if actual.Intruders, err = seer.Intruders(ctx, t.owner, tablesOf(desired)); err != nil {
			return nil, nil, fmt.Errorf("look for foreign defaults: %w", err)
		}
	}
	ops, problems := fib.Preview(desired, actual, t.owner)
	return ops, problems, nil
}

// intruderSeer is a kernel that can be asked for foreign defaults in given tables.
type intruderSeer interface {
	Intruders(ctx context.Context, o fib.Owner, tables []uint32) ([]fib.Intruder, error)
}

func tablesOf(d fib.Desired) []uint32 {
	var tables []uint32
	for _, r := range d.Routes {
		if !slices.Contains(tables, r.Table) {
			tables = append(tables, r.Table)
		}
	}
	return tables
}

// Watch returns what a monitor must watch for Plan.
func Watch(c *config.Config) netmon.Config { return newSite(c).watch(map[uplink.Way]view{}) }

// withdrawPasses bounds the tries to remove what is ours: a kernel that refuses
// that often will go on to.
const withdrawPasses = 5

// Withdraw removes everything from the kernel that is ours under c and returns
// the ops that did it, but for the routes to prefixes, of which there may be a million:
// those go first, because the kernel removes a group with all of its routes, one by one
// and with its lock held. What fails is tried again a few times, within a second or
// two; what is left then is in the error.
func Withdraw(ctx context.Context, c *config.Config, k fib.Kernel) ([]fib.Op, error) {
	t := newSite(c)
	if table, ok := k.(fib.BulkKernel); ok {
		if err := withdrawBulk(ctx, table, bulkOwner(c, t.owner)); err != nil {
			return nil, fmt.Errorf("remove routes to prefixes: %w", errors.Join(err, errLeft))
		}
	}
	w := fib.NewWriter(k, t.owner)
	var done []fib.Op
	var rep fib.Report
	for range withdrawPasses {
		rep = w.Sync(ctx, fib.Desired{}, time.Now())
		done = append(done, rep.Done...)
		if rep.InSync || !pause(ctx, time.Until(rep.Wake)) {
			break
		}
	}
	errs := []error{rep.ReadErr}
	for _, f := range rep.Failed {
		errs = append(errs, f)
	}
	if !rep.InSync {
		errs = append(errs, ctx.Err(), errLeft)
	}
	return done, errors.Join(errs...)
}

// errLeft says that Withdraw did not finish.
var errLeft = errors.New("something that is ours may be left in the kernel: withdraw again")

// pause waits for d, and reports false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
