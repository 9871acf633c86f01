package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// frr is the bfdd of FRRouting, with the zebra that tells it of interfaces. zebra
// has nothing to do while sessions run, but its memory counts: bfdd does not work
// without it.
type frr struct{}

const (
	frrZebra = "/usr/lib/frr/zebra"
	frrBFD   = "/usr/lib/frr/bfdd"
	// frrUser and frrGroup: the daemons of Debian insist on the group of their control
	// sockets. They stay root, because the kernel's promise to end them with us does
	// not survive a change of user.
	frrUser, frrGroup = "root", "frrvty"
	// frrFiles is the number of descriptors that bfdd asks for: a socket for each
	// session, and some.
	frrFiles = 12000
)

func (frr) name() string { return "frr" }

func (frr) version(ctx context.Context) (string, error) {
	out, err := ask(ctx, frrBFD, "--version")
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w; get it with: %s", err, install)
	}
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(out, "\n")
	return "FRR " + strings.TrimPrefix(first, "bfdd version "), nil
}

// frrRunning asks bfdd by its vty socket in dir.
type frrRunning struct {
	daemons
	dir string
}

func (frr) start(ctx context.Context, t task) (running, error) {
	if err := os.WriteFile(filepath.Join(t.dir, "zebra.conf"), nil, 0o600); err != nil {
		return nil, fmt.Errorf("configure zebra: %w", err)
	}
	if err := os.WriteFile(filepath.Join(t.dir, "bfdd.conf"), []byte(frrConfig(t)), 0o600); err != nil {
		return nil, fmt.Errorf("configure bfdd: %w", err)
	}
	r := &frrRunning{dir: t.dir}
	for _, d := range []struct {
		name, path string
		args       []string
	}{
		{"zebra", frrZebra, nil},
		{"bfdd", frrBFD, []string{"--bfdctl", filepath.Join(t.dir, "bfdd.ctl"), "--limit-fds", strconv.Itoa(frrFiles)}},
	} {
		args := append([]string{
			"-u", frrUser, "-g", frrGroup, "--vty_socket", t.dir, "-P", "0", "--log", "stdout", "--log-level", "debug",
			"-z", filepath.Join(t.dir, "zserv"),
			"-f", filepath.Join(t.dir, d.name+".conf"), "-i", filepath.Join(t.dir, d.name+".pid"),
		}, d.args...)
		p, err := startProcess(t.wire.near, t.dir, d.name, exec.CommandContext(ctx, d.path, args...))
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		r.daemons = append(r.daemons, p)
		// bfdd tries zebra again only after seconds.
		if err := r.answers(ctx, p); err != nil {
			return nil, errors.Join(err, r.stop())
		}
	}
	return r, nil
}

// frrConfig has the timers in a profile, because the time that bfdd takes to read
// a configuration grows with the square of its lines. Peer events are changes of
// sessions and not packets: nothing is logged while nothing happens.
func frrConfig(t task) string {
	var b strings.Builder
	b.WriteString("debug bfd peer\nbfd\n profile bench\n")
	fmt.Fprintf(&b, "  detect-multiplier %d\n", t.multiplier)
	fmt.Fprintf(&b, "  receive-interval %d\n  transmit-interval %d\n exit\n", t.interval.Milliseconds(), t.interval.Milliseconds())
	for _, p := range t.wire.pairs {
		fmt.Fprintf(&b, " peer %s local-address %s interface %s\n  profile bench\n exit\n", p.far, p.near, device)
	}
	b.WriteString("exit\n")
	return b.String()
}

// answersWithin is how long a daemon may take until it can be asked; it reads its
// configuration before, and that of a thousand sessions takes FRR half a minute.
const answersWithin = 3 * time.Minute

// answers waits until a daemon can be asked.
func (r *frrRunning) answers(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	var last error
	err := poll(ctx, func() (bool, error) {
		if err := p.check(); err != nil {
			return false, err
		}
		_, last = ask(ctx, "vtysh", "--vty_socket", r.dir, "-d", p.name, "-c", "show version")
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", p.name, errors.Join(err, last))
	}
	return nil
}

func (r *frrRunning) up(ctx context.Context) (int, error) {
	for _, p := range r.daemons {
		if err := p.check(); err != nil {
			return 0, err
		}
	}
	out, err := ask(ctx, "vtysh", "--vty_socket", r.dir, "-d", "bfdd", "-c", "show bfd peers json")
	if err != nil {
		return 0, err
	}
	var peers []struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal([]byte(out), &peers); err != nil {
		return 0, fmt.Errorf("read peers of bfdd: %w", err)
	}
	n := 0
	for _, p := range peers {
		if p.Status == "up" {
			n++
		}
	}
	return n, nil
}

func (r *frrRunning) flaps() (int, error) {
	bfdd := r.daemons[len(r.daemons)-1]
	return countFlaps(bfdd.log, frrFlap)
}

// frrFlap is in the log for each session that leaves Up.
var frrFlap = regexp.MustCompile(`(?m)state-change: \[.*\] up -> `)
