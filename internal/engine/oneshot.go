package engine

import (
	"context"
	"errors"
	"fmt"
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
	previous := t.layout.Adopt(t.policy, actual, now)
	evidence, facts := uplink.Snapshot{}, uplink.Facts{}
	for _, m := range t.members {
		v := t.look(m, s)
		for _, e := range v.evidence {
			evidence[e.Source] = e
		}
		if _, adopted := previous[m.Way]; adopted || !m.optional || v.present {
			facts[m.Way] = v.fact
		}
		// What only a running daemon can know is as it was.
		if p, adopted := previous[m.Way]; adopted && p.State == uplink.Dead {
			src := uplink.Source{Way: m.Way, Kind: uplink.KindICMP}
			evidence[src] = uplink.Evidence{Source: src, Opinion: uplink.Down, Reason: "found out of use"}
		}
	}
	verdicts, _ := uplink.Decide(t.policy, previous, evidence, now)
	ops, problems := fib.Preview(t.layout.Desired(facts, verdicts), actual, t.owner)
	return ops, problems, nil
}

// Watch returns what a monitor must watch for Plan.
func Watch(c *config.Config) netmon.Config { return newSite(c).watch(map[uplink.Way]view{}) }

// Withdraw removes everything from the kernel that is ours under c and returns
// the ops that did it.
func Withdraw(ctx context.Context, c *config.Config, k fib.Kernel) ([]fib.Op, error) {
	w := fib.NewWriter(k, newSite(c).owner)
	rep := w.Sync(ctx, fib.Desired{}, time.Now())
	errs := []error{rep.ReadErr}
	for _, f := range rep.Failed {
		errs = append(errs, f)
	}
	return rep.Done, errors.Join(errs...)
}
