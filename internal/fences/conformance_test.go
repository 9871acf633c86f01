package fences

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// conformancePage has a table of rows and of the tests that show them.
const conformancePage = "docs/conformance.md"

var (
	rowID    = regexp.MustCompile(`^\| ([A-Z]+(?:-[A-Z]+)?)-(\d{2}) \|`)
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
)

// row is one row of the page.
type row struct {
	line  int
	tests []string
	// words is the cell that names the tests or says why there are none.
	words string
}

// readRows returns the rows by id, "LNX-NH-02", and what is wrong with the tables
// themselves. The numbers of a series follow each other, so that none is lost.
func readRows(page string) (rows map[string]row, found []finding) {
	rows = map[string]row{}
	last := map[string]int{}
	for n, line := range strings.Split(page, "\n") {
		m := rowID.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		add := func(text string) {
			found = append(found, finding{conformancePage, n + 1, "conformance", text})
		}
		id := m[1] + "-" + m[2]
		number, err := strconv.Atoi(m[2])
		if err != nil {
			panic(err) // Two digits, says the expression.
		}
		if before, known := last[m[1]]; known && number != before+1 {
			add(fmt.Sprintf("%s follows %s-%02d", id, m[1], before))
		}
		last[m[1]] = number
		cells := strings.Split(strings.Trim(line, "| "), "|")
		r := row{line: n + 1, words: strings.TrimSpace(cells[len(cells)-1])}
		if len(cells) != 4 || r.words == "" {
			add(id + " wants four cells, the last of which names tests or says why there is none")
			continue
		}
		for _, m := range testName.FindAllStringSubmatch(r.words, -1) {
			r.tests = append(r.tests, m[1])
		}
		rows[id] = r
	}
	return rows, found
}

// idsOf returns the ids in the name of a test: a series of which the page has
// rows, then its numbers. TestNUD_08_16 has NUD-08 and NUD-16.
func idsOf(name string, series map[string]bool) (ids []string) {
	words := strings.Split(strings.TrimPrefix(name, "Test"), "_")
	current := ""
	for i := 0; i < len(words); i++ {
		switch {
		case i+1 < len(words) && series[words[i]+"-"+words[i+1]]:
			current = words[i] + "-" + words[i+1]
			i++
		case series[words[i]]:
			current = words[i]
		case current != "" && len(words[i]) == 2 && isNumber(words[i]):
			ids = append(ids, current+"-"+words[i])
		default:
			current = ""
		}
	}
	return ids
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// place is where a test is.
type place struct {
	file string
	line int
}

// readTests returns the tests of the tree by name; packages may share names.
func readTests(root fs.FS) (map[string][]place, error) {
	tests := map[string][]place{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(root, name)
		case !strings.HasSuffix(path.Base(name), "_test.go"):
			return nil
		}
		f, err := parse(root, name)
		if err != nil {
			return err
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				tests[fn.Name.Name] = append(tests[fn.Name.Name], place{name, f.line(fn)})
			}
		}
		return nil
	})
	return tests, err
}

// checkConformance holds the page and the tests below root against each other.
func checkConformance(root fs.FS) ([]finding, error) {
	page, err := fs.ReadFile(root, conformancePage)
	if err != nil {
		return nil, err
	}
	tests, err := readTests(root)
	if err != nil {
		return nil, err
	}
	rows, found := readRows(string(page))
	series := map[string]bool{}
	for id, r := range rows {
		series[id[:strings.LastIndexByte(id, '-')]] = true
		for _, name := range r.tests {
			if len(tests[name]) == 0 {
				found = append(found, finding{conformancePage, r.line, "conformance", id + " names " + name + ", which is nowhere"})
			}
		}
	}
	for name, places := range tests {
		for _, id := range idsOf(name, series) {
			if r, known := rows[id]; !known || !slices.Contains(r.tests, name) {
				text := fmt.Sprintf("%s carries %s; name it in that row of %s", name, id, conformancePage)
				found = append(found, finding{places[0].file, places[0].line, "conformance", text})
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
	page, err := fs.ReadFile(root, conformancePage)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := readRows(string(page))
	named := 0
	for _, r := range rows {
		named += len(r.tests)
	}
	if len(rows) < 130 || named < 150 {
		t.Errorf("only %d rows with %d tests were read: the test does not test", len(rows), named)
	}
}

func TestCheckConformance(t *testing.T) {
	const head = "| id | level | what | shown by |\n|---|---|---|---|\n"
	for _, tc := range []struct {
		name, page, code string
		want             []string
	}{
		{"all is well", head + "| NUD-08 | S | a | `TestNUD_08_09`: so |\n| NUD-09 | S | a | `TestNUD_08_09` |", "func TestNUD_08_09() {}", nil},
		{"tests that their rows do not name", head + "| NUD-08 | S | a | `TestNUD_08_16`: so |\n", "func TestNUD_08() {}\nfunc TestNUD_08_16() {}",
			[]string{"x_test.go:2 TestNUD_08 carries NUD-08", "x_test.go:3 TestNUD_08_16 carries NUD-16"}},
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
				conformancePage: {Data: []byte(tc.page)},
				"x_test.go":     {Data: []byte("package x\n" + tc.code)},
				"x.go":          {Data: []byte("package x\nfunc TestJA_99() {}")},
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
