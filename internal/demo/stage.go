package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
	"github.com/multihomed/multihomed/internal/status"
)

const (
	isp1, isp2 = "isp1", "isp2"
	// flowsPerFamily must be more than the buckets of a group (60) need to be
	// busy nearly all: when an uplink returns, a resilient group hands it idle
	// buckets first, and of busy ones only those that exceed the share of the
	// others. With few flows all of them would rightly stay where they are.
	flowsPerFamily = 100
	// flowRate makes 6,000 packets per second of them, which two busy cores
	// forward, and measures an outage to 33 ms.
	flowRate = 30
)

// stage is the real world: a site, its traffic, taps and the daemon.
type stage struct {
	lab    *lab.Lab
	site   *lab.Site
	flows  *lab.Flows
	taps   map[string]*lab.Tap
	daemon *daemon
	dir    string
	// ppp is false where there are no TUN devices: isp2 is ethernet then.
	ppp bool
}

// newStage builds everything and starts the daemon and the traffic.
func newStage(ctx context.Context, exe string, p *printer) (*stage, error) {
	s := &stage{taps: map[string]*lab.Tap{}}
	if err := s.build(ctx, exe, p); err != nil {
		return nil, errors.Join(err, s.close(true))
	}
	return s, nil
}

func (s *stage) build(ctx context.Context, exe string, p *printer) (err error) {
	if s.dir, err = os.MkdirTemp("", "multihomed-demo-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := s.buildSite(p); err != nil {
		return err
	}
	p.note("built", "lan - edge - %s and %s - internet", s.lineWords(isp1), s.lineWords(isp2))
	config := filepath.Join(s.dir, "multihomed.yaml")
	text, err := configuration(s.site)
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	s.daemon, err = startDaemon(s.site.Edge, exe, config, s.dir)
	if err != nil {
		return err
	}
	p.note("daemon", "%s run, process %d, configuration %s", exe, s.daemon.cmd.Process.Pid, config)
	if err := s.startTraffic(); err != nil {
		return err
	}
	p.note("traffic", "%d flows of %d packets per second from the LAN to %d addresses, half of them IPv6",
		2*flowsPerFamily, flowRate, 2*flowsPerFamily)
	return context.Cause(ctx)
}

// buildSite makes the second ISP point-to-point if the machine lets us.
func (s *stage) buildSite(p *printer) error {
	err := s.tryBuildSite(true)
	if errors.Is(err, lab.ErrNoTUN) {
		p.note("no PPP", "%v; %s is ethernet too", err, isp2)
		err = errors.Join(s.lab.Close(), s.tryBuildSite(false))
	}
	return err
}

func (s *stage) tryBuildSite(ppp bool) (err error) {
	if s.lab, err = lab.New(lab.Options{Name: "demo"}); err != nil {
		return err
	}
	s.ppp = ppp
	s.site, err = lab.NewSite(s.lab, lab.SiteOptions{
		ISPs:    []lab.ISP{{Name: isp1}, {Name: isp2, PointToPoint: ppp}},
		Targets: flowsPerFamily,
	})
	return err
}

func (s *stage) startTraffic() error {
	for _, a := range s.site.Accesses {
		tap, err := lab.NewTap(a.Host, a.FarDevice)
		if err != nil {
			return err
		}
		s.taps[a.Name] = tap
	}
	// Even flows are IPv4, odd ones IPv6: traffic relies on it.
	var to []netip.Addr
	for i, four := range s.site.Destinations(false) {
		to = append(to, four, s.site.Destinations(true)[i])
	}
	var err error
	s.flows, err = lab.StartFlows(lab.FlowOptions{
		From: s.site.LAN, To: s.site.Internet, Destinations: to, Flows: len(to), Rate: flowRate,
	})
	return err
}

// lineWords describes the line to an ISP.
func (s *stage) lineWords(isp string) string {
	for _, a := range s.site.Accesses {
		if a.Name == isp && a.PointToPoint {
			return fmt.Sprintf("%s (%s, point-to-point, weight %d)", isp, a.Device, weights[isp])
		} else if a.Name == isp {
			return fmt.Sprintf("%s (%s, ethernet, weight %d)", isp, a.Device, weights[isp])
		}
	}
	return isp
}

// act does it to the site.
func (s *stage) act(a action) error {
	switch a.kind {
	case cut, uncut:
		return s.site.CutSilently(a.isp, a.kind == cut)
	case unplug, plug:
		return s.site.Carrier(a.isp, a.kind == plug)
	case hangUp:
		return s.site.DeletePPP(a.isp)
	case dial:
		access, err := s.site.Access(a.isp)
		if err != nil {
			return err
		}
		return s.site.CreatePPP(a.isp, access.IPv4.Source.Next(), access.IPv6.Source.Next())
	case kindUnknown:
		panic("demo: action without a kind")
	default:
		panic(fmt.Sprintf("demo: no action %d", a.kind))
	}
}

// traffic joins what the flows and the taps know.
func (s *stage) traffic(from, to time.Time) traffic {
	r := s.flows.Watch(from, to)
	t := traffic{
		flows: len(r.Flows), lost: r.Lost, longest: r.Longest.Duration, by: map[string][2]int{},
		overrun: r.SinkDropped + r.Unsent,
	}
	for _, one := range r.Flows {
		switch {
		case one.Lost > 0:
			t.hit++
		case one.Received > 0:
			t.arriving++
		}
	}
	for isp, tap := range s.taps {
		var by [2]int
		for flow := range tap.SeenSince(s.flows, from) {
			by[flow%2]++
		}
		t.by[isp] = by
	}
	return t
}

func (s *stage) status(ctx context.Context) (status.Status, error) { return s.daemon.status(ctx) }

func (s *stage) alive() error { return s.daemon.alive() }

// trials are the failures to play.
func (s *stage) trials(quick bool) []trial {
	all := []trial{{
		title:    "isp1 drops silently",
		broken:   "isp1 drops everything that it should forward; the carrier stays and its gateway answers",
		repaired: "isp1 forwards again",
		failure:  action{isp1, cut}, repair: action{isp1, uncut},
	}}
	if s.ppp {
		all = append(all, trial{
			title:    "PPP of isp2 hangs up",
			broken:   "the PPP session of isp2 ends, its device is gone",
			repaired: "isp2 has a new PPP session: a new device with other addresses",
			failure:  action{isp2, hangUp}, repair: action{isp2, dial},
		})
	} else {
		all = append(all, trial{
			title:    "cable of isp2 pulled",
			broken:   "the cable of isp2 is pulled",
			repaired: "the cable of isp2 is back",
			failure:  action{isp2, unplug}, repair: action{isp2, plug},
		})
	}
	if !quick {
		all = append(all, trial{
			title:    "cable of isp1 pulled",
			broken:   "the cable of isp1 is pulled",
			repaired: "the cable of isp1 is back",
			failure:  action{isp1, unplug}, repair: action{isp1, plug},
		})
	}
	return all
}

// trouble says where to look after a failed demo.
func (s *stage) trouble() string {
	return fmt.Sprintf("configuration and log are kept in %s; the log ends with:\n%s", s.dir, s.daemon.logTail())
}

// close ends everything; the directory is removed if nobody needs it.
func (s *stage) close(remove bool) error {
	var errs []error
	if s.flows != nil {
		errs = append(errs, s.flows.Stop())
	}
	if s.daemon != nil {
		errs = append(errs, s.daemon.stop())
	}
	for _, tap := range s.taps {
		errs = append(errs, tap.Close())
	}
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	if remove && s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
