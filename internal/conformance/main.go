package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/multihomed/multihomed/internal/conformance/page"
)

// Exit codes.
const (
	exitOK = 0
	// exitFailure: a test failed or did not run.
	exitFailure = 1
	// exitUsage: the command line or the page is wrong.
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options is the command line.
type options struct {
	dir    string
	rows   string
	format format
	list   bool
	// arguments are for go test.
	arguments []string
}

// parseOptions reads the command line; an error has been told to stderr by then.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{format: text}
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "C", ".", "the root of the module")
	flags.StringVar(&o.rows, "rows", "", "only these ids or beginnings of ids, such as BFD-RX,NUD-08")
	flags.Var(&o.format, "o", "text, markdown or json")
	flags.BoolVar(&o.list, "list", false, "say what is named, and run nothing")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: conformance [flags] [-- flags of go test]\n\n"+
			"Runs the tests that %s names, and prints its rows with their results.\n\n", page.File)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, fmt.Errorf("read command line: %w", err)
	}
	o.arguments = flags.Args()
	return o, nil
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	root := os.DirFS(o.dir)
	rows, places, err := read(root, o.rows)
	if err != nil {
		fmt.Fprintf(stderr, "conformance: %v\n", err)
		return exitUsage
	}
	results := map[test]result{}
	if !o.list {
		r := runner{dir: o.dir, arguments: o.arguments, progress: stderr}
		if results, err = r.run(ctx, wanted(rows, places)); err != nil {
			fmt.Fprintf(stderr, "conformance: %v\n", err)
			return exitFailure
		}
	}
	rep := newReport(rows, places, results)
	if err := rep.write(stdout, o.format); err != nil {
		fmt.Fprintf(stderr, "conformance: %v\n", err)
		return exitFailure
	}
	if !o.list && rep.Summary.Failed+rep.Summary.NotRun > 0 {
		return exitFailure
	}
	return exitOK
}

// read returns the rows that are asked for, and all tests of the tree.
func read(root fs.FS, filter string) ([]page.Row, map[string][]page.Place, error) {
	words, err := fs.ReadFile(root, page.File)
	if err != nil {
		return nil, nil, fmt.Errorf("read page: %w; run this in the root of the module, or say where that is with -C", err)
	}
	rows, faults := page.Read(string(words))
	if len(faults) > 0 {
		return nil, nil, fmt.Errorf("read page: %s:%d: %s", page.File, faults[0].Line, faults[0].Text)
	}
	if rows, err = choose(rows, filter); err != nil {
		return nil, nil, err
	}
	places, err := page.Tests(root)
	if err != nil {
		return nil, nil, fmt.Errorf("read tree: %w", err)
	}
	return rows, places, nil
}

// choose returns the rows whose id begins with one of the words of filter, at whole
// parts of an id; all of them if there is none.
func choose(rows []page.Row, filter string) ([]page.Row, error) {
	beginnings := strings.FieldsFunc(filter, func(r rune) bool { return r == ',' || r == ' ' })
	if len(beginnings) == 0 {
		return rows, nil
	}
	begins := func(r page.Row, b string) bool { return r.ID == b || strings.HasPrefix(r.ID, b+"-") }
	for _, b := range beginnings {
		if !slices.ContainsFunc(rows, func(r page.Row) bool { return begins(r, b) }) {
			return nil, fmt.Errorf("choose rows: there is no %q in %s; want an id such as BFD-RX-07, or its beginning, such as BFD-RX", b, page.File)
		}
	}
	return slices.DeleteFunc(rows, func(r page.Row) bool {
		return !slices.ContainsFunc(beginnings, func(b string) bool { return begins(r, b) })
	}), nil
}

// wanted returns the tests that the rows name and the tree has.
func wanted(rows []page.Row, places map[string][]page.Place) []test {
	var tests []test
	for _, r := range rows {
		for _, named := range r.Tests {
			for _, p := range named.In(places) {
				if t := (test{p.Dir(), named.Name}); !slices.Contains(tests, t) {
					tests = append(tests, t)
				}
			}
		}
	}
	return tests
}
