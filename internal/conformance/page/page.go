package page

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// File is where the page is, from the root of the module.
const File = "docs/conformance.md"

// Row is one row of the page: a clause, and what shows it.
type Row struct {
	// ID is a series and a number of two digits: "LNX-NH-02", or "B-7606-01", whose
	// series is named after its RFC.
	ID string
	// Section is the heading above the table, without its marks.
	Section string
	// Line of the page, from 1.
	Line int
	// Level is how strongly the clause is meant, "M" or "M / S"; it is empty in
	// tables whose second column is something else.
	Level string
	// Asks is the clause in our words, and ShownBy the cell that names the tests
	// or says why there are none.
	Asks, ShownBy string
	// Tests are those in ShownBy, each once: tests and fuzz targets.
	Tests []Test
}

// Test is a test as a row names it.
type Test struct {
	// Dir is the directory of the package, for names that several packages have:
	// `bfd.FuzzDecode`. It is empty if all of them are meant.
	Dir  string
	Name string
}

// String returns the test as it stands in the page.
func (t Test) String() string {
	if t.Dir == "" {
		return t.Name
	}
	return t.Dir + "." + t.Name
}

// In returns where t is, of all tests by name.
func (t Test) In(tests map[string][]Place) []Place {
	return slices.DeleteFunc(slices.Clone(tests[t.Name]), func(p Place) bool { return t.Dir != "" && p.Dir() != t.Dir })
}

// Fault is something wrong with the page itself.
type Fault struct {
	Line int
	Text string
}

var (
	rowID    = regexp.MustCompile(`^\| ([A-Z]+(?:-[A-Z0-9]+)?)-(\d{2}) \|`)
	testName = regexp.MustCompile("`(?:([a-z0-9/]+)\\.)?((?:Test|Fuzz)[A-Za-z0-9_]+)`")
)

// cells is how many a row has: id, level, what is asked, shown by.
const cells = 4

// Read returns the rows of the page in its order, and what is wrong with its tables.
// The numbers of a series follow each other, so that no clause gets lost. A row with
// faults is left out if it cannot be understood.
func Read(text string) (rows []Row, faults []Fault) {
	last := map[string]int{}
	section, levels := "", true
	for n, line := range strings.Split(text, "\n") {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			section = strings.TrimSpace(heading)
		}
		if header := split(line); len(header) == cells && header[0] == "id" {
			levels = header[1] == "level"
		}
		m := rowID.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		add := func(format string, args ...any) {
			faults = append(faults, Fault{Line: n + 1, Text: fmt.Sprintf(format, args...)})
		}
		id := m[1] + "-" + m[2]
		number, err := strconv.Atoi(m[2])
		if err != nil {
			panic(err) // Two digits, says the expression.
		}
		if before, known := last[m[1]]; known && number != before+1 {
			add("%s follows %s-%02d", id, m[1], before)
		}
		last[m[1]] = number
		c := split(line)
		if len(c) != cells || c[cells-1] == "" {
			add("%s wants four cells, the last of which names tests or says why there is none", id)
			continue
		}
		r := Row{ID: id, Section: section, Line: n + 1, Asks: c[2], ShownBy: c[3], Tests: names(c[3])}
		if levels {
			r.Level = c[1]
		}
		rows = append(rows, r)
	}
	return rows, faults
}

// split returns the cells of a line of a table.
func split(line string) []string {
	inner, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
	if !ok {
		return nil
	}
	c := strings.Split(strings.TrimSuffix(inner, "|"), "|")
	for i := range c {
		c[i] = strings.TrimSpace(c[i])
	}
	return c
}

// names returns the tests that a cell names.
func names(cell string) []Test {
	var tests []Test
	for _, m := range testName.FindAllStringSubmatch(cell, -1) {
		if t := (Test{Dir: m[1], Name: m[2]}); !slices.Contains(tests, t) {
			tests = append(tests, t)
		}
	}
	return tests
}

// Series returns the id without its number: "LNX-NH" for LNX-NH-02.
func (r Row) Series() string { return r.ID[:strings.LastIndexByte(r.ID, '-')] }

// IDs returns the ids in the name of a test: a series of which the page has rows,
// then its numbers. TestNUD_08_16 has NUD-08 and NUD-16.
func IDs(name string, series map[string]bool) (ids []string) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "Test"), "Fuzz")
	words := strings.Split(name, "_")
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
