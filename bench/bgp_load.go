package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// Keys of the figures of the scenarios of BGP.
const (
	keyLoad     = "seconds_to_loaded"
	keySettle   = "seconds_to_settled"
	keySend     = "seconds_sending"
	keyCPUSum   = "cpu_seconds"
	keyTogether = "peak_memory_at_one_time_mib"
	keyRoutes   = "routes_written"
)

var loadScenario = scenario{
	name: "bgp-load",
	about: "A table, and a default, from one peer and from two at once, each preferred for half of the prefixes: from the first octet of the first UPDATE " +
		"until all prefixes are in the kernel, and until they lead where they should. BFD runs meanwhile with each peer and should not flap.",
	columns: []column{
		{Key: keyLoad, Title: "all in the kernel, s", Digits: 2, Cost: true},
		{Key: keySettle, Title: "settled, s", Digits: 2, Cost: true},
		{Key: keyCPUSum, Title: "CPU, s", Digits: 2, Cost: true},
		{Key: keyPeak, Title: "peak memory, MiB", Digits: 0, Cost: true},
		{Key: keyTogether, Title: "at one time, MiB", Digits: 0},
		{Key: keySend, Title: "peers done sending, s", Digits: 2},
		{Key: keyFarFlaps, Title: "BFD flaps"},
		{Key: keyFarLate, Title: "worst lateness of the far end, ms", Digits: 1},
		{Key: keyOthers, Title: "CPU of all else, % of a core"},
	},
	run: (*bench).bgpLoad,
}

func (b *bench) bgpLoad(ctx context.Context, t *table) error {
	for _, n := range b.options.bgp.tables(200_000, 500_000) {
		for _, peers := range b.options.bgp.peers {
			for _, ipv6 := range b.options.families {
				if n == 0 {
					continue
				}
				s := b.options.bgpSetting(n, peers, bgptest.PreferEach, ipv6)
				name := fmt.Sprintf("%d prefixes from %d, %s", n, peers, family(ipv6))
				err := b.bgpContest(ctx, t, name, s, func(ctx context.Context, trial *bgpTrial) (sample, error) { return trial.load(ctx) })
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// bgpContest runs one case with all candidates.
func (b *bench) bgpContest(ctx context.Context, t *table, name string, s bgpSetting, f func(ctx context.Context, trial *bgpTrial) (sample, error)) error {
	var entrants []entrant
	for _, c := range b.bgpCandidates {
		entrants = append(entrants, entrant{c.name(), func(ctx context.Context) (result sample, err error) {
			trial, err := startBGPTrial(ctx, c, s)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, trial.stop()) }()
			if result, err = f(ctx, trial); err != nil {
				return nil, trial.explain(err)
			}
			return result, nil
		}})
	}
	return b.contest(ctx, t, name, entrants)
}

// load lets all peers send and waits until the kernel has everything.
func (t *bgpTrial) load(ctx context.Context) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, t.setting.loading)
	defer cancel()
	if err := t.watchFlaps(ctx); err != nil {
		return nil, err
	}
	cpuBefore, _, _ := t.sampler.used()
	farBefore := t.farCPU()
	busyBefore, err := busyTime()
	if err != nil {
		return nil, err
	}
	type result struct {
		reports []peerReport
		err     error
	}
	sent := make(chan result, 1)
	begin := time.Now()
	go func() {
		r, err := t.together(func(p *farPeer) (peerReport, error) { return p.ask(ctx, peerCommand{Do: peerTable}) })
		sent <- result{r, err}
	}()
	loaded, settled, err := t.watchTable(ctx)
	cpu, marks, together := t.sampler.used()
	busy, busyErr := busyTime()
	took := time.Since(begin)
	others := busy - busyBefore - (cpu - cpuBefore) - (t.farCPU() - farBefore)
	// A candidate that failed may never read what the far ends send.
	if err != nil || busyErr != nil {
		cancel()
	}
	far := <-sent
	if err := errors.Join(err, busyErr, far.err); err != nil {
		return nil, fmt.Errorf("load %d prefixes into %s: %w", t.setting.prefixes, t.name, err)
	}
	began, ended := far.reports[0].Began, far.reports[0].Ended
	for _, r := range far.reports {
		if r.Began.Before(began) {
			began = r.Began
		}
		if r.Ended.After(ended) {
			ended = r.Ended
		}
	}
	flaps, late, err := t.flaps(ctx)
	return sample{
		keyLoad: loaded.Sub(began).Seconds(), keySettle: settled.Sub(began).Seconds(), keySend: ended.Sub(began).Seconds(),
		keyCPUSum: (cpu - cpuBefore).Seconds(), keyPeak: float64(marks) / (1 << 20), keyTogether: float64(together) / (1 << 20),
		keyFarFlaps: float64(flaps), keyFarLate: milliseconds(late), keyOthers: 100 * max(others, 0).Seconds() / took.Seconds(),
	}, err
}

// farCPU is what the far ends have used; a little is lost if one ends.
func (t *bgpTrial) farCPU() (sum time.Duration) {
	for _, p := range t.peers {
		if u, err := measureUsage(p); err == nil {
			sum += u.cpu
		}
	}
	for _, r := range t.bfd {
		if u, err := measureUsage(r); err == nil {
			sum += u.cpu
		}
	}
	return sum
}

// watchEvery is how often the kernel is asked for a prefix.
const watchEvery = 10 * time.Millisecond

// watchTable waits until all prefixes and the default are there, and until they lead
// where they should.
func (t *bgpTrial) watchTable(ctx context.Context) (loaded, settled time.Time, err error) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := t.checkAll(); err != nil {
			return loaded, settled, err
		}
		if loaded.IsZero() {
			begin := time.Now()
			ok, err := t.witness.loaded(t.setting.prefixes)
			switch {
			case err != nil:
				return loaded, settled, err
			case ok:
				// What counting took is not the candidate's time.
				loaded = begin
			default:
				// Counting walks the whole table: no more than a third of the time.
				pause := time.NewTimer(2 * time.Since(begin))
				<-pause.C
			}
		}
		if !loaded.IsZero() {
			ok, err := t.witness.settled()
			if ok || err != nil {
				return loaded, time.Now(), err
			}
		}
		select {
		case <-ctx.Done():
			n, _ := t.witness.routes()
			return loaded, settled, fmt.Errorf("%d of %d routes are there, %s is not or leads elsewhere: %w",
				n-t.witness.base, t.setting.prefixes, t.witness.first(), ctx.Err())
		case <-tick.C:
		}
	}
}
