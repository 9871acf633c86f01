package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// Keys of churn.
const (
	keyDelay50 = "delay_p50_ms"
	keyDelay99 = "delay_p99_ms"
	keyUnseen  = "updates_without_route"
)

var churnScenario = scenario{
	name: "bgp-churn",
	about: "On a table from two peers, each preferred for half of the prefixes, the first one makes paths longer, so that the other is preferred, and " +
		"shorter again: from each UPDATE until the kernel announces the changed route. BFD runs meanwhile.",
	columns: []column{
		{Key: keyCore, Title: "CPU, % of a core", Digits: 2, Cost: true},
		{Key: keyDelay50, Title: "delay, median, ms", Digits: 2, Cost: true},
		{Key: keyDelay99, Title: "99 %, ms", Digits: 2, Cost: true},
		{Key: keyUnseen, Title: "updates that changed no route"},
		{Key: keyFarFlaps, Title: "BFD flaps"},
		{Key: keyTogether, Title: "peak memory at one time, MiB", Digits: 0},
	},
	run: (*bench).churn,
}

var idleScenario = scenario{
	name:  "bgp-idle",
	about: "A table from two peers, and nothing happens but BFD and keepalives.",
	columns: []column{
		{Key: keyCore, Title: "CPU, % of a core", Digits: 2, Cost: true},
		{Key: keyTogether, Title: "peak memory at one time, MiB", Digits: 0, Cost: true},
		{Key: keyFarFlaps, Title: "BFD flaps"},
	},
	run: (*bench).idle,
}

func (b *bench) churn(ctx context.Context, t *table) error {
	return b.afterLoad(ctx, t, func(ctx context.Context, trial *bgpTrial) (sample, error) { return trial.churn(ctx, b.options.bgp) })
}

func (b *bench) idle(ctx context.Context, t *table) error {
	return b.afterLoad(ctx, t, func(ctx context.Context, trial *bgpTrial) (sample, error) {
		return trial.meanwhile(ctx, func() error {
			wait := time.NewTimer(b.options.bgp.idleFor)
			defer wait.Stop()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wait.C:
				return trial.checkAll()
			}
		})
	})
}

// afterLoad runs f on tables that are loaded, with candidates that have come to rest.
func (b *bench) afterLoad(ctx context.Context, t *table, f func(ctx context.Context, trial *bgpTrial) (sample, error)) error {
	for _, n := range b.options.bgp.tables(200_000, 500_000) {
		for _, ipv6 := range b.options.families {
			if n == 0 {
				continue
			}
			s := b.options.bgpSetting(n, 2, bgptest.PreferEach, ipv6)
			err := b.bgpContest(ctx, t, fmt.Sprintf("%d prefixes, %s", n, family(ipv6)), s, func(ctx context.Context, trial *bgpTrial) (sample, error) {
				if _, err := trial.load(ctx); err != nil {
					return nil, err
				}
				if err := trial.calm(ctx); err != nil {
					return nil, err
				}
				return f(ctx, trial)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// meanwhile measures CPU, memory and flaps while f runs.
func (t *bgpTrial) meanwhile(ctx context.Context, f func() error) (sample, error) {
	if err := t.watchFlaps(ctx); err != nil {
		return nil, err
	}
	before, _, _ := t.sampler.used()
	begin := time.Now()
	if err := f(); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	after, _, together := t.sampler.used()
	flaps, _, err := t.flaps(ctx)
	return sample{
		keyCore: 100 * (after - before).Seconds() / took.Seconds(), keyTogether: float64(together) / (1 << 20), keyFarFlaps: float64(flaps),
	}, err
}

// churnPoolSize is how many prefixes take turns.
const churnPoolSize = 10_000

// churnPatience is how long after the last update routes may still change.
const churnPatience = 3 * time.Second

func (t *bgpTrial) churn(ctx context.Context, o bgpOptions) (s sample, err error) {
	m, err := t.monitor()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	var sent []churned
	s, err = t.meanwhile(ctx, func() error {
		r, err := t.peers[0].ask(ctx, peerCommand{Do: peerChurn, Rate: o.churnRate, For: o.churnFor, Pool: churnPoolSize})
		sent = r.Churn
		return errors.Join(err, t.checkAll())
	})
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(churnPatience)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
	}
	if err := m.stop(); err != nil {
		return nil, err
	}
	delays, unseen := m.delays(t.table, sent)
	s[keyUnseen] = float64(unseen)
	if n := len(delays); n > 0 {
		s[keyDelay50], s[keyDelay99] = milliseconds(delays[n/2]), milliseconds(delays[n*99/100])
	}
	return s, nil
}

// monitor hears what the kernel says of routes.
type monitor struct {
	kernel *kernelSocket
	quit   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
	err    error
	// seen are the times of notifications in nanoseconds of Unix time, by prefix.
	seen map[netip.Prefix][]int64
}

// monitorWait bounds a read, so that the goroutine sees that it shall end.
const monitorWait = 100 * time.Millisecond

func (t *bgpTrial) monitor() (*monitor, error) {
	group := uint32(1 << (unix.RTNLGRP_IPV4_ROUTE - 1))
	if t.setting.ipv6 {
		group = 1 << (unix.RTNLGRP_IPV6_ROUTE - 1)
	}
	k, err := openKernel(t.site.Edge, group)
	if err != nil {
		return nil, err
	}
	wait := unix.NsecToTimeval(monitorWait.Nanoseconds())
	if err := unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, errors.Join(err, k.close())
	}
	m := &monitor{kernel: k, quit: make(chan struct{}), seen: map[netip.Prefix][]int64{}}
	m.done.Go(m.listen)
	return m, nil
}

func (m *monitor) listen() {
	for {
		select {
		case <-m.quit:
			return
		default:
		}
		n, _, err := unix.Recvfrom(m.kernel.fd, m.kernel.buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		now := time.Now().UnixNano()
		if err == nil {
			err = eachMessage(m.kernel.buf[:n], func(h unix.NlMsghdr, body []byte) error {
				if r, ok := parseRoute(h.Type, body); ok && r.kind == unix.RTM_NEWROUTE {
					m.seen[r.prefix] = append(m.seen[r.prefix], now)
				}
				return nil
			})
		}
		if err != nil {
			// One that was lost (ENOBUFS) would make the figures wrong.
			m.err = fmt.Errorf("hear of routes: %w", err)
			return
		}
	}
}

func (m *monitor) stop() error {
	m.once.Do(func() {
		close(m.quit)
		m.done.Wait()
		m.err = errors.Join(m.err, m.kernel.close())
	})
	return m.err
}

// delays finds for each update the first notification about its prefix after it and
// before the next one, and returns them sorted.
func (m *monitor) delays(t *bgptest.Table, sent []churned) (found []time.Duration, unseen int) {
	next := map[int]int64{}
	for _, c := range slices.Backward(sent) {
		times := m.seen[t.Prefix(c.I)]
		i, _ := slices.BinarySearch(times, c.At)
		limit, again := next[c.I]
		next[c.I] = c.At
		if i == len(times) || (again && times[i] >= limit) {
			unseen++
			continue
		}
		found = append(found, time.Duration(times[i]-c.At))
	}
	slices.Sort(found)
	return found, unseen
}
