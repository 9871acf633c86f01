package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/multihomed/multihomed/internal/lab"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run returns the exit code: 0 if all went well, 1 if something failed, 2 for a
// command line that is wrong.
func run(args []string, in io.Reader, out, progress io.Writer) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if len(args) == 1 && (args[0] == roleCandidate || args[0] == roleFarEnd) {
		return exitCode(runEndpoint(ctx, in, out), progress)
	}
	if len(args) == 1 && args[0] == rolePeer {
		return exitCode(runPeer(ctx, in, out), progress)
	}
	if len(args) > 0 && adversities[args[0]] != nil {
		return adverse(ctx, args, out, progress)
	}
	o, err := parseOptions(args, progress)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	outer, code, err := lab.Enter()
	if err != nil {
		return exitCode(err, progress)
	}
	if outer {
		return code
	}
	return exitCode(measureAll(ctx, o, out, progress), progress)
}

func exitCode(err error, w io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, "bench:", err)
	return 1
}

func measureAll(ctx context.Context, o options, out, progress io.Writer) (err error) {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	profiles := o.profiles
	if profiles != "" {
		if profiles, err = filepath.Abs(profiles); err != nil {
			return fmt.Errorf("find directory for profiles: %w", err)
		}
	}
	b := &bench{options: o, progress: progress}
	whole := &daemon{path: o.bgp.daemon}
	defer func() { err = errors.Join(err, whole.close()) }()
	for _, name := range o.candidates {
		switch name {
		case reference:
			b.candidates = append(b.candidates, own{procs: o.procs[0], profiles: profiles})
			b.bgpCandidates = append(b.bgpCandidates, whole)
		case "frr":
			b.candidates = append(b.candidates, frr{})
			b.bgpCandidates = append(b.bgpCandidates, frr{})
		case "bird":
			b.candidates = append(b.candidates, bird{})
			b.bgpCandidates = append(b.bgpCandidates, bird{})
		default:
			panic("bench: unhandled candidate " + name)
		}
	}
	d, err := b.all(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, d.markdown())
	if err := d.write(o.output, o.name); err != nil {
		return err
	}
	if n := len(d.failures()); n > 0 {
		return fmt.Errorf("%d of the candidates failed; the table says how", n)
	}
	return nil
}

// raiseFileLimit raises the limit of open files, for the programs that are started
// too: BFD implementations have a socket for each session. The Go runtime would
// give them the old one back, unless it was set by hand.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files: %w", err)
	}
	return nil
}
