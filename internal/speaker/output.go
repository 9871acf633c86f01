package speaker

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// maxLine bounds a line of what a child prints; the rest of a longer one is cut.
	maxLine = 64 << 10
	// maxTrace bounds the trace of a panic. That of a thousand goroutines is about
	// a megabyte, that of the one that panicked a few kilobytes.
	maxTrace = 256 << 10
	// maxLast bounds the last words in the reason for an end.
	maxLast = 800
	// lastLines is how many lines the last words are at most.
	lastLines = 4
)

// output reads what a child prints: records in JSON, which go to the log, and plain
// lines, of which those that begin a trace are kept together with all that follows.
type output struct {
	log     *logQueue
	handler slog.Handler

	mu    sync.Mutex
	lines []string // the last plain ones
	trace strings.Builder
	// dying: a trace has begun.
	dying bool
	cut   bool
}

// newOutput returns an output whose records go to h by way of log.
func newOutput(log *logQueue, h slog.Handler) *output {
	return &output{log: log, handler: h}
}

// read reads until r ends. It does not wait for the log.
func (o *output) read(r io.Reader) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			o.line(bytes.TrimRight(line, "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			break
		}
	}
	o.bury()
}

// put hands a record to the log.
func (o *output) put(r slog.Record, urgent bool) {
	o.log.put(queued{o.handler, r}, urgent)
}

// line takes one line.
func (o *output) line(line []byte) {
	o.mu.Lock()
	o.dying = o.dying || beginsTrace(line)
	dying := o.dying
	if dying {
		if room := maxTrace - o.trace.Len(); len(line) < room {
			o.trace.Write(line)
			o.trace.WriteByte('\n')
		} else {
			o.cut = true
		}
	}
	o.mu.Unlock()
	if dying {
		return
	}
	if r, ok := parseRecord(line); ok {
		o.put(r, false)
		return
	}
	text := strings.ToValidUTF8(strings.TrimSpace(string(line)), "?")
	if text == "" {
		return
	}
	o.mu.Lock()
	o.lines = append(o.lines, text)
	o.lines = o.lines[max(0, len(o.lines)-lastLines):]
	o.mu.Unlock()
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "the BGP speaker printed", 0)
	r.AddAttrs(slog.String("line", text))
	o.put(r, false)
}

// bury logs the trace of a child that died.
func (o *output) bury() {
	o.mu.Lock()
	trace, cut := o.trace.String(), o.cut
	o.mu.Unlock()
	if trace == "" {
		return
	}
	if cut {
		trace += "(cut)\n"
	}
	r := slog.NewRecord(time.Now(), slog.LevelError, "the BGP speaker crashed; please report this", 0)
	r.AddAttrs(slog.String("trace", trace))
	o.put(r, true)
}

// last returns the last words: the beginning of a trace, which says what happened, or
// the last lines.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines
	if o.dying {
		lines = nil
		for line := range strings.Lines(o.trace.String()) {
			if line = strings.TrimSpace(line); line != "" && len(lines) < lastLines {
				lines = append(lines, line)
			}
		}
	}
	text := strings.Join(lines, " / ")
	if len(text) > maxLast {
		text = strings.ToValidUTF8(text[:maxLast], "") + "…"
	}
	return text
}

// beginsTrace tells whether a line is the first of those that the Go runtime prints
// when it ends a program.
func beginsTrace(line []byte) bool {
	for _, begin := range []string{"panic: ", "fatal error: ", "runtime: ", "SIG", "goroutine ", "unexpected fault address "} {
		if bytes.HasPrefix(line, []byte(begin)) {
			return true
		}
	}
	return false
}
