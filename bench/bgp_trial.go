package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/lab"
)

// bgpSetting is what candidates have in common.
type bgpSetting struct {
	prefixes   int
	peers      int
	preference bgptest.Preference
	ipv6       bool
	interval   time.Duration
	multiplier int
	// startup is how long sessions may take to come up, loading a table.
	startup, loading time.Duration
	// destinations are addresses of the internet beside its usual ones.
	destinations int
}

const (
	// tableSeed makes the table of every benchmark.
	tableSeed = 4
	// unusedPrefixes make destinations where no table is announced.
	unusedPrefixes = 2000
)

// bgpTrial is a site with a candidate, BGP and BFD established with all ISPs and no
// routes announced yet.
type bgpTrial struct {
	name    string
	setting bgpSetting
	lab     *lab.Lab
	site    *lab.Site
	dir     string
	near    bgpRunning
	// peers and bfd are the far ends, by ISP.
	peers []*farPeer
	bfd   []*remote

	table        *bgptest.Table
	destinations []netip.Addr
	witness      *witness
	sampler      *sampler
}

// startBGPTrial brings everything up, or nothing.
func startBGPTrial(ctx context.Context, c bgpCandidate, s bgpSetting) (_ *bgpTrial, err error) {
	t := &bgpTrial{name: c.name(), setting: s}
	defer func() {
		if err != nil {
			err = errors.Join(t.explain(fmt.Errorf("bring up %s: %w", c.name(), err)), t.stop())
		}
	}()
	f := bgptest.IPv4
	if s.ipv6 {
		f = bgptest.IPv6
	}
	t.table = bgptest.NewTable(f, s.prefixes, tableSeed)
	if t.dir, err = os.MkdirTemp("", "multihomed-bench-"); err != nil {
		return nil, err
	}
	if err = t.build(f); err != nil {
		return nil, err
	}
	if err = t.startFar(ctx); err != nil {
		return nil, err
	}
	dir := filepath.Join(t.dir, "near")
	if err = os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	task := bgpTask{site: t.site, dir: dir, ipv6: s.ipv6, interval: s.interval, multiplier: s.multiplier}
	if t.near, err = c.startBGP(ctx, task); err != nil {
		return nil, err
	}
	t.sampler = startSampler(t.near.processes())
	if err = t.connect(ctx); err != nil {
		return nil, err
	}
	var devices []int
	for _, a := range t.site.Accesses {
		index, err := t.site.Edge.Index(a.Device)
		if err != nil {
			return nil, err
		}
		devices = append(devices, index)
	}
	t.witness, err = newWitness(t.site.Edge, s.ipv6, devices, chooseSamples(t.table, s.preference, s.peers))
	return t, err
}

// build makes the site, with destinations spread over the table.
func (t *bgpTrial) build(f bgptest.Family) (err error) {
	if t.lab, err = lab.New(lab.Options{Name: "bench"}); err != nil {
		return err
	}
	o := lab.SiteOptions{}
	for i := range t.setting.peers {
		o.ISPs = append(o.ISPs, lab.ISP{Name: fmt.Sprintf("isp%d", i+1)})
	}
	if t.site, err = lab.NewSite(t.lab, o); err != nil {
		return err
	}
	table := t.table
	if table.Len() == 0 {
		table = bgptest.NewTable(f, unusedPrefixes, tableSeed)
	}
	for _, i := range churnPool(table, bgptest.PreferFirst, t.setting.destinations) {
		a := table.Prefix(i).Addr().Next()
		if err := t.site.Internet.AddAddress("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
			return err
		}
		t.destinations = append(t.destinations, a)
	}
	if len(t.destinations) < t.setting.destinations {
		return fmt.Errorf("a table of %d prefixes has %d destinations, want %d", table.Len(), len(t.destinations), t.setting.destinations)
	}
	return nil
}

// startFar starts the far ends of BGP and BFD on each ISP.
func (t *bgpTrial) startFar(ctx context.Context) error {
	for i, a := range t.site.Accesses {
		line := a.Line(t.setting.ipv6)
		dir := filepath.Join(t.dir, a.Name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		p, err := startPeer(ctx, a.Host, dir, peerSpec{
			Local: line.Gateway, Remote: line.Source, AS: firstISPAS + uint32(i), IPv6: t.setting.ipv6,
			Prefixes: t.setting.prefixes, Seed: tableSeed, Slot: i, Preference: t.setting.preference,
		})
		if err != nil {
			return err
		}
		t.peers = append(t.peers, p)
		r, err := startRemote(ctx, a.Host, dir, roleFarEnd, spec{
			Device: a.FarDevice, Interval: t.setting.interval, Multiplier: t.setting.multiplier,
			Sessions: []sessionSpec{{Local: line.Gateway, Peer: line.Source}},
		})
		if err != nil {
			return err
		}
		t.bfd = append(t.bfd, r)
		if err := hurry(r.processes()[0].cmd.Process.Pid); err != nil {
			return err
		}
	}
	return nil
}

// connect waits until all sessions are established, those of BFD at their intended
// intervals.
func (t *bgpTrial) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.setting.startup)
	defer cancel()
	established := make(chan error, 1)
	go func() {
		_, err := t.together(func(p *farPeer) (peerReport, error) { return p.ask(ctx, peerCommand{Do: peerConnect}) })
		established <- err
	}()
	last := "BGP is not established"
	stands := false
	var since time.Time
	err := poll(ctx, func() (bool, error) {
		if err := t.checkAll(); err != nil {
			return false, err
		}
		select {
		case err := <-established:
			if err != nil {
				return false, err
			}
			stands = true
		default:
		}
		if !stands {
			return false, nil
		}
		for i, r := range t.bfd {
			report, err := r.ask(ctx, commandReport)
			if err != nil {
				return false, err
			}
			if report.Settled < 1 || report.Flaps > 0 {
				last = fmt.Sprintf("BFD of ISP %d flapped %d times: %s", i+1, report.Flaps, report.Unsettled)
				since = time.Time{}
				_, err := r.ask(ctx, commandBegin)
				return false, err
			}
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) >= quiet, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("after %v: %s", t.setting.startup, last)
	}
	return err
}

// wordsBytes of each log of a candidate are in an error.
const wordsBytes = 300

// explain adds the ends of the candidate's logs to an error.
func (t *bgpTrial) explain(err error) error {
	if t.near == nil {
		return err
	}
	var words []string
	for _, p := range t.near.processes() {
		text := p.excerpt()
		words = append(words, p.name+": "+text[max(0, len(text)-wordsBytes):])
	}
	return fmt.Errorf("%w; last words of %s", err, strings.Join(words, "; of "))
}

// together asks all far ends of BGP at once.
func (t *bgpTrial) together(f func(p *farPeer) (peerReport, error)) ([]peerReport, error) {
	reports, errs := make([]peerReport, len(t.peers)), make([]error, len(t.peers))
	done := make(chan struct{})
	for i, p := range t.peers {
		go func() {
			reports[i], errs[i] = f(p)
			done <- struct{}{}
		}()
	}
	for range t.peers {
		<-done
	}
	return reports, errors.Join(errs...)
}

// check returns an error if a process of the candidate ended.
func (t *bgpTrial) check() error {
	for _, p := range t.near.processes() {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// checkAll returns an error if a process of the candidate ended, or a session with a
// far end.
func (t *bgpTrial) checkAll() error {
	err := t.check()
	for i, p := range t.peers {
		if e := p.daemons[0].check(); e != nil {
			err = errors.Join(err, fmt.Errorf("ISP %d: %w", i+1, e))
		}
	}
	return err
}

// watchFlaps begins to count flaps of BFD; flaps returns how many there were since.
func (t *bgpTrial) watchFlaps(ctx context.Context) error {
	for _, r := range t.bfd {
		if _, err := r.ask(ctx, commandBegin); err != nil {
			return err
		}
	}
	return nil
}

func (t *bgpTrial) flaps(ctx context.Context) (n int, lateness time.Duration, err error) {
	for _, r := range t.bfd {
		report, err := r.ask(ctx, commandReport)
		if err != nil {
			return 0, 0, err
		}
		n += int(report.Flaps)
		lateness = max(lateness, report.WorstLateness)
	}
	return n, lateness, nil
}

// Calm is a candidate that uses less than calmShare of a core for calmFor.
const (
	calmFor    = time.Second
	calmShare  = 0.04
	calmWithin = 5 * time.Minute
)

// calm waits until the candidate has nothing to do any more.
func (t *bgpTrial) calm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, calmWithin)
	defer cancel()
	since := time.Now()
	last, _, _ := t.sampler.used()
	err := poll(ctx, func() (bool, error) {
		if err := t.checkAll(); err != nil {
			return false, err
		}
		took := time.Since(since)
		if took < calmFor {
			return false, nil
		}
		now, _, _ := t.sampler.used()
		share := (now - last).Seconds() / took.Seconds()
		since, last = time.Now(), now
		return share < calmShare, nil
	})
	if err != nil {
		return fmt.Errorf("wait until %s has nothing to do: %w", t.name, err)
	}
	return nil
}

// stop ends what was started, the candidate first.
func (t *bgpTrial) stop() error {
	var errs []error
	if t.sampler != nil {
		t.sampler.stop()
	}
	if t.near != nil {
		// It would take its routes out of the kernel, one after the other, and nobody
		// is left to care.
		for _, p := range t.near.processes() {
			errs = append(errs, p.kill())
		}
		errs = append(errs, t.near.stop())
	}
	for _, p := range t.peers {
		errs = append(errs, p.stop())
	}
	for _, r := range t.bfd {
		errs = append(errs, r.stop())
	}
	if t.witness != nil {
		errs = append(errs, t.witness.close())
	}
	if t.lab != nil {
		errs = append(errs, t.lab.Close())
	}
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}
