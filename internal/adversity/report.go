package adversity

import (
	"fmt"
	"strings"
	"sync"
)

// Report is what was seen. Its methods may be called from several goroutines.
type Report struct {
	mu     sync.Mutex
	lines  []string
	faults []string
	say    func(line string)
}

// count notes a figure.
func (r *Report) count(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	r.lines = append(r.lines, line)
	if r.say != nil {
		r.say(line)
	}
}

// fault notes something that must not be, unless ok.
func (r *Report) fault(ok bool, format string, args ...any) {
	if ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	r.faults = append(r.faults, line)
	if r.say != nil {
		r.say("FAULT: " + line)
	}
}

// Lines are the figures, in the order in which they were known.
func (r *Report) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// Faults are the things that must not be and were seen; none if all was well.
func (r *Report) Faults() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.faults...)
}

// String is one line for each figure and each fault.
func (r *Report) String() string {
	var b strings.Builder
	for _, l := range r.Lines() {
		b.WriteString("- " + l + "\n")
	}
	for _, l := range r.Faults() {
		b.WriteString("- FAULT: " + l + "\n")
	}
	return b.String()
}
