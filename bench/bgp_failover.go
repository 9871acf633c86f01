package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/lab"
)

// Keys of failover.
const (
	keyMedian    = "median_outage_ms"
	keyLast      = "last_flow_back_ms"
	keyFirstBack = "first_flow_back_ms"
	keyNever     = "never_back"
	keyUnsent    = "sender_late_ms"
	keyHit       = "flows_hit"
)

var failoverScenario = scenario{
	name: "bgp-failover",
	about: "A table, and a default, from two peers, of which all prefixes prefer the first; its host falls silent with all links up. " +
		"Outages are those of one-way UDP flows through the candidate to addresses spread over the table, whose way back does not matter; those count that lost something: of a default alone, some use it over both ISPs. " +
		"Nobody can know before the detection time of BFD, interval times multiplier, less up to one interval.",
	columns: []column{
		{Key: keyHit, Title: "flows hit"},
		{Key: keyFirstBack, Title: "first flow back, ms", Digits: 0},
		{Key: keyMedian, Title: "median, ms", Digits: 0, Cost: true},
		{Key: keyLast, Title: "last flow back, ms", Digits: 0, Cost: true},
		{Key: keyNever, Title: "never back"},
		{Key: keyUnsent, Title: "worst lateness of the sender, ms", Digits: 1},
		{Key: keyTogether, Title: "peak memory at one time, MiB", Digits: 0},
		{Key: keyOthers, Title: "CPU of all else before, % of a core"},
	},
	run: (*bench).failover,
}

func (b *bench) failover(ctx context.Context, t *table) error {
	for _, n := range b.options.bgp.tables(0, 200_000, 500_000, 1_000_000) {
		for _, ipv6 := range b.options.families {
			s := b.options.bgpSetting(n, 2, bgptest.PreferFirst, ipv6)
			s.destinations = b.options.bgp.destinations
			name := fmt.Sprintf("%d prefixes, %s", n, family(ipv6))
			err := b.bgpContest(ctx, t, name, s, func(ctx context.Context, trial *bgpTrial) (sample, error) {
				return trial.failover(ctx, b.options.bgp)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	// warmFor is how long all flows have to arrive before the cut.
	warmFor = 2 * time.Second
	// arrivalWindow is a stretch of time in which a flow that is back has packets.
	arrivalWindow = 300 * time.Millisecond
	// afterwards is how long outages are watched after all flows are back: some come
	// back and go again.
	afterwards = 2 * time.Second
)

// failover loads the table, cuts the first ISP and measures the flows.
func (t *bgpTrial) failover(ctx context.Context, o bgpOptions) (s sample, err error) {
	if _, err := t.load(ctx); err != nil {
		return nil, err
	}
	if err := t.calm(ctx); err != nil {
		return nil, err
	}
	flows, err := lab.StartFlows(lab.FlowOptions{
		From: t.site.LAN, To: t.site.Internet, Destinations: t.destinations, Flows: o.flows, Rate: o.flowRate,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, flows.Stop()) }()
	busy, err := t.warm(ctx, flows)
	if err != nil {
		return nil, err
	}
	// Only what is lost from here on is the cut's.
	cut := time.Now()
	if err := t.site.Accesses[0].Host.Silence(true); err != nil {
		return nil, err
	}
	if err := t.waitBack(ctx, flows, o.backWithin); err != nil {
		return nil, err
	}
	if err := flows.Stop(); err != nil {
		return nil, err
	}
	for i, p := range t.peers[1:] {
		if err := p.daemons[0].check(); err != nil {
			return nil, fmt.Errorf("ISP %d, which was not cut: %w", i+2, err)
		}
	}
	s = outages(flows, cut)
	_, _, together := t.sampler.used()
	s[keyTogether], s[keyOthers] = float64(together)/(1<<20), busy
	return s, nil
}

// warm lets the flows run and returns how busy the rest of the machine was, in
// percent of a core.
func (t *bgpTrial) warm(ctx context.Context, flows *lab.Flows) (busy float64, err error) {
	warm := time.NewTimer(warmFor)
	defer warm.Stop()
	before, err := busyTime()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	cpu, _, _ := t.sampler.used()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-warm.C:
	}
	after, err := busyTime()
	if err != nil {
		return 0, err
	}
	now, _, _ := t.sampler.used()
	busy = 100 * max(after-before-(now-cpu), 0).Seconds() / time.Since(began).Seconds()
	r := flows.Watch(time.Now().Add(-time.Second), time.Now().Add(-arrivalWindow))
	for _, f := range r.Flows {
		if f.Received == 0 {
			return 0, fmt.Errorf("flow %d to %s does not arrive before anything is cut", f.Flow, f.Destination)
		}
	}
	return busy, nil
}

// waitBack waits until all flows arrive again, or for so long.
func (t *bgpTrial) waitBack(ctx context.Context, flows *lab.Flows, within time.Duration) error {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	begin := time.Now()
	var back time.Time
	err := poll(limit, func() (bool, error) {
		if err := t.check(); err != nil {
			return false, err
		}
		now := time.Now()
		if now.Sub(begin) < 2*arrivalWindow {
			return false, nil
		}
		r := flows.Watch(now.Add(-2*arrivalWindow), now.Add(-arrivalWindow))
		if slices.ContainsFunc(r.Flows, func(f lab.FlowResult) bool { return f.Received == 0 }) {
			back = time.Time{}
			return false, nil
		}
		if back.IsZero() {
			back = now
		}
		return now.Sub(back) >= afterwards, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		// Those that did not come back are counted.
		return nil
	}
	return err
}

// outages summarises the flows since the cut. A flow that is out at the end counts
// as lost, and its outage to the end.
func outages(flows *lab.Flows, cut time.Time) sample {
	r := flows.Watch(cut, time.Time{})
	var all []float64
	never := 0
	last := flows.Watch(r.Longest.Start.Add(r.Longest.Duration), time.Time{})
	for i, f := range r.Flows {
		if f.Lost > 0 {
			all = append(all, milliseconds(f.Longest.Duration))
		}
		if last.Flows[i].Received == 0 {
			never++
		}
	}
	if len(all) == 0 {
		// Nobody sent by the ISP that was cut, which no table asks for.
		return sample{keyHit: 0, keyNever: float64(never)}
	}
	slices.Sort(all)
	return sample{
		keyHit:       float64(len(all)),
		keyFirstBack: all[0], keyMedian: (all[(len(all)-1)/2] + all[len(all)/2]) / 2, keyLast: all[len(all)-1],
		keyNever: float64(never), keyUnsent: milliseconds(r.MaxSendDelay),
	}
}
