package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// daemon is the whole of multihomed, with its speaker in a process of its own.
type daemon struct {
	// path of the program; "" builds it when it is needed first.
	path string

	once sync.Once
	dir  string
	err  error
}

func (*daemon) name() string { return reference }

func (*daemon) version(ctx context.Context) (string, error) { return own{}.version(ctx) }

// program returns the path of the program, built from these sources if need be.
func (d *daemon) program(ctx context.Context) (string, error) {
	if d.path != "" {
		return filepath.Abs(d.path)
	}
	d.once.Do(func() {
		if d.dir, d.err = os.MkdirTemp("", "multihomed-bench-"); d.err == nil {
			d.err = build(ctx, filepath.Join(d.dir, reference))
		}
	})
	return filepath.Join(d.dir, reference), d.err
}

// close removes what was built.
func (d *daemon) close() error {
	if d.dir == "" {
		return nil
	}
	return os.RemoveAll(d.dir)
}

// build makes the program from these sources.
func build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/multihomed/multihomed/cmd/multihomed")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build multihomed: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// startBGP runs it with its defaults, but for BFD and full tables.
func (d *daemon) startBGP(ctx context.Context, t bgpTask) (bgpRunning, error) {
	program, err := d.program(ctx)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "multihomed.yaml")
	if err := os.WriteFile(conf, []byte(daemonConfig(t)), 0o600); err != nil {
		return nil, fmt.Errorf("configure multihomed: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, "run", "--config", conf, "--socket", filepath.Join(t.dir, "status.sock"))
	p, err := startProcess(t.site.Edge, t.dir, reference, cmd)
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return daemons{p}, nil
}

func daemonConfig(t bgpTask) string {
	var b strings.Builder
	fmt.Fprintf(&b, "bgp:\n  as: %d\n  router-id: %s\nuplinks:\n", siteAS, t.routerID())
	for i, line := range t.lines() {
		a := t.site.Accesses[i]
		fmt.Fprintf(&b, "  - name: %s\n    interface: %s\n    gateway: %s\n    source: %s\n", a.Name, a.Device, line.Gateway, line.Source)
		fmt.Fprintf(&b, "    bfd: {interval: %v, multiplier: %d}\n", t.interval, t.multiplier)
		fmt.Fprintf(&b, "    bgp: {peer-as: %d, import: full, max-prefixes: 2100000}\n", firstISPAS+i)
	}
	return b.String()
}
