package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong in a configuration, where it is, and what
// to write instead.
type Problem struct {
	// File is the name of the file as it was given, or "environment".
	File string
	// Line counts from 1; 0 if the problem has no line of its own.
	Line int
	// Path is the key, such as uplinks[1].icmp.quorum, or the name of an
	// environment variable. It is empty if the whole file is meant.
	Path    string
	Message string
}

// String prints the problem as file:line: path: message, without the parts that
// are not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is everything that is wrong, sorted by line; what has no line of its
// own comes last. As an error it prints one problem per line.
type Problems []Problem

// Error implements error.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort orders by line; problems of one line keep the order of their discovery,
// which is the order of the checks.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
}

// report collects problems. A path is reported once: what follows from the
// first mistake would only hide it.
type report struct {
	problems Problems
	seen     map[string]bool
}

func (r *report) add(path, format string, args ...any) {
	r.addAt(0, path, format, args...)
}

// addAt is add for a problem whose line is known better than by its path.
func (r *report) addAt(line int, path, format string, args ...any) {
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	if r.seen[path] {
		return
	}
	r.seen[path] = true
	r.problems = append(r.problems, Problem{Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}
