package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestMain is the program itself where a test started it as an endpoint.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == roleFake {
		fakeMain()
	}
	if len(os.Args) == 2 && (os.Args[1] == roleCandidate || os.Args[1] == roleFarEnd || os.Args[1] == rolePeer) {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) == 2 && os.Args[1] == roleHold {
		if err := hold(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Most tests wait for timers, so more of them than there are cores can do so.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(lab.Main(m))
}

// patience is for what has to happen sooner or later on a busy machine.
const patience = 30 * time.Second

// testContext outlives the test's own context, so that what was started is stopped
// by its cleanup and not killed before.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

func newTestWire(t *testing.T, n int, ipv6 bool) *wire {
	t.Helper()
	w, err := newWire(testContext(t), n, ipv6)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// eventually waits until done.
func eventually(ctx context.Context, t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	if err := poll(ctx, done); err != nil {
		t.Fatalf("wait until %s: %v", what, err)
	}
}

// TestRun is the program from its command line to its files.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out, progress bytes.Buffer
	code := run([]string{"-candidates", "multihomed,bird", "-sessions", "2", "-duration", "200ms", "-o", dir, "-name", "x", "bfd-scale"},
		strings.NewReader(""), &out, &progress)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, &progress, &out)
	}
	for _, want := range []string{"## bfd-scale", "| 2 sessions, IPv4 | multihomed | 2 |", "| 2 sessions, IPv4 | bird | 2 |", "x multihomed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "x.md"))
	if err != nil || string(text) != out.String() {
		t.Errorf("the file is not what was printed: %v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "x.json")); err != nil {
		t.Error(err)
	}
}

func TestRun_refuses(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "Examples:"},
		{[]string{"bfd-nothing"}, 2, `scenario "bfd-nothing": want bfd-scale, bfd-heap, bfd-flood`},
		{[]string{"-sessions", "10,0"}, 2, `sessions "0"`},
		{[]string{"-sessions", "10001"}, 2, `sessions "10001"`},
		{[]string{"-candidates", "quagga"}, 2, `candidate "quagga"`},
		{[]string{"-family", "ipx"}, 2, `family "ipx"`},
		{[]string{"-procs", "0"}, 2, `procs "0"`},
		{[]string{"-runs", "0"}, 2, "runs 0"},
		{[]string{"-rate", "0"}, 2, "rate 0"},
		{[]string{"-interval", "9ms"}, 2, "interval 9ms"},
		{[]string{"-interval", "10500us"}, 2, "interval 10.5ms"},
		{[]string{"-multiplier", "1"}, 2, "multiplier 1"},
		{[]string{"-duration", "0s"}, 2, "duration 0s"},
		{[]string{"-flood-duration", "0s"}, 2, "flood-duration 0s"},
		{[]string{"-startup", "0s"}, 2, "startup 0s"},
		{[]string{"-prefixes", "10,-1"}, 2, `prefixes "-1"`},
		{[]string{"-peers", "3"}, 2, `peers "3"`},
		{[]string{"-flows", "0"}, 2, "flows 0"},
		{[]string{"-destinations", "101"}, 2, "destinations 101"},
		{[]string{"-flow-rate", "0"}, 2, "flow-rate 0"},
		{[]string{"-churn-rate", "0"}, 2, "churn-rate 0"},
		{[]string{"-churn-for", "0s"}, 2, "churn-for 0s"},
		{[]string{"-idle-for", "0s"}, 2, "idle-for 0s"},
		{[]string{"-loading", "0s"}, 2, "loading 0s"},
		{[]string{"-back-within", "0s"}, 2, "back-within 0s"},
		{[]string{"-nonsense"}, 2, "flag provided but not defined"},
	} {
		var out, progress bytes.Buffer
		if code := run(tc.args, strings.NewReader(""), &out, &progress); code != tc.code {
			t.Errorf("%q: exit code %d, want %d", tc.args, code, tc.code)
		}
		if !strings.Contains(progress.String(), tc.want) {
			t.Errorf("%q: no %q in %s", tc.args, tc.want, &progress)
		}
	}
}
