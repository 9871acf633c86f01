package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// line is a sample on one line, for progress.
func (s sample) line(columns []column) string {
	var parts []string
	for _, c := range columns {
		if v, ok := s[c.Key]; ok {
			parts = append(parts, c.Title+" "+number(v, c.Digits))
		}
	}
	return strings.Join(parts, "; ")
}

func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// markdown writes the document for people.
func (d document) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s in %v on %s, %d cores, %d MiB, %s; load average %.2f before and %.2f after.\n",
		d.Began.UTC().Format("2006-01-02 15:04 UTC"), d.Took, d.Machine.CPU, d.Machine.Cores, d.Machine.Memory>>20, d.Machine.Kernel,
		d.Machine.LoadBefore, d.Machine.LoadAfter)
	fmt.Fprintf(&b, "Versions: %s.\n", strings.Join(d.Versions, ", "))
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		settings = append(settings, name+" "+d.Settings[name])
	}
	fmt.Fprintf(&b, "Settings: %s.\n", strings.Join(settings, ", "))
	for _, t := range d.Tables {
		t.markdown(&b)
	}
	return b.String()
}

func (t table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", t.Scenario, t.About)
	head := []string{"case", "candidate"}
	for _, c := range t.Columns {
		head = append(head, c.Title)
		if c.Cost && t.contest() {
			head = append(head, "x "+reference)
		}
	}
	writeRow(b, head)
	fmt.Fprintf(b, "|---|---|%s\n", strings.Repeat("---:|", len(head)-2))
	for _, r := range t.Rows {
		cells := []string{r.Case, r.Candidate}
		if r.Error != "" {
			cells = append(cells, "**failed**: "+strings.Join(strings.Fields(r.Error), " "))
		} else {
			cells = append(cells, t.cells(r)...)
		}
		for len(cells) < len(head) {
			cells = append(cells, "")
		}
		writeRow(b, cells)
	}
}

// contest reports whether there is anybody to compare with.
func (t table) contest() bool {
	return slices.ContainsFunc(t.Rows, func(r row) bool { return r.Candidate != reference })
}

func (t table) cells(r row) []string {
	var cells []string
	for _, c := range t.Columns {
		f, ok := r.Figures[c.Key]
		cell, ratio := "–", ""
		if ok {
			cell = number(f.Median, c.Digits)
			if r.Runs > 1 && f.Min != f.Max {
				cell += fmt.Sprintf(" (%s–%s)", number(f.Min, c.Digits), number(f.Max, c.Digits))
			}
			if f.Ratio != nil {
				ratio = number(*f.Ratio, 2)
			}
		}
		cells = append(cells, cell)
		if c.Cost && t.contest() {
			cells = append(cells, ratio)
		}
	}
	return cells
}

// writeRow writes cells, in which a bar would begin another.
func writeRow(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// write puts the document into dir, as Markdown and as JSON.
func (d document) write(dir, name string) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	base := filepath.Join(dir, name)
	err = errors.Join(
		os.WriteFile(base+".json", append(text, '\n'), 0o644),
		os.WriteFile(base+".md", []byte(d.markdown()), 0o644),
	)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
