package fences

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/conformance/page"
)

// checkConformance holds the page and the tests below root against each other.
func checkConformance(root fs.FS) ([]finding, error) {
	text, err := fs.ReadFile(root, page.File)
	if err != nil {
		return nil, err
	}
	tests, err := page.Tests(root)
	if err != nil {
		return nil, err
	}
	rows, faults := page.Read(string(text))
	var found []finding
	for _, f := range faults {
		found = append(found, finding{page.File, f.Line, "conformance", f.Text})
	}
	series, named := map[string]bool{}, map[string][]string{}
	for _, r := range rows {
		series[r.Series()] = true
		for _, t := range r.Tests {
			named[r.ID] = append(named[r.ID], t.Name)
			if len(t.In(tests)) == 0 {
				found = append(found, finding{page.File, r.Line, "conformance", r.ID + " names " + t.String() + ", which is nowhere"})
			}
		}
	}
	for name, places := range tests {
		for _, id := range page.IDs(name, series) {
			if !slices.Contains(named[id], name) {
				text := fmt.Sprintf("%s carries %s; name it in that row of %s", name, id, page.File)
				found = append(found, finding{places[0].File, places[0].Line, "conformance", text})
			}
		}
	}
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.String(), b.String()) })
	return found, nil
}

// TestConformancePage holds docs/conformance.md against the tests of the tree.
func TestConformancePage(t *testing.T) {
	root := os.DirFS("../..")
	found, err := checkConformance(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
	text, err := fs.ReadFile(root, page.File)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := page.Read(string(text))
	named := 0
	for _, r := range rows {
		named += len(r.Tests)
	}
	if len(rows) < 330 || named < 400 {
		t.Errorf("only %d rows with %d tests were read: the test does not test", len(rows), named)
	}
}

func TestCheckConformance(t *testing.T) {
	const head = "| id | level | what | shown by |\n|---|---|---|---|\n"
	for _, tc := range []struct {
		name, text, code string
		want             []string
	}{
		{"all is well", head + "| NUD-08 | S | a | `TestNUD_08_09`: so |\n| NUD-09 | S | a | `TestNUD_08_09` |", "func TestNUD_08_09() {}", nil},
		{"tests that their rows do not name", head + "| NUD-08 | S | a | `TestNUD_08_16`: so |\n", "func TestNUD_08() {}\nfunc TestNUD_08_16() {}",
			[]string{"x_test.go:2 TestNUD_08 carries NUD-08", "x_test.go:3 TestNUD_08_16 carries NUD-16"}},
		{"a test of a package", head + "| JA-03 | dgd | a | `x.TestJA_03` |\n", "func TestJA_03() {}", []string{"docs/conformance.md:3 JA-03 names x.TestJA_03"}},
		{"a reason", head + "| NUD-08 | S | a | not done: why |", "", nil},
		{"a test of another row", head + "| JA-03 | dgd | a | `TestOther` |\n", "func TestOther() {}", nil},
		{"a test that is gone", head + "| JA-03 | dgd | a | `TestJA_03` |\n", "func TestJA_04() {}",
			[]string{"docs/conformance.md:3 JA-03 names TestJA_03", "x_test.go:2 TestJA_04 carries JA-04"}},
		{"a method is no test", head + "| JA-03 | dgd | a | `TestJA_03` |\n", "type x int\nfunc (x) TestJA_03() {}",
			[]string{"docs/conformance.md:3 JA-03 names TestJA_03"}},
		{"two words make a series", head + "| LNX-NH-10 | K | a | `TestLNX_NH_10_LNX_RT_24_X` |\n| LNX-RT-24 | P | a | nothing |\n",
			"func TestLNX_NH_10_LNX_RT_24_X() {}", []string{"x_test.go:2 TestLNX_NH_10_LNX_RT_24_X carries LNX-RT-24"}},
		{"numbers of other things", head + "| JA-03 | dgd | a | none |\n", "func TestJA_PPP_03() {}\nfunc TestX_03() {}\nfunc TestJA_3() {}", nil},
		{"an empty cell", head + "| JA-03 | dgd | a |  |\n", "", []string{"docs/conformance.md:3 JA-03 wants four cells"}},
		{"a missing cell", head + "| JA-03 | dgd | a |\n", "", []string{"docs/conformance.md:3 JA-03 wants four cells"}},
		{"a row is lost", head + "| JA-03 | dgd | a | no |\n| JA-05 | dgd | a | no |\n", "", []string{"docs/conformance.md:4 JA-05 follows JA-03"}},
		{"a row is there twice", head + "| JA-03 | dgd | a | no |\n| JA-03 | dgd | a | no |\n", "", []string{"docs/conformance.md:4 JA-03 follows JA-03"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, err := checkConformance(fstest.MapFS{
				page.File:   {Data: []byte(tc.text)},
				"x_test.go": {Data: []byte("package x\n" + tc.code)},
				"x.go":      {Data: []byte("package x\nfunc TestJA_99() {}")},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				text, _, _ := strings.Cut(f.text, ",")
				text, _, _ = strings.Cut(text, ";")
				words := strings.Fields(text)
				got = append(got, fmt.Sprintf("%s:%d %s", f.file, f.line, strings.Join(words[:min(4, len(words))], " ")))
			}
			for i, w := range tc.want {
				words := strings.Fields(w)
				tc.want[i] = strings.Join(words[:min(5, len(words))], " ")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if _, err := checkConformance(fstest.MapFS{}); err == nil {
		t.Error("a tree without the page passes")
	}
}
