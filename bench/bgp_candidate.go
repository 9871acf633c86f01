package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// bgpCandidate is an implementation of BGP that writes routes.
type bgpCandidate interface {
	name() string
	version(ctx context.Context) (string, error)
	// startBGP runs it on the edge of a site, with one session to each ISP.
	startBGP(ctx context.Context, t bgpTask) (bgpRunning, error)
}

// bgpRunning is one that was started. How it fares is asked of the far ends and of the
// kernel.
type bgpRunning interface {
	processes() []*process
	stop() error
}

// bgpTask is what a candidate is asked to do.
type bgpTask struct {
	site *lab.Site
	// dir is an empty directory.
	dir        string
	ipv6       bool
	interval   time.Duration
	multiplier int
}

// AS numbers of the site and of its first ISP; further ISPs have the next ones. None
// is in the paths of a table.
const (
	siteAS     = 5000
	firstISPAS = 5001
)

// lines are the addresses of the lines to the ISPs.
func (t bgpTask) lines() []lab.Line {
	var all []lab.Line
	for _, a := range t.site.Accesses {
		all = append(all, a.Line(t.ipv6))
	}
	return all
}

// routerID is the same for all candidates, and no address of an ISP.
func (t bgpTask) routerID() netip.Addr { return t.site.Accesses[0].IPv4.Source }

// startBGP runs BIRD with its defaults, but for BFD and what is needed to import and
// to write routes.
func (bird) startBGP(ctx context.Context, t bgpTask) (bgpRunning, error) {
	r := &birdRunning{socket: filepath.Join(t.dir, "bird.ctl"), log: filepath.Join(t.dir, "events.log")}
	conf := filepath.Join(t.dir, "bird.conf")
	if err := os.WriteFile(conf, []byte(birdBGPConfig(t, r.log)), 0o600); err != nil {
		return nil, fmt.Errorf("configure bird: %w", err)
	}
	cmd := exec.CommandContext(ctx, birdProgram(), "-f", "-c", conf, "-s", r.socket, "-P", filepath.Join(t.dir, "bird.pid"))
	p, err := startProcess(t.site.Edge, t.dir, "bird", cmd)
	if err != nil {
		return nil, err
	}
	r.daemons = daemons{p}
	if err := r.answers(ctx, p); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

func birdBGPConfig(t bgpTask, log string) string {
	channel := "ipv4"
	if t.ipv6 {
		channel = "ipv6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "log %q all;\nrouter id %s;\nprotocol device { }\n", log, t.routerID())
	fmt.Fprintf(&b, "protocol kernel { %s { import none; export all; }; }\n", channel)
	fmt.Fprintf(&b, "protocol bfd {\n  interface \"eth*\" { min rx interval %d ms; min tx interval %d ms; idle tx interval 1 s; multiplier %d; };\n}\n",
		t.interval.Milliseconds(), t.interval.Milliseconds(), t.multiplier)
	for i, line := range t.lines() {
		fmt.Fprintf(&b, "protocol bgp isp%d {\n  local %s as %d;\n  neighbor %s as %d;\n  bfd on;\n  %s { import all; export none; };\n}\n",
			i+1, line.Source, siteAS, line.Gateway, firstISPAS+i, channel)
	}
	return b.String()
}

// startBGP runs zebra, bfdd and bgpd with their defaults, but for BFD and the policies
// that RFC 8212 wants: everything in, nothing out, as for the others.
func (frr) startBGP(ctx context.Context, t bgpTask) (bgpRunning, error) {
	r := &frrRunning{dir: t.dir}
	for _, d := range []struct {
		name, path, config string
		args               []string
	}{
		{"zebra", frrZebra, "", nil},
		{"bfdd", frrBFD, frrProfile(t), []string{"--bfdctl", filepath.Join(t.dir, "bfdd.ctl"), "--limit-fds", strconv.Itoa(frrFiles)}},
		{"bgpd", frrBGP, frrBGPConfig(t), nil},
	} {
		conf := filepath.Join(t.dir, d.name+".conf")
		if err := os.WriteFile(conf, []byte(d.config), 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("configure %s: %w", d.name, err), r.stop())
		}
		args := append([]string{
			"-u", frrUser, "-g", frrGroup, "--vty_socket", t.dir, "-P", "0", "--log", "stdout", "--log-level", "debug",
			"-z", filepath.Join(t.dir, "zserv"), "-f", conf, "-i", filepath.Join(t.dir, d.name+".pid"),
		}, d.args...)
		p, err := startProcess(t.site.Edge, t.dir, d.name, exec.CommandContext(ctx, d.path, args...))
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		r.daemons = append(r.daemons, p)
		if err := r.answers(ctx, p); err != nil {
			return nil, errors.Join(err, r.stop())
		}
	}
	return r, nil
}

const frrBGP = "/usr/lib/frr/bgpd"

func frrProfile(t bgpTask) string {
	return fmt.Sprintf("debug bfd peer\nbfd\n profile bench\n  detect-multiplier %d\n  receive-interval %d\n  transmit-interval %d\n exit\nexit\n",
		t.multiplier, t.interval.Milliseconds(), t.interval.Milliseconds())
}

func frrBGPConfig(t bgpTask) string {
	family := "ipv4"
	if t.ipv6 {
		family = "ipv6"
	}
	var b, activate strings.Builder
	b.WriteString("route-map nothing deny 1\nexit\n")
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n", siteAS, t.routerID())
	for i, line := range t.lines() {
		fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s bfd profile bench\n", line.Gateway, firstISPAS+i, line.Gateway)
		fmt.Fprintf(&activate, "  neighbor %s activate\n  neighbor %s route-map nothing out\n", line.Gateway, line.Gateway)
	}
	fmt.Fprintf(&b, " address-family %s unicast\n%s exit-address-family\nexit\n", family, activate.String())
	return b.String()
}
