package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	scenarios  []scenario
	candidates []string
	sessions   []int
	families   []bool // IPv6?
	interval   time.Duration
	multiplier int
	duration   time.Duration
	floodFor   time.Duration
	startup    time.Duration
	runs       int
	rate       int
	heap       uint64 // MiB
	allocate   uint64 // MiB/s
	procs      []int
	output     string
	name       string
	profiles   string
	bgp        bgpOptions
}

const usageText = `Usage: go run ./bench [flags] [scenario...]

Measures multihomed, FRR and BIRD side by side, in network namespaces. Scenarios:
%s
Examples:
  go run ./bench                                             everything, some hours
  go run ./bench -sessions 100,1000 -candidates multihomed,frr bfd-scale
  go run ./bench -duration 5s -runs 5 -sessions 100 bfd-scale  short runs, with their spread
  go run ./bench -family both bfd-flood
  go run ./bench -procs default,8 bfd-heap
  go run ./bench -candidates multihomed -sessions 1000 -profiles /tmp bfd-scale
  go run ./bench -prefixes 500000 -peers 2 bgp-load
  go run ./bench -prefixes 0,500000 -candidates multihomed,bird bgp-failover

What becomes of multihomed, and of traffic through it, when others misbehave or when it
dies; these have flags of their own, behind the name (-h):

  go run ./bench bgp-malformed -time 5m
  go run ./bench bgp-misbehaviour -time 5m
  go run ./bench bgp-restart -n 500000

Progress goes to standard error, the table to standard output and, with all figures
as JSON, to the directory of -o. The exit code is 1 if a candidate failed.

Flags:
`

var candidateNames = []string{reference, "frr", "bird"}

// parseOptions reads the command line; errors were told by then, on w.
func parseOptions(args []string, w io.Writer) (options, error) {
	var o options
	var candidates, sessions, family, procs string
	var prefixes, peers string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(w)
	f.StringVar(&candidates, "candidates", strings.Join(candidateNames, ","), "who takes part")
	f.StringVar(&sessions, "sessions", "10,100,1000", "numbers of sessions of bfd-scale")
	f.StringVar(&family, "family", "ipv4", "ipv4, ipv6 or both")
	f.DurationVar(&o.interval, "interval", 50*time.Millisecond, "interval of both ends, whole milliseconds")
	f.IntVar(&o.multiplier, "multiplier", 3, "detection multiplier")
	f.DurationVar(&o.duration, "duration", time.Minute, "how long to measure, once all sessions are up")
	f.DurationVar(&o.floodFor, "flood-duration", 10*time.Second, "how long to flood")
	f.DurationVar(&o.startup, "startup", time.Minute, "how long sessions may take to come up")
	f.IntVar(&o.runs, "runs", 1, "runs of each case; figures are medians")
	f.IntVar(&o.rate, "rate", 100_000, "packets of garbage per second")
	f.Uint64Var(&o.heap, "heap", 1024, "live heap of bfd-heap, MiB")
	f.Uint64Var(&o.allocate, "allocate", 200, "allocation of bfd-heap, MiB/s")
	f.StringVar(&procs, "procs", fmt.Sprintf("default,%d", 4*runtime.NumCPU()), "values of GOMAXPROCS in bfd-heap; the first one is used in the other scenarios")
	f.StringVar(&o.output, "o", "bench/results", "directory for the results")
	f.StringVar(&o.name, "name", "", "name of the result's files, without extension; by default bfd, bgp or all")
	f.StringVar(&o.profiles, "profiles", "", "directory for CPU profiles of multihomed, none by default")
	o.bgp.flags(f, &prefixes, &peers)
	f.Usage = func() {
		var list strings.Builder
		for _, s := range scenarios {
			fmt.Fprintf(&list, "  %-12s %s\n", s.name, s.about)
		}
		fmt.Fprintf(w, usageText, list.String())
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	err := errors.Join(
		o.parseScenarios(f.Args()), o.parseCandidates(candidates), o.parseSessions(sessions), o.parseFamily(family), o.parseProcs(procs),
		o.bgp.parse(prefixes, peers), o.validate(), o.bgp.validate(),
	)
	if err != nil {
		fmt.Fprintln(w, err)
	}
	if o.name == "" {
		o.name = commonName(o.scenarios)
	}
	return o, err
}

// commonName is what the names of scenarios have in front of the hyphen, or "all".
func commonName(list []scenario) string {
	name := ""
	for _, s := range list {
		kind, _, _ := strings.Cut(s.name, "-")
		if name != "" && name != kind {
			return "all"
		}
		name = kind
	}
	return name
}

func (o *options) parseScenarios(names []string) error {
	if len(names) == 0 {
		o.scenarios = scenarios
	}
	var errs []error
	for _, name := range names {
		s, err := findScenario(name)
		errs = append(errs, err)
		o.scenarios = append(o.scenarios, s)
	}
	return errors.Join(errs...)
}

func (o *options) parseCandidates(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		if !slices.Contains(candidateNames, name) {
			return fmt.Errorf("candidate %q: want %s", name, strings.Join(candidateNames, ", "))
		}
		o.candidates = append(o.candidates, name)
	}
	return nil
}

func (o *options) parseSessions(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("sessions %q: want numbers from 1 to 10000", word)
		}
		o.sessions = append(o.sessions, n)
	}
	return nil
}

func (o *options) parseFamily(word string) error {
	switch word {
	case "ipv4":
		o.families = []bool{false}
	case "ipv6":
		o.families = []bool{true}
	case "both":
		o.families = []bool{false, true}
	default:
		return fmt.Errorf("family %q: want ipv4, ipv6 or both", word)
	}
	return nil
}

func (o *options) parseProcs(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		if word == "default" {
			o.procs = append(o.procs, 0)
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 1024 {
			return fmt.Errorf("procs %q: want default or numbers from 1 to 1024", word)
		}
		o.procs = append(o.procs, n)
	}
	return nil
}

func (o *options) validate() error {
	var errs []error
	need := func(ok bool, text string, value any) {
		if !ok {
			errs = append(errs, fmt.Errorf(text, value))
		}
	}
	need(o.interval >= 10*time.Millisecond && o.interval%time.Millisecond == 0, "interval %v: want whole milliseconds, 10ms or more: FRR and BIRD know no less", o.interval)
	need(o.multiplier >= 2 && o.multiplier <= 255, "multiplier %d: want 2 to 255: FRR knows no less", o.multiplier)
	need(o.duration > 0, "duration %v: want more than 0", o.duration)
	need(o.floodFor > 0, "flood-duration %v: want more than 0", o.floodFor)
	need(o.startup > 0, "startup %v: want more than 0", o.startup)
	need(o.runs >= 1, "runs %d: want 1 or more", o.runs)
	need(o.rate >= 1, "rate %d: want 1 or more", o.rate)
	return errors.Join(errs...)
}

func (o options) setting(sessions int, ipv6 bool) setting {
	return setting{sessions: sessions, ipv6: ipv6, interval: o.interval, multiplier: o.multiplier, startup: o.startup}
}

// settings are what a reader of the result has to know.
func (o options) settings() map[string]string {
	m := map[string]string{
		"interval":       o.interval.String(),
		"multiplier":     strconv.Itoa(o.multiplier),
		"duration":       o.duration.String(),
		"flood-duration": o.floodFor.String(),
		"rate":           strconv.Itoa(o.rate),
		"runs":           strconv.Itoa(o.runs),
		"GOMAXPROCS":     strings.TrimPrefix(procsName(o.procs[0]), "GOMAXPROCS "),
	}
	o.bgp.addSettings(m)
	return m
}
