package adversity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/lab"
	"github.com/multihomed/multihomed/internal/status"
)

// Options say with what, for how long and how much.
type Options struct {
	// Command returns the daemon's program with arguments, not started.
	Command func(args ...string) *exec.Cmd
	// Dir is an empty directory; what the daemon logs stays there, as daemon.log.
	Dir string
	// For is how long others misbehave.
	For time.Duration
	// Prefixes of both families that well-behaved peers announce, 1000 or more.
	Prefixes int
	// Rate of malformed messages of each session, per second, and the number of uplinks
	// whose peers send them, 1..60.
	Rate, Peers int
	// Patience bounds each wait.
	Patience time.Duration
	// MemoryWithin is how long memory may take to return to its level, and MemorySlack
	// how many octets above it are the same.
	MemoryWithin time.Duration
	MemorySlack  int64
	// Say, if not nil, hears every line as soon as it is known.
	Say func(line string)
}

const (
	siteAS     = 5000
	firstISPAS = 5001
	// bulkProtocol marks the routes to prefixes, smallProtocol all else.
	bulkProtocol, smallProtocol = 222, 221
	seed                        = 7
	// throughTable are the destinations of each family that lie in the table.
	throughTable = 10
)

// families are both, and their names.
var families = []struct {
	name string
	ipv6 bool
	wire bgptest.Family
}{{"ipv4", false, bgptest.IPv4}, {"ipv6", true, bgptest.IPv6}}

// uplink is one of the scene, in the order of the configuration. In its lines, PEER-AS
// and TARGETS stand for what fits.
type uplink struct {
	name  string
	lines string
	ppp   bool
}

// scene is a site with the daemon on its edge, and traffic.
type scene struct {
	Options
	ctx    context.Context
	report *Report
	lab    *lab.Lab
	site   *lab.Site
	tables map[bool]*bgptest.Table
	// targets are where the traffic goes.
	targets []netip.Addr
	daemon  *exec.Cmd
	exited  chan struct{}
	lives   int
	flows   *lab.Flows
	closers []func()
}

// newScene builds the site and writes the configuration.
func newScene(ctx context.Context, o Options, r *Report, uplinks []uplink) (s *scene, err error) {
	s = &scene{Options: o, ctx: ctx, report: r, tables: map[bool]*bgptest.Table{}}
	r.say = o.Say
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lab, err = lab.New(lab.Options{Name: "adversity"}); err != nil {
		return s, err
	}
	var so lab.SiteOptions
	for _, u := range uplinks {
		so.ISPs = append(so.ISPs, lab.ISP{Name: u.name, PointToPoint: u.ppp})
	}
	if s.site, err = lab.NewSite(s.lab, so); err != nil {
		return s, err
	}
	for _, f := range families {
		name := "net/" + f.name + "/fib_multipath_hash_policy"
		if err = s.site.Edge.Sysctl(name, "1"); err != nil {
			return s, err
		}
		n := o.Prefixes / 4
		if !f.ipv6 {
			n = o.Prefixes - n
		}
		s.tables[f.ipv6] = bgptest.NewTable(f.wire, n, seed)
		if err = s.addTargets(f.ipv6); err != nil {
			return s, err
		}
	}
	err = s.configure(uplinks)
	return s, err
}

// addTargets lets the traffic go to the site's usual addresses and to some in the table.
func (s *scene) addTargets(ipv6 bool) error {
	t, longest, found := s.tables[ipv6], 24, 0
	if ipv6 {
		longest = 48
	}
	s.targets = append(s.targets, s.site.Destinations(ipv6)[:throughTable]...)
	for i := 0; i < t.Len() && found < throughTable; i += max(1, t.Len()/200) {
		if p := t.Prefix(i); p.Bits() == longest {
			a := p.Addr().Next()
			if err := s.site.Internet.AddAddress("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
				return err
			}
			s.targets = append(s.targets, a)
			found++
		}
	}
	return nil
}

func (s *scene) configure(uplinks []uplink) error {
	var b strings.Builder
	fmt.Fprintf(&b, "hold: {up: 500ms, suppress: 1000000, reuse: 750}\ngroup: {idle-timer: 100ms, unbalanced-timer: 200ms}\n"+
		"bgp:\n  as: %d\n  router-id: 192.0.2.1\n  announce: [192.0.2.0/24, \"2001:db8:100::/48\"]\nuplinks:\n", siteAS)
	for i, u := range uplinks {
		a := s.site.Accesses[i]
		fmt.Fprintf(&b, "  - name: %s\n    interface: %s\n", a.Name, a.Device)
		if !u.ppp {
			fmt.Fprintf(&b, "    gateway: [%s, %q]\n", a.IPv4.Gateway, a.IPv6.Gateway)
		}
		if u.lines != "" {
			targets, err := s.site.Targets(u.name)
			if err != nil {
				return err
			}
			words := make([]string, len(targets))
			for i, a := range targets {
				words[i] = fmt.Sprintf("%q", a)
			}
			values := strings.NewReplacer("PEER-AS", fmt.Sprint(firstISPAS+i), "TARGETS", "["+strings.Join(words, ", ")+"]")
			fmt.Fprintf(&b, "    %s\n", values.Replace(u.lines))
		}
	}
	if err := os.WriteFile(s.file("multihomed.yaml"), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("configure the daemon: %w", err)
	}
	return nil
}

func (s *scene) file(name string) string { return filepath.Join(s.Dir, name) }

// start starts the daemon and waits until it has written the kernel.
func (s *scene) start() error {
	log, err := os.OpenFile(s.file("daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	cmd := s.Command("run", "--config", s.file("multihomed.yaml"), "--socket", s.file("mh.sock"))
	cmd.Stderr = log
	if err := errors.Join(s.site.Edge.Start(cmd), log.Close()); err != nil {
		return err
	}
	s.daemon, s.exited = cmd, make(chan struct{})
	s.lives++
	go func(exited chan struct{}) {
		_ = cmd.Wait() // How it ended is in its log.
		close(exited)
	}(s.exited)
	return s.until("the daemon is ready", func(st *status.Status) bool { return st.Ready && st.Kernel.InSync })
}

// alive reports whether the daemon that was started last has not ended.
func (s *scene) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// kill ends the daemon, if it runs, and waits for its end.
func (s *scene) kill(sig syscall.Signal) {
	if s.daemon == nil {
		return
	}
	_ = s.daemon.Process.Signal(sig) // It may have ended by itself.
	patience := time.NewTimer(s.Patience)
	defer patience.Stop()
	select {
	case <-s.exited:
	case <-patience.C:
		s.report.fault(false, "the daemon does not end on %v", sig)
		_ = s.daemon.Process.Kill()
		<-s.exited
	}
	s.daemon = nil
}

// close ends everything.
func (s *scene) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	if s.flows != nil {
		errs = append(errs, s.flows.Stop())
	}
	s.kill(syscall.SIGTERM)
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	return errors.Join(errs...)
}

func (s *scene) status() (status.Status, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	return status.Dial(s.file("mh.sock")).Get(ctx)
}

// until waits for what the status says.
func (s *scene) until(what string, ok func(st *status.Status) bool) error {
	var last error
	err := s.wait(what, func() bool {
		st, err := s.status()
		last = err
		return err == nil && ok(&st)
	})
	if err != nil && last != nil {
		err = fmt.Errorf("%w; the status says %w", err, last)
	}
	return err
}

// wait polls until ok, for Patience.
func (s *scene) wait(what string, ok func() bool) error {
	deadline := time.Now().Add(s.Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			return fmt.Errorf("wait until %s: not within %v", what, s.Patience)
		}
		if s.daemon != nil && !s.alive() {
			return fmt.Errorf("wait until %s: the daemon ended", what)
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, s.ctx.Err())
		}
	}
	return nil
}

// traffic starts the flows and waits until they all arrive.
func (s *scene) traffic() (err error) {
	s.flows, err = lab.StartFlows(lab.FlowOptions{From: s.site.LAN, To: s.site.Internet, Destinations: s.targets, Flows: 4 * len(s.targets), Rate: 20})
	if err != nil {
		return err
	}
	return s.wait("all flows arrive", func() bool {
		for _, f := range s.flows.Results().Flows {
			if f.Received == 0 {
				return false
			}
		}
		return true
	})
}

// arrived stops the flows and reports what was lost.
func (s *scene) arrived() error {
	err := s.flows.Stop()
	res := s.flows.Results()
	s.report.count("packets: %d sent, %d lost, %d of them in the receiver's buffers; %d flows", res.Sent, res.Lost, res.SinkDropped, len(res.Flows))
	lost := res.Lost - int(res.SinkDropped)
	s.report.fault(lost <= 0, "%d packets of %d lost, the longest outage %v of flow %d to %v", lost, res.Sent, res.Longest.Duration,
		res.Longest.Flow, res.Flows[res.Longest.Flow].Destination)
	return err
}
