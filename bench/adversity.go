package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/multihomed/multihomed/internal/adversity"
	"github.com/multihomed/multihomed/internal/lab"
)

// adversities are no comparison: they look what becomes of multihomed, and of traffic
// through it, when others misbehave or when it dies. So they have flags of their own,
// behind their name, and print what was counted.
var adversities = map[string]func(context.Context, adversity.Options) (*adversity.Report, error){
	"bgp-malformed":    adversity.Malformed,
	"bgp-misbehaviour": adversity.Misbehaviour,
	"bgp-restart":      adversity.Restart,
}

// adverse runs the one that args begins with, and returns the exit code: 1 if something
// was seen that must not be.
func adverse(ctx context.Context, args []string, out, progress io.Writer) int {
	o, path, keep := adversity.Options{}, "", ""
	f := flag.NewFlagSet("bench "+args[0], flag.ContinueOnError)
	f.SetOutput(progress)
	f.DurationVar(&o.For, "time", 5*time.Minute, "how long others misbehave")
	prefixes := 20_000
	if args[0] == "bgp-restart" {
		prefixes = 500_000
	}
	f.IntVar(&o.Prefixes, "n", prefixes, "prefixes of both families from each well-behaved peer")
	f.IntVar(&o.Rate, "rate", 1000, "malformed messages per second of each session")
	f.IntVar(&o.Peers, "peers", 15, "uplinks whose peers send malformed messages, 1 to 60")
	f.DurationVar(&o.Patience, "patience", 3*time.Minute, "how long anything may take")
	f.DurationVar(&o.MemoryWithin, "memory-within", 5*time.Minute, "how long memory may take to return to its level")
	slack := f.Int64("memory-slack", 32, "how much above its level memory may stay, MiB")
	f.StringVar(&path, "daemon", "", "the program; by default it is built from these sources")
	f.StringVar(&keep, "keep", "", "directory in which what the daemon logs is kept, none by default")
	switch err := f.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case f.NArg() > 0 || o.For <= 0 || o.Prefixes < 1000 || o.Rate < 1 || o.Peers < 1 || o.Peers > 60:
		fmt.Fprintf(progress, "%s: want no more words, -time above 0, -n 1000 or more, -rate 1 or more, -peers 1 to 60\n", strings.Join(args, " "))
		return 2
	}
	o.MemorySlack = *slack << 20
	outer, code, err := lab.Enter()
	if outer && err == nil {
		return code
	}
	if err == nil {
		err = adverseWith(ctx, args[0], o, &daemon{path: path}, keep, out, progress)
	}
	return exitCode(err, progress)
}

// adverseWith runs one with a program.
func adverseWith(ctx context.Context, name string, o adversity.Options, d *daemon, keep string, out, progress io.Writer) (err error) {
	defer func() { err = errors.Join(err, d.close()) }()
	program, err := d.program(ctx)
	if err != nil {
		return err
	}
	if o.Dir = keep; keep == "" {
		if o.Dir, err = os.MkdirTemp("", "multihomed-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	o.Command = func(args ...string) *exec.Cmd { return exec.CommandContext(ctx, program, args...) }
	o.Say = func(line string) { fmt.Fprintln(progress, time.Now().Format(time.TimeOnly), line) }
	report, err := adversities[name](ctx, o)
	fmt.Fprintf(out, "## %s\n\n%s", name, report)
	if faults := report.Faults(); len(faults) > 0 {
		err = errors.Join(err, fmt.Errorf("%s: %d things that must not be", name, len(faults)))
	}
	return err
}

// adversityNames are sorted.
func adversityNames() []string {
	var names []string
	for name := range adversities {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
