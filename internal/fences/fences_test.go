package fences

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestFences holds this module against the rules.
func TestFences(t *testing.T) {
	found, err := check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// A walk that sees nothing would find nothing wrong.
func TestFences_seeTheModule(t *testing.T) {
	root := os.DirFS("../..")
	for _, name := range []string{"fib/object.go", "internal/status/server.go", "internal/fences/fences_test.go"} {
		f, err := parse(root, name)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.imports) == 0 || f.lines == 0 {
			t.Errorf("%s: %d imports, %d lines", name, len(f.imports), f.lines)
		}
	}
}

// Each fence is seen to fall, and each exception to hold.
func TestCheck(t *testing.T) {
	own := func(p string) string { return "\"" + module + "/" + p + "\"" }
	for _, tc := range []struct {
		name string
		// file has text; want are the rules that it breaks, with their lines.
		file, text string
		want       []string
	}{
		{"a leaf imports a leaf", "config/x.go", "package config\nimport _ " + own("fib"), []string{"2 import"}},
		{"a leaf imports the engine", "internal/probe/x.go", "package probe\nimport _ " + own("internal/engine"), []string{"2 import"}},
		{"uplink imports fib", "internal/uplink/x.go", "package uplink\nimport _ " + own("fib"), nil},
		{"the fences read the page", "internal/fences/x_test.go", "package fences\nimport _ " + own("internal/conformance/page"), nil},
		{"the fences import a leaf", "internal/fences/x_test.go", "package fences\nimport _ " + own("fib"), []string{"2 import"}},
		{"uplink imports netmon", "internal/uplink/x.go", "package uplink\nimport _ " + own("internal/netmon"), []string{"2 import"}},
		{"engine imports leaves", "internal/engine/x.go", "package engine\nimport _ " + own("internal/probe"), nil},
		{"engine imports cmd", "internal/engine/x.go", "package engine\nimport _ " + own("cmd/multihomed"), []string{"2 import"}},
		{"engine imports a lab", "internal/engine/x.go", "package engine\nimport _ " + own("internal/lab"), []string{"2 import"}},
		{"a test of the engine imports a lab", "internal/engine/x_test.go", "package engine\nimport _ " + own("internal/lab"), nil},
		{"a test imports its own package", "fib/x_test.go", "package fib_test\nimport _ " + own("fib"), nil},
		{"a test of a leaf imports a leaf", "fib/x_test.go", "package fib\nimport _ " + own("config"), []string{"2 import"}},
		{"cmd imports the engine", "cmd/multihomed/x.go", "package main\nimport _ " + own("internal/engine"), nil},
		{"an example imports fib", "examples/embed/x.go", "package main\nimport _ " + own("fib"), nil},
		{"an example imports what is internal", "examples/embed/x.go", "package main\nimport _ " + own("internal/netmon"), []string{"2 import"}},
		{"an unknown directory", "internal/util/x.go", "package util", []string{"1 package"}},

		{"netlink at home", "fib/x.go", "package fib\nimport _ \"github.com/vishvananda/netlink/nl\"", nil},
		{"netlink elsewhere", "internal/engine/x.go", "package engine\nimport _ \"github.com/vishvananda/netlink\"", []string{"2 library"}},
		{"netlink in a test", "internal/engine/x_test.go", "package engine\nimport _ \"github.com/vishvananda/netlink\"", nil},
		{"gobgp at home", "bgp/x.go", "package bgp\nimport _ \"github.com/osrg/gobgp/v4/api\"", nil},
		{"gobgp elsewhere", "internal/engine/x.go", "package engine\nimport _ \"github.com/osrg/gobgp/v4/api\"", []string{"2 library"}},
		{"prometheus elsewhere", "fib/x.go", "package fib\nimport _ \"github.com/prometheus/client_golang/prometheus\"", []string{"2 library"}},
		{"viper elsewhere", "cmd/multihomed/x.go", "package main\nimport _ \"github.com/spf13/viper\"", []string{"2 library"}},
		{"fsnotify elsewhere", "internal/engine/x.go", "package engine\nimport _ \"github.com/fsnotify/fsnotify\"", []string{"2 library"}},
		{"cobra elsewhere", "config/x.go", "package config\nimport _ \"github.com/spf13/cobra\"", []string{"2 library"}},

		{"os.Exit in a library", "fib/x.go", "package fib\nimport \"os\"\nfunc f() { os.Exit(1) }", []string{"3 exit"}},
		{"os.Exit by another name", "fib/x.go", "package fib\nimport o \"os\"\nvar _ = func() { o.Exit(1) }", []string{"3 exit"}},
		{"syscall.Exit", "fib/x.go", "package fib\nimport \"syscall\"\nfunc f() { syscall.Exit(1) }", []string{"3 exit"}},
		{"os.Exit in a command", "cmd/multihomed/x.go", "package main\nimport \"os\"\nfunc f() { os.Exit(1) }", nil},
		{"os.Exit in an example", "examples/embed/x.go", "package main\nimport \"os\"\nfunc f() { os.Exit(1) }", nil},
		{"os.Exit in a tool", "internal/conformance/x.go", "package main\nimport \"os\"\nfunc f() { os.Exit(1) }", nil},
		{"os.Exit in a library of a tool", "internal/conformance/page/x.go", "package page\nimport \"os\"\nfunc f() { os.Exit(1) }", []string{"3 exit"}},
		{"log.Fatal in an example", "examples/embed/x.go", "package main\nimport \"log\"\nfunc f() { log.Fatal() }", []string{"3 exit"}},
		{"os.Exit in a benchmark", "bench/x.go", "package main\nimport \"os\"\nfunc f() { os.Exit(1) }", nil},
		{"os.Exit in the lab", "internal/lab/x.go", "package lab\nimport \"os\"\nfunc f() { os.Exit(1) }", nil},
		{"os.Exit in TestMain", "fib/x_test.go", "package fib\nimport (\n\"os\"\n\"testing\"\n)\nfunc TestMain(m *testing.M) { os.Exit(m.Run()) }", nil},
		{"os.Exit in a test", "fib/x_test.go", "package fib\nimport (\n\"os\"\n\"testing\"\n)\nfunc TestX(t *testing.T) { os.Exit(0) }", []string{"6 exit"}},
		{"log.Fatal", "fib/x.go", "package fib\nimport \"log\"\nfunc f() { log.Fatalf(\"\") }", []string{"3 exit"}},
		{"log.Panic", "fib/x.go", "package fib\nimport \"log\"\nfunc f() { log.Panicln() }", []string{"3 exit"}},
		{"an Exit of our own", "fib/x.go", "package fib\ntype d struct{}\nfunc (d) Exit(int) {}\nfunc f(os d) { os.Exit(1) }", nil},
		{"recover", "fib/x.go", "package fib\nfunc f() { defer func() { _ = recover() }() }", []string{"2 recover"}},
		{"recover in a command", "cmd/multihomed/x.go", "package main\nfunc f() { defer func() { _ = recover() }() }", nil},
		{"recover in the engine", "internal/engine/x.go", "package engine\nfunc f() { defer func() { _ = recover() }() }", nil},
		{"recover in the monitor's guard", "internal/netmon/guard.go", "package netmon\nfunc f() { defer func() { _ = recover() }() }", nil},
		{"recover elsewhere in the monitor", "internal/netmon/x.go", "package netmon\nfunc f() { defer func() { _ = recover() }() }", []string{"2 recover"}},
		{"recover in a test", "fib/x_test.go", "package fib\nfunc f() { defer func() { _ = recover() }() }", nil},
		{"a method recover", "fib/x.go", "package fib\ntype d struct{}\nfunc (d) recover() {}\nfunc f(x d) { x.recover() }", nil},

		{"time.Sleep in a test", "fib/x_test.go", "package fib\nimport \"time\"\nfunc f() { time.Sleep(1) }", []string{"3 sleep"}},
		{"time.Sleep in a bubble", "fib/x_test.go", "package fib\nimport (\n\"testing\"\n\"testing/synctest\"\n\"time\"\n)\n" +
			"func TestX(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }", nil},
		{"time.Sleep beside synctest.Wait", "fib/x_test.go", "package fib\nimport (\n\"testing/synctest\"\n\"time\"\n)\n" +
			"func settle() { time.Sleep(1); synctest.Wait() }", nil},
		{"time.Sleep behind a bubble", "fib/x_test.go", "package fib\nimport (\n\"testing\"\n\"testing/synctest\"\n\"time\"\n)\n" +
			"func TestX(t *testing.T) {\nsynctest.Test(t, func(t *testing.T) {})\ntime.Sleep(1) }", []string{"9 sleep"}},
		{"time.Sleep in a program", "fib/x.go", "package fib\nimport \"time\"\nfunc f() { time.Sleep(1) }", nil},

		{"t.Skip", "fib/x_test.go", "package fib\nimport \"testing\"\nfunc TestX(t *testing.T) { t.Skip() }", []string{"3 skip"}},
		{"tb.Skipf in a helper", "fib/x_test.go", "package fib\nimport \"testing\"\nfunc h(tb testing.TB) { tb.Skipf(\"\") }", []string{"3 skip"}},
		{"b.SkipNow in a subtest", "fib/x_test.go", "package fib\nimport \"testing\"\nvar _ = func(b *testing.B) { b.SkipNow() }", []string{"3 skip"}},
		{"a Skip of our own", "fib/x_test.go", "package fib\nfunc h(lexer interface{ Skip() }) { lexer.Skip() }", nil},

		{"450 lines", "fib/x.go", "package fib" + strings.Repeat("\n", 450), nil},
		{"451 lines", "fib/x.go", "package fib" + strings.Repeat("\n", 451), []string{"450 length"}},
		{"testdata is not ours", "fib/testdata/x.go", "package x\nimport _ " + own("config"), nil},
		{"hidden directories are not ours", ".cache/x.go", "package x", nil},
		{"the root has no package", "x.go", "package multihomed", []string{"1 package"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, err := check(fstest.MapFS{tc.file: {Data: []byte(tc.text)}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, strings.Fields(strings.TrimPrefix(f.String(), tc.file+":"))[0]+" "+f.rule)
			}
			for i := range got {
				got[i] = strings.Replace(got[i], ":", "", 1)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s\n%v", diff, found)
			}
		})
	}
}

func TestCheck_otherModulesAreNotOurs(t *testing.T) {
	found, err := check(fstest.MapFS{
		"tools/go.mod": {Data: []byte("module tools")},
		"tools/x.go":   {Data: []byte("package tools")},
	})
	if err != nil || len(found) > 0 {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestCheck_reportsWhatItCannotRead(t *testing.T) {
	if _, err := check(fstest.MapFS{"fib/x.go": {Data: []byte("packet fib")}}); err == nil {
		t.Error("a file that is not Go passes")
	}
}
