package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// bird is BIRD 2.
type bird struct{}

func (bird) name() string { return "bird" }

func (bird) version(ctx context.Context) (string, error) {
	out, err := ask(ctx, birdProgram(), "--version")
	return strings.TrimSpace(strings.Replace(out, "version ", "", 1)), err
}

// birdProgram finds it where Debian puts it, which is in the PATH of root only.
func birdProgram() string {
	if path, err := exec.LookPath("/usr/sbin/bird"); err == nil {
		return path
	}
	return "bird"
}

// birdRunning asks BIRD by its control socket, and reads its log for flaps.
type birdRunning struct {
	daemons
	socket, log string
}

func (bird) start(ctx context.Context, t task) (running, error) {
	r := &birdRunning{socket: filepath.Join(t.dir, "bird.ctl"), log: filepath.Join(t.dir, "events.log")}
	conf := filepath.Join(t.dir, "bird.conf")
	if err := os.WriteFile(conf, []byte(birdConfig(t, r.log)), 0o600); err != nil {
		return nil, fmt.Errorf("configure bird: %w", err)
	}
	cmd := exec.CommandContext(ctx, birdProgram(), "-f", "-c", conf, "-s", r.socket, "-P", filepath.Join(t.dir, "bird.pid"))
	p, err := startProcess(t.wire.near, t.dir, "bird", cmd)
	if err != nil {
		return nil, err
	}
	r.daemons = daemons{p}
	if err := r.answers(ctx, p); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

// birdConfig logs events, which are changes of sessions and not packets: nothing
// is written while nothing happens.
func birdConfig(t task, log string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log %q all;\nrouter id 192.0.2.1;\nprotocol device { }\nprotocol bfd {\n  debug { events };\n", log)
	fmt.Fprintf(&b, "  interface %q { min rx interval %d ms; min tx interval %d ms; idle tx interval 1 s; multiplier %d; };\n",
		device, t.interval.Milliseconds(), t.interval.Milliseconds(), t.multiplier)
	for _, p := range t.wire.pairs {
		fmt.Fprintf(&b, "  neighbor %s dev %q local %s;\n", p.far, device, p.near)
	}
	b.WriteString("}\n")
	return b.String()
}

// answers waits until BIRD can be asked.
func (r *birdRunning) answers(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	var last error
	err := poll(ctx, func() (bool, error) {
		if err := p.check(); err != nil {
			return false, err
		}
		_, last = ask(ctx, "birdc", "-r", "-s", r.socket, "show", "status")
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for bird: %w", errors.Join(err, last))
	}
	return nil
}

func (r *birdRunning) up(ctx context.Context) (int, error) {
	for _, p := range r.daemons {
		if err := p.check(); err != nil {
			return 0, err
		}
	}
	out, err := ask(ctx, "birdc", "-r", "-s", r.socket, "show", "bfd", "sessions")
	return birdUp(out), err
}

// birdUp counts the lines of sessions that are Up: address, interface, state.
func birdUp(sessions string) int {
	n := 0
	for line := range strings.Lines(sessions) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == device && f[2] == "Up" {
			n++
		}
	}
	return n
}

// birdFlap is in the log for each session that leaves Up.
var birdFlap = regexp.MustCompile(`(?m)changed state from Up to `)

func (r *birdRunning) flaps() (int, error) { return countFlaps(r.log, birdFlap) }
