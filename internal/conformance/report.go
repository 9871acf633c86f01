package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/multihomed/multihomed/internal/conformance/page"
)

// report is the rows with their results, as JSON has it.
type report struct {
	Rows    []rowReport `json:"rows"`
	Summary summary     `json:"summary"`
}

// rowReport is one row.
type rowReport struct {
	ID      string  `json:"id"`
	Section string  `json:"section"`
	Level   string  `json:"level,omitempty"`
	Asks    string  `json:"asks"`
	ShownBy string  `json:"shown_by"`
	Result  outcome `json:"result"`
	// Reason is set where there is no test.
	Reason string       `json:"reason,omitempty"`
	Tests  []testReport `json:"tests,omitempty"`
}

// testReport is one test of a row, in all packages that have it.
type testReport struct {
	Name     string   `json:"name"`
	Packages []string `json:"packages"`
	Result   outcome  `json:"result"`
	Why      string   `json:"why,omitempty"`
	Seconds  float64  `json:"seconds"`
}

// summary counts rows, and tests once each however many rows name them.
type summary struct {
	Rows   int     `json:"rows"`
	Levels []level `json:"levels"`
	// Without is why rows have no test.
	Without []reason `json:"without"`
	Tests   int      `json:"tests"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	NotRun  int      `json:"not_run"`
}

// level counts the rows of one level.
type level struct {
	Level string `json:"level"`
	Rows  int    `json:"rows"`
	// With tests.
	With int `json:"with_tests"`
}

// reason counts the rows without a test for one reason.
type reason struct {
	Reason string `json:"reason"`
	Rows   int    `json:"rows"`
}

// newReport puts rows and results together. If nothing ran, no test that exists has a
// result.
func newReport(rows []page.Row, places map[string][]page.Place, results map[test]result) report {
	rep := report{}
	tests := map[page.Test]outcome{}
	for _, row := range rows {
		r := rowReport{ID: row.ID, Section: row.Section, Level: row.Level, Asks: row.Asks, ShownBy: row.ShownBy}
		if len(row.Tests) == 0 {
			r.Result, r.Reason = none, row.ShownBy
		}
		for _, named := range row.Tests {
			t := newTestReport(named, named.In(places), results)
			tests[named] = t.Result
			r.Result = max(r.Result, t.Result)
			r.Tests = append(r.Tests, t)
		}
		rep.Rows = append(rep.Rows, r)
	}
	rep.Summary = summarise(rep.Rows)
	rep.Summary.Tests = len(tests)
	for _, o := range tests {
		switch o {
		case passed:
			rep.Summary.Passed++
		case failed:
			rep.Summary.Failed++
		case notRun:
			rep.Summary.NotRun++
		case unknown, none:
		}
	}
	return rep
}

func newTestReport(named page.Test, places []page.Place, results map[test]result) testReport {
	t := testReport{Name: named.String()}
	var took time.Duration
	for _, p := range places {
		if slices.Contains(t.Packages, p.Dir()) {
			continue
		}
		t.Packages = append(t.Packages, p.Dir())
		r := results[test{p.Dir(), named.Name}]
		took += r.elapsed
		if r.outcome > t.Result {
			t.Result, t.Why = r.outcome, r.why
		}
	}
	slices.Sort(t.Packages)
	t.Seconds = took.Seconds()
	if len(places) == 0 {
		t.Result, t.Why = notRun, "there is no such test"
	}
	return t
}

// levelOrder is from the strictest demand to the loosest; others follow.
var levelOrder = []string{"M", "MN", "S", "SN", "Y", "T", "K", "src", "doc", "P"}

// otherLevel stands for rows that have none.
const otherLevel = "other"

func summarise(rows []rowReport) summary {
	s := summary{Rows: len(rows)}
	levels, with, without := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range rows {
		// "M / S" counts as what is asked first.
		l, _, _ := strings.Cut(r.Level, " ")
		l = cmp.Or(l, otherLevel)
		levels[l]++
		if len(r.Tests) > 0 {
			with[l]++
		} else {
			without[lead(r.Reason)]++
		}
	}
	for l, n := range levels {
		s.Levels = append(s.Levels, level{l, n, with[l]})
	}
	slices.SortFunc(s.Levels, func(a, b level) int {
		return cmp.Or(cmp.Compare(rank(a.Level), rank(b.Level)), strings.Compare(a.Level, b.Level))
	})
	for why, n := range without {
		s.Without = append(s.Without, reason{why, n})
	}
	slices.SortFunc(s.Without, func(a, b reason) int { return cmp.Or(b.Rows-a.Rows, strings.Compare(a.Reason, b.Reason)) })
	return s
}

func rank(level string) int {
	if i := slices.Index(levelOrder, level); i >= 0 {
		return i
	}
	return len(levelOrder)
}

// lead returns the words by which a reason begins: "not done" of "not done: why".
func lead(reason string) string {
	if i := strings.IndexAny(reason, ":;,."); i >= 0 {
		reason = reason[:i]
	}
	return strings.TrimSpace(reason)
}

// format is what a report is written as.
type format string

// Formats.
const (
	text     format = "text"
	markdown format = "markdown"
	asJSON   format = "json"
)

// String is for package flag.
func (f *format) String() string { return string(*f) }

// Set is for package flag.
func (f *format) Set(s string) error {
	switch format(s) {
	case text, markdown, asJSON:
		*f = format(s)
		return nil
	default:
		return fmt.Errorf("want %s, %s or %s", text, markdown, asJSON)
	}
}

func (r report) write(w io.Writer, f format) error {
	var err error
	switch f {
	case text:
		_, err = io.WriteString(w, r.text())
	case markdown:
		_, err = io.WriteString(w, r.markdown())
	case asJSON:
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	default:
		panic("conformance: unhandled format " + string(f))
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// asksWidth and reasonWidth are how much of the words fits into the text form.
const (
	asksWidth   = 60
	reasonWidth = 100
)

// text returns the table for terminals: a line for each test.
func (r report) text() string {
	lines := [][]string{{"ID", "LEVEL", "ASKED", "TEST", "RESULT"}}
	for _, row := range r.Rows {
		head := []string{row.ID, cmp.Or(row.Level, "-"), shorten(row.Asks, asksWidth)}
		if len(row.Tests) == 0 {
			lines = append(lines, append(head, "-", "none: "+shorten(row.Reason, reasonWidth)))
		}
		for _, t := range row.Tests {
			lines = append(lines, append(head, t.Name, t.words()))
			head = []string{"", "", ""}
		}
	}
	return align(lines) + "\n" + r.Summary.String()
}

// words is the result, with the reason if there is one.
func (t testReport) words() string {
	if t.Why == "" {
		return t.Result.String()
	}
	return t.Result.String() + ": " + t.Why
}

// align pads all columns but the last.
func align(lines [][]string) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var link = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// shorten returns Markdown as words, of at most n characters.
func shorten(s string, n int) string {
	s = strings.ReplaceAll(link.ReplaceAllString(s, "$1"), "`", "")
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return strings.TrimRight(string(r[:n-1]), " ,;:.") + "…"
}

// markdown returns a table for each section, with the results beside the names.
func (r report) markdown() string {
	var b strings.Builder
	section := ""
	for i, row := range r.Rows {
		if i == 0 || row.Section != section {
			section = row.Section
			fmt.Fprintf(&b, "## %s\n\n| id | level | what is asked | tests | result |\n|---|---|---|---|---|\n", section)
		}
		tests, result := "–", "none: "+row.Reason
		if len(row.Tests) > 0 {
			var names, words []string
			for _, t := range row.Tests {
				names = append(names, "`"+t.Name+"`")
				words = append(words, t.words())
			}
			tests, result = strings.Join(names, "<br>"), strings.Join(words, "<br>")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.ID, cmp.Or(row.Level, "–"), row.Asks, tests, result)
		if i == len(r.Rows)-1 || r.Rows[i+1].Section != section {
			b.WriteByte('\n')
		}
	}
	return b.String() + r.Summary.String()
}

// String returns a line for the rows and one for the tests.
func (s summary) String() string {
	with := 0
	var levels, without []string
	for _, l := range s.Levels {
		with += l.With
		levels = append(levels, fmt.Sprintf("%s %d of %d", l.Level, l.With, l.Rows))
	}
	for _, w := range s.Without {
		without = append(without, fmt.Sprintf("%s %d", w.Reason, w.Rows))
	}
	line := fmt.Sprintf("%d rows, %d with tests (%s)", s.Rows, with, strings.Join(levels, ", "))
	if len(without) > 0 {
		line += fmt.Sprintf(", %d without (%s)", s.Rows-with, strings.Join(without, ", "))
	}
	line += fmt.Sprintf("\n%d tests: %d passed, %d failed, %d not run", s.Tests, s.Passed, s.Failed, s.NotRun)
	if rest := s.Tests - s.Passed - s.Failed - s.NotRun; rest > 0 {
		line += fmt.Sprintf(", %d only listed", rest)
	}
	return line + "\n"
}
