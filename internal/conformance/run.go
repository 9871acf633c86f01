package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// test is one test function: the directory of its package, from the root of the
// module, and its name.
type test struct{ dir, name string }

// result is how a test ended.
type result struct {
	outcome outcome
	// why it did not run, in words.
	why     string
	elapsed time.Duration
}

// outcome says what became of a test or a row. Of several the highest counts.
type outcome uint8

// Outcomes.
const (
	// unknown: nobody asked.
	unknown outcome = iota
	// none: there is no test.
	none
	passed
	notRun
	failed
)

// String returns the word of reports.
func (o outcome) String() string {
	switch o {
	case unknown:
		return "-"
	case none:
		return "none"
	case passed:
		return "pass"
	case notRun:
		return "not run"
	case failed:
		return "FAIL"
	default:
		panic(fmt.Sprintf("conformance: unhandled outcome %d", uint8(o)))
	}
}

// MarshalText gives JSON the same word.
func (o outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil } //nolint:unparam // the interface wants it

const (
	// testTimeout bounds the tests of one package.
	testTimeout = "20m"
	// progressEvery is how often a run that goes well says so.
	progressEvery = 10 * time.Second
	// keptLines of what a test printed are shown if it fails, from its begin and
	// from its end: logs are long, and what went wrong may be told before them.
	keptLines = 100
	// maxEventBytes bounds a line of go test.
	maxEventBytes = 4 << 20
)

// runner runs tests by go test.
type runner struct {
	dir       string
	arguments []string
	progress  io.Writer
}

// run runs the tests, each once, and returns how each ended. An error means that
// nothing can be said of any.
func (r runner) run(ctx context.Context, tests []test) (map[test]result, error) {
	if len(tests) == 0 {
		return map[test]result{}, nil
	}
	module, err := modulePath(r.dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, cmp.Or(os.Getenv("GO"), "go"), arguments(tests, r.arguments)...) //nolint:gosec // GO is the caller's
	cmd.Dir, cmd.Stderr = r.dir, r.progress
	// Tests put away what they have built.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = progressEvery
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run go test: %w", err)
	}
	c := newCollector(module, tests, r.progress)
	readErr := c.read(out)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("run go test: %w", ctx.Err())
	}
	// A test that failed is a result. A go test that says nothing is none.
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !c.heard) {
		return nil, fmt.Errorf("run go test: %w", err)
	}
	if readErr != nil {
		return nil, fmt.Errorf("read what go test says: %w", readErr)
	}
	return c.finish(), nil
}

// arguments returns those of go. Packages take their turn: many tests measure how long
// something takes, and are not to disturb each other.
func arguments(tests []test, more []string) []string {
	var names, dirs []string
	for _, t := range tests {
		names, dirs = append(names, t.name), append(dirs, "./"+t.dir)
	}
	slices.Sort(names)
	slices.Sort(dirs)
	args := []string{
		"test", "-json", "-count=1", "-p=1", "-timeout", testTimeout,
		"-run", "^(" + strings.Join(slices.Compact(names), "|") + ")$",
	}
	return append(append(args, more...), slices.Compact(dirs)...)
}

var moduleLine = regexp.MustCompile(`(?m)^module (\S+)`)

func modulePath(dir string) (string, error) {
	text, err := os.ReadFile(dir + "/go.mod")
	if err != nil {
		return "", fmt.Errorf("read module: %w", err)
	}
	m := moduleLine.FindSubmatch(text)
	if m == nil {
		return "", errors.New("read module: go.mod has no line that begins with module")
	}
	return string(m[1]), nil
}

// event is a line of go test -json, see `go doc test2json`.
type event struct {
	Action, Package, Test, Output, FailedBuild string
	Elapsed                                    float64
}

// collector makes results of events.
type collector struct {
	module   string
	progress io.Writer
	results  map[test]result
	// output of tests that run, by test.
	output map[test][]string
	// broken has what is wrong with whole packages, by directory.
	broken    map[string]string
	heard     bool
	done, bad int
	spoken    time.Time
}

// started is the result of a test that has begun.
var started = result{outcome: unknown}

func newCollector(module string, tests []test, progress io.Writer) *collector {
	c := &collector{
		module: module, progress: progress, results: map[test]result{}, output: map[test][]string{}, broken: map[string]string{},
		spoken: time.Now(),
	}
	for _, t := range tests {
		c.results[t] = result{outcome: notRun}
	}
	return c
}

func (c *collector) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventBytes)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// Not an event, but it may say why there are none.
			fmt.Fprintf(c.progress, "%s\n", lines.Bytes())
			continue
		}
		c.heard = true
		c.take(e)
	}
	if err := lines.Err(); err != nil {
		// Nobody would read what comes now, and go test would wait for it.
		if _, copyErr := io.Copy(io.Discard, r); copyErr != nil {
			return errors.Join(err, copyErr)
		}
		return fmt.Errorf("read line: %w", err)
	}
	return nil
}

// take takes one event.
func (c *collector) take(e event) {
	dir := "."
	if inner, ok := strings.CutPrefix(e.Package, c.module+"/"); ok {
		dir = inner
	}
	name, _, sub := strings.Cut(e.Test, "/")
	t := test{dir, name}
	_, known := c.results[t]
	switch {
	case e.Action == "build-output":
		fmt.Fprint(c.progress, e.Output)
	case e.Test == "":
		c.takePackage(dir, e)
	case !known:
	case e.Action == "output":
		c.keep(t, e.Output)
	case sub:
	case e.Action == "run":
		c.results[t] = started
	case e.Action == "pass", e.Action == "fail", e.Action == "skip":
		c.end(t, e)
	}
}

// takePackage takes an event of a whole package.
func (c *collector) takePackage(dir string, e event) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(c.progress, "%s: done after %.1f s\n", dir, e.Elapsed)
	case "fail":
		c.broken[dir] = "the tests of the package ended before"
		if e.FailedBuild != "" {
			c.broken[dir] = "the package does not build"
		}
		fmt.Fprintf(c.progress, "%s: FAIL after %.1f s\n", dir, e.Elapsed)
	case "output":
		// The words of go test about a package; those for success say nothing.
		if !strings.HasPrefix(e.Output, "ok ") && e.Output != "PASS\n" {
			fmt.Fprint(c.progress, e.Output)
		}
	}
}

func (c *collector) keep(t test, line string) {
	c.output[t] = append(c.output[t], line)
	if n := len(c.output[t]); n > 2*keptLines {
		c.output[t][keptLines] = "        …\n"
		c.output[t] = slices.Delete(c.output[t], keptLines+1, keptLines+2)
	}
}

// end takes the end of a test.
func (c *collector) end(t test, e event) {
	r := result{elapsed: time.Duration(e.Elapsed * float64(time.Second))}
	switch e.Action {
	case "pass":
		r.outcome = passed
	case "skip":
		r.outcome, r.why = notRun, "skipped"
	default:
		r.outcome = failed
	}
	c.results[t] = r
	c.done++
	if r.outcome != passed {
		c.bad++
		fmt.Fprintf(c.progress, "%s: %s: %s\n%s", t.dir, t.name, r.outcome, strings.Join(c.output[t], ""))
	}
	delete(c.output, t)
	if now := time.Now(); now.Sub(c.spoken) >= progressEvery {
		c.spoken = now
		fmt.Fprintf(c.progress, "%d of %d tests, %d failed\n", c.done, len(c.results), c.bad)
	}
}

// finish returns the results. A test that began and did not end took its package
// along.
func (c *collector) finish() map[test]result {
	for t, r := range c.results {
		switch {
		case r == started:
			r = result{outcome: failed, why: "it did not end"}
			fmt.Fprintf(c.progress, "%s: %s did not end:\n%s", t.dir, t.name, strings.Join(c.output[t], ""))
		case r.outcome == notRun && r.why == "":
			r.why = cmp.Or(c.broken[t.dir], "go test does not have it: a build constraint?")
		}
		c.results[t] = r
	}
	return c.results
}
