package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/lab"
)

var floorScenario = scenario{
	name: "kernel-floor",
	about: fmt.Sprintf("The least that anybody needs: the prefixes of a table written to the kernel by netlink, %d in a system call, by one thread that does nothing else. "+
		"CPU is that of the whole process.", writeBatch),
	columns: []column{
		{Key: keyLoad, Title: "all in the kernel, s", Digits: 2},
		{Key: keyCPUSum, Title: "CPU, s", Digits: 2},
		{Key: keyRoutes, Title: "routes/s", Digits: 0},
	},
	run: (*bench).floor,
}

func (b *bench) floor(ctx context.Context, t *table) error {
	for _, n := range b.options.bgp.tables(200_000, 500_000, 1_000_000) {
		for _, ipv6 := range b.options.families {
			if n == 0 {
				continue
			}
			e := entrant{"kernel", func(context.Context) (sample, error) { return floor(n, ipv6) }}
			if err := b.contest(ctx, t, fmt.Sprintf("%d prefixes, %s", n, family(ipv6)), []entrant{e}); err != nil {
				return err
			}
		}
	}
	return nil
}

// floor writes a table into a network namespace of its own.
func floor(n int, ipv6 bool) (s sample, err error) {
	l, err := lab.New(lab.Options{Name: "bench"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	site, err := lab.NewSite(l, lab.SiteOptions{ISPs: []lab.ISP{{Name: "isp1"}}})
	if err != nil {
		return nil, err
	}
	f := bgptest.IPv4
	if ipv6 {
		f = bgptest.IPv6
	}
	t := bgptest.NewTable(f, n, tableSeed)
	device, err := site.Edge.Index(site.Accesses[0].Device)
	if err != nil {
		return nil, err
	}
	w, err := newWitness(site.Edge, ipv6, []int{device}, chooseSamples(t, bgptest.PreferFirst, 1))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	k, err := openKernel(site.Edge, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	before, begin := selfCPU(), time.Now()
	prefix := func(i int) netip.Prefix { return t.Prefix(i) }
	if err := k.write(n, prefix, site.Accesses[0].Line(ipv6).Gateway, device, nil); err != nil {
		return nil, err
	}
	took, cpu := time.Since(begin), selfCPU()-before
	loaded, err := w.loaded(n)
	settled, err2 := w.settled()
	if err := errors.Join(err, err2); err != nil || !loaded || !settled {
		return nil, errors.Join(fmt.Errorf("all routes were written, and are not all there: %s", w.first()), err)
	}
	return sample{keyLoad: took.Seconds(), keyCPUSum: cpu.Seconds(), keyRoutes: float64(n) / took.Seconds()}, nil
}
