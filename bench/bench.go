package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench runs scenarios.
type bench struct {
	options options
	// candidates that were asked for, in the order of the table.
	candidates    []candidate
	bgpCandidates []bgpCandidate
	progress      io.Writer
}

// scenario is one table.
type scenario struct {
	name, about string
	columns     []column
	// bare scenarios are about multihomed alone.
	bare bool
	run  func(b *bench, ctx context.Context, t *table) error
}

// scenarios in the order in which they run.
var scenarios = []scenario{
	scaleScenario, heapScenario, floodScenario,
	loadScenario, failoverScenario, churnScenario, idleScenario, floorScenario,
}

func findScenario(name string) (scenario, error) {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	if i >= 0 {
		return scenarios[i], nil
	}
	return scenario{}, fmt.Errorf("scenario %q: want %s", name, strings.Join(scenarioNames(), ", "))
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// all runs the scenarios that were asked for. What went wrong with a candidate is
// in the document; an error means that there is nothing to tell.
func (b *bench) all(ctx context.Context) (document, error) {
	d := document{Began: time.Now(), Settings: b.options.settings()}
	for _, c := range b.candidates {
		v, err := c.version(ctx)
		if err != nil {
			return d, fmt.Errorf("find %s: %w", c.name(), err)
		}
		d.Versions = append(d.Versions, v)
	}
	d.Versions = append(d.Versions, "Go "+strings.TrimPrefix(runtime.Version(), "go"))
	machine, err := describeMachine()
	if err != nil {
		return d, err
	}
	d.Machine = machine
	for _, s := range b.options.scenarios {
		t := table{Scenario: s.name, About: s.about, Columns: s.columns}
		if err := s.run(b, ctx, &t); err != nil {
			return d, fmt.Errorf("run %s: %w", s.name, err)
		}
		t.addRatios()
		d.Tables = append(d.Tables, t)
	}
	d.Took = time.Since(d.Began).Round(time.Second)
	d.Machine.LoadAfter, err = loadAverage()
	return d, err
}

// contest runs one case with several candidates, the runs in turn so that what
// disturbs the machine for a while disturbs them all.
func (b *bench) contest(ctx context.Context, t *table, name string, entrants []entrant) error {
	runs := make([][]sample, len(entrants))
	failures := make([]error, len(entrants))
	for run := range b.options.runs {
		for i, e := range entrants {
			if failures[i] != nil {
				continue
			}
			b.say("%s, %s, %s, run %d of %d", t.Scenario, name, e.name, run+1, b.options.runs)
			s, err := e.run(ctx)
			if ctx.Err() != nil {
				return errors.Join(ctx.Err(), err)
			}
			if err != nil {
				b.say("  failed: %v", err)
				failures[i] = err
				continue
			}
			b.say("  %s", s.line(t.Columns))
			runs[i] = append(runs[i], s)
		}
	}
	for i, e := range entrants {
		t.Rows = append(t.Rows, summarise(name, e.name, runs[i], failures[i]))
	}
	return nil
}

// entrant is one that takes part in a contest.
type entrant struct {
	name string
	run  func(ctx context.Context) (sample, error)
}

// say writes a line of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// try brings up one candidate, lets f measure, and ends it.
func (b *bench) try(ctx context.Context, c candidate, s setting, f func(t *trial) (sample, error)) (result sample, err error) {
	t, err := startTrial(ctx, c, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	return f(t)
}
