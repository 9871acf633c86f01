package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/conformance/page"
)

// write makes a tree of files in a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const head = "| id | level | what is asked | shown by |\n|---|---|---|---|\n"

// fakeTree has a row for each way in which a row can end.
var fakeTree = map[string]string{
	"go.mod": "module example.org/fake\n\ngo 1.24\n",
	page.File: "## A.1 Colours\n\n" + head +
		"| BFD-RX-01 | M | Red is red. | `TestBFD_RX_01` in two packages |\n" +
		"| BFD-RX-02 | MN | Blue is not green. | `TestBFD_RX_02`, `red.TestBFD_RX_01` |\n" +
		"| BFD-RX-03 | S | A skipped one shows nothing. | `TestBFD_RX_03` |\n" +
		"| BFD-RX-04 | Y / S | Nobody has to. | not done: nobody asked, see [elsewhere](x.md) |\n" +
		"| BFD-RX-05 | T | It ends its process. | `TestBFD_RX_05` |\n" +
		"| BFD-RX-06 | T | It would come after that. | `TestBFD_RX_06` |\n" +
		"| BFD-RX-07 | M | It does not build. | `TestBFD_RX_07` |\n" +
		"| BFD-RX-08 | M | It is nowhere. | `TestBFD_RX_08` |\n" +
		"\n## A.2 Shapes\n\n| id | from | what is asked | shown by |\n|---|---|---|---|\n" +
		"| JA-01 | text | Seeds of a fuzz target count. | `FuzzJA_01` |\n",
	"red/x_test.go": "package red\n\nimport \"testing\"\n\nfunc TestBFD_RX_01(t *testing.T) {}\n" +
		"func TestBFD_RX_011(t *testing.T) { t.Fatal(\"nobody named me\") }\n" +
		"func FuzzJA_01(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, n int) {}) }\n",
	"red/blue/x_test.go": "package blue\n\nimport \"testing\"\n\nfunc TestBFD_RX_01(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\n" +
		"func TestBFD_RX_02(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"blue is green\") }) }\n" +
		"func TestBFD_RX_03(t *testing.T) { t.Skip(\"no time\") }\n",
	"end/x_test.go": "package end\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\n" +
		"func TestBFD_RX_05(t *testing.T) { os.Exit(3) }\nfunc TestBFD_RX_06(t *testing.T) {}\n",
	"broken/x_test.go": "package broken\n\nimport \"testing\"\n\nfunc TestBFD_RX_07(t *testing.T) { nothing() }\n",
}

// run executes a command line in a tree.
func run(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, progress strings.Builder
	code = execute(t.Context(), append([]string{"-C", dir}, args...), &out, &progress)
	return code, out.String(), progress.String()
}

func TestRun(t *testing.T) {
	code, stdout, stderr := run(t, write(t, fakeTree), "-o", "json")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	var rep struct {
		Rows []struct {
			ID, Level, Result, Reason string
			Tests                     []struct {
				Name, Result, Why string
				Packages          []string
			}
		}
		Summary summary
	}
	if err := json.Unmarshal([]byte(stdout), &rep); err != nil {
		t.Fatalf("%v in:\n%s%s", err, stdout, stderr)
	}
	var got []string
	for _, r := range rep.Rows {
		line := r.ID + " " + r.Result + " " + r.Reason
		for _, t := range r.Tests {
			line += "| " + t.Name + " " + strings.Join(t.Packages, ",") + " " + t.Result + " " + t.Why
		}
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{
		"BFD-RX-01 pass | TestBFD_RX_01 red,red/blue pass",
		"BFD-RX-02 FAIL | TestBFD_RX_02 red/blue FAIL | red.TestBFD_RX_01 red pass",
		"BFD-RX-03 not run | TestBFD_RX_03 red/blue not run skipped",
		"BFD-RX-04 none not done: nobody asked, see [elsewhere](x.md)",
		"BFD-RX-05 FAIL | TestBFD_RX_05 end FAIL it did not end",
		"BFD-RX-06 not run | TestBFD_RX_06 end not run the tests of the package ended before",
		"BFD-RX-07 not run | TestBFD_RX_07 broken not run the package does not build",
		"BFD-RX-08 not run | TestBFD_RX_08  not run there is no such test",
		"JA-01 pass | FuzzJA_01 red pass",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, stderr)
	}
	wantSummary := summary{
		Rows: 9, Levels: []level{{"M", 3, 3}, {"MN", 1, 1}, {"S", 1, 1}, {"Y", 1, 0}, {"T", 2, 2}, {otherLevel, 1, 1}},
		Without: []reason{{"not done", 1}}, Tests: 9, Passed: 3, Failed: 2, NotRun: 4,
	}
	if diff := cmp.Diff(wantSummary, rep.Summary); diff != "" {
		t.Errorf("summary: -want +got:\n%s", diff)
	}
	// Who reads stderr learns why at once.
	for _, words := range []string{"red: done after", "blue is green", "red/blue: TestBFD_RX_02: FAIL", "end: TestBFD_RX_05 did not end", "undefined: nothing", "end: FAIL after"} {
		if !strings.Contains(stderr, words) {
			t.Errorf("stderr lacks %q:\n%s", words, stderr)
		}
	}
	if strings.Contains(stderr, "nobody named me") {
		t.Error("a test ran that no row names")
	}
}

func TestRun_allIsWell(t *testing.T) {
	dir := write(t, fakeTree)
	code, stdout, stderr := run(t, dir, "-rows", "BFD-RX-01, JA")
	want := `ID         LEVEL  ASKED                          TEST           RESULT
BFD-RX-01  M      Red is red.                    TestBFD_RX_01  pass
JA-01      -      Seeds of a fuzz target count.  FuzzJA_01      pass

2 rows, 2 with tests (M 1 of 1, other 1 of 1)
2 tests: 2 passed, 0 failed, 0 not run
`
	if diff := cmp.Diff(want, stdout); diff != "" || code != exitOK {
		t.Errorf("exit code %d, -want +got:\n%s\n%s", code, diff, stderr)
	}
	code, stdout, _ = run(t, dir, "-rows", "BFD-RX-02", "-o", "markdown", "--", "-short")
	want = "## A.1 Colours\n\n| id | level | what is asked | tests | result |\n|---|---|---|---|---|\n" +
		"| BFD-RX-02 | MN | Blue is not green. | `TestBFD_RX_02`<br>`red.TestBFD_RX_01` | FAIL<br>pass |\n\n" +
		"1 rows, 1 with tests (MN 1 of 1)\n2 tests: 1 passed, 1 failed, 0 not run\n"
	if diff := cmp.Diff(want, stdout); diff != "" || code != exitFailure {
		t.Errorf("exit code %d, -want +got:\n%s", code, diff)
	}
}

func TestList(t *testing.T) {
	code, stdout, stderr := run(t, write(t, fakeTree), "-list", "-rows", "BFD-RX-01,BFD-RX-04")
	want := `ID         LEVEL  ASKED           TEST           RESULT
BFD-RX-01  M      Red is red.     TestBFD_RX_01  -
BFD-RX-04  Y / S  Nobody has to.  -              none: not done: nobody asked, see elsewhere

2 rows, 1 with tests (M 1 of 1, Y 0 of 1), 1 without (not done 1)
1 tests: 0 passed, 0 failed, 0 not run, 1 only listed
`
	if diff := cmp.Diff(want, stdout); diff != "" || code != exitOK || stderr != "" {
		t.Errorf("exit code %d, -want +got:\n%s\n%s", code, diff, stderr)
	}
}

func TestUsage(t *testing.T) {
	tree := map[string]string{page.File: head + "| JA-01 | M | a | not done |\n"}
	for _, tc := range []struct {
		name string
		tree map[string]string
		args []string
		code int
		want string
	}{
		{"help", tree, []string{"-h"}, exitOK, "usage: conformance"},
		{"unknown flag", tree, []string{"-x"}, exitUsage, "flag provided but not defined"},
		{"unknown format", tree, []string{"-o", "xml"}, exitUsage, "want text, markdown or json"},
		{"unknown row", tree, []string{"-rows", "JA-02"}, exitUsage, `there is no "JA-02"`},
		{"half an id", tree, []string{"-rows", "JA-0"}, exitUsage, `there is no "JA-0"`},
		{"nothing to run", tree, nil, exitOK, ""},
		{"no page", nil, nil, exitUsage, "in the root of the module"},
		{"a bad page", map[string]string{page.File: head + "| JA-01 | M | a |\n"}, nil, exitUsage, "docs/conformance.md:3: JA-01 wants four cells"},
		{"no module", map[string]string{page.File: head + "| JA-01 | M | a | `TestA` |\n", "x_test.go": "package x\nfunc TestA() {}\n"}, nil, exitFailure, "read module"},
		{
			"a flag that go test does not know",
			map[string]string{
				page.File: head + "| JA-01 | M | a | `TestA` |\n", "go.mod": "module x\n\ngo 1.24\n",
				"x_test.go": "package x\nimport \"testing\"\nfunc TestA(*testing.T) {}\n",
			},
			[]string{"--", "-count=x"}, exitFailure, "run go test",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, stderr := run(t, write(t, tc.tree), tc.args...)
			if code != tc.code || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, tc.code, tc.want, stderr)
			}
		})
	}
}

// What is left of a long output is its begin and its end.
func TestCollector_keep(t *testing.T) {
	c := newCollector("m", nil, nil)
	x := test{"d", "TestX"}
	for n := range 1000 {
		c.keep(x, fmt.Sprintf("line %d\n", n))
	}
	got := c.output[x]
	if len(got) != 2*keptLines || got[keptLines-1] != "line 99\n" || got[keptLines] != "        …\n" || got[keptLines+1] != "line 901\n" || got[len(got)-1] != "line 999\n" {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

func TestShorten(t *testing.T) {
	for _, tc := range []struct {
		in   string
		n    int
		want string
	}{
		{"`a` of [b](c.md#d)", 20, "a of b"},
		{"twelve years", 12, "twelve years"},
		{"twelve years", 8, "twelve…"},
		{"größer", 5, "größ…"},
	} {
		if got := shorten(tc.in, tc.n); got != tc.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", tc.in, tc.n, got, tc.want)
		}
	}
}
