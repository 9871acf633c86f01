package demo

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// printer writes the timeline. Errors of the writer are of no use to anybody: who
// closed the pipe does not read on.
type printer struct {
	out   io.Writer
	color bool
	start time.Time
}

func newPrinter(out io.Writer, color bool) *printer {
	return &printer{out: out, color: color, start: time.Now()}
}

// paint is a colour of the terminal, as a parameter of SGR (ECMA-48 8.3.117).
type paint string

const (
	plain  paint = ""
	bold   paint = "1"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

func (p *printer) painted(c paint, text string) string {
	if !p.color || c == plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

func (p *printer) title(text string) {
	_, _ = fmt.Fprintf(p.out, "%s\n\n", p.painted(bold, text))
}

// line writes one line of the timeline, for something that happened at a time.
func (p *printer) line(at time.Time, c paint, label, format string, args ...any) {
	since := max(0, at.Sub(p.start).Seconds())
	_, _ = fmt.Fprintf(p.out, "%7.2fs  %s %s\n", since, p.painted(c, fmt.Sprintf("%-9s", label)), fmt.Sprintf(format, args...))
}

// note is a line about now.
func (p *printer) note(label, format string, args ...any) {
	p.line(time.Now(), plain, label, format, args...)
}

// table writes what came of the trials.
func (p *printer) table(outcomes []outcome) {
	_, _ = fmt.Fprintln(p.out)
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "failure\tdaemon knew after\tflows hit\tlongest outage\tpackets lost\tback after repair\tlost on return")
	for _, o := range outcomes {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%d\t%s\t%d\n", o.title, milliseconds(o.verdictAfter),
			o.hit, o.flows, milliseconds(o.longest), o.lost, milliseconds(o.backAfter), o.lostOnReturn)
	}
	_ = w.Flush()
	_, _ = fmt.Fprintln(p.out)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// useColor is the wish, or whether out is a terminal whose user did not object.
func useColor(out io.Writer, wish *bool) bool {
	if wish != nil {
		return *wish
	}
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// verdictPaint is the colour of a verdict as the status writes it.
func verdictPaint(verdict string) paint {
	switch verdict {
	case live:
		return green
	case "dead":
		return red
	default:
		return yellow
	}
}
