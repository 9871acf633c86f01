package status

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TableOptions tells how a table may look.
type TableOptions struct {
	// Color allows the colours of ANSI terminals. They repeat what the words
	// say and add nothing.
	Color bool
	// Width is the number of columns that prose is wrapped to; 0 means that it
	// is not. Rows of columns are never cut.
	Width int
}

// Table prints s for people: what is wrong first, then one row for each uplink
// and family with the evidence below it, then what happened last. It prints
// ASCII only; other characters become question marks, so that nothing that a
// stranger sent reaches a terminal.
func Table(w io.Writer, s Status, opts TableOptions) error {
	t := &table{now: s.Now, opts: opts}
	t.head(s)
	t.speaker(s)
	t.problems(s)
	t.ways(s)
	t.tail(s)
	if _, err := io.WriteString(w, t.out.String()); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	return nil
}

// paint is an SGR parameter (ECMA-48 section 8.3.117).
type paint string

const (
	plain  paint = ""
	bold   paint = "1"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

type table struct {
	out  strings.Builder
	now  time.Time
	opts TableOptions
}

func (t *table) paint(p paint, text string) string {
	if !t.opts.Color || p == plain {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

// colour returns the paint of a verdict or an opinion.
func colour(word string) paint {
	switch word {
	case "live", "up":
		return green
	case "dead", "down":
		return red
	default:
		return yellow
	}
}

// head prints one line about the daemon and one per family.
func (t *table) head(s Status) {
	state, p := "ready", green
	if !s.Ready {
		state, p = "NOT READY", yellow
	}
	sync := t.paint(green, "kernel in sync")
	if !s.Kernel.InSync {
		sync = t.paint(red, "KERNEL NOT IN SYNC")
	}
	fmt.Fprintf(&t.out, "multihomed %s, up %s: %s, %s (%s)\n",
		ascii(s.Version), t.age(s.Started), t.paint(p, state), sync, ascii(s.Kernel.Mode))
	for _, family := range []string{"ipv4", "ipv6"} {
		live, all := 0, 0
		for _, u := range s.Uplinks {
			for _, w := range u.Ways {
				if w.Family != family {
					continue
				}
				all++
				if w.Verdict == "live" {
					live++
				}
			}
		}
		if all == 0 {
			continue
		}
		p := green
		switch {
		case live == 0:
			p = red
		case live < all:
			p = yellow
		}
		fmt.Fprintf(&t.out, "%s: %s\n", family, t.paint(p, fmt.Sprintf("%d of %d live", live, all)))
	}
}

// problems prints what a human has to do something about.
func (t *table) problems(s Status) {
	if !s.Ready {
		t.prose(t.paint(yellow, "! ready    "), "some input has not spoken yet; until then nothing is removed from the kernel")
	}
	if s.ConfigError != "" {
		t.prose(t.paint(red, "! config   "), "the file is not in use: "+s.ConfigError)
	}
	for _, e := range s.Kernel.Errors {
		t.prose(t.paint(red, "! kernel   "), e)
	}
	t.speakerProblems(s.BGP)
	for _, w := range s.Warnings {
		t.prose(t.paint(yellow, "! warning  "), w)
	}
}

// column is a column of the main table.
type column struct {
	title string
	right bool
}

var columns = []column{
	{"UPLINK", false},
	{"DEVICE", false},
	{"FAMILY", false},
	{"VERDICT", false},
	{"ROLE", false},
	{"SINCE", true},
	{"SHARE", true},
	{"WEIGHT", true},
	{"TIER", true},
	{"TABLE", true},
	{"MARK", false},
}

// verdictColumn is the index of the column that has a colour.
const verdictColumn = 3

func (t *table) ways(s Status) {
	rows := [][]string{nil}
	for _, c := range columns {
		rows[0] = append(rows[0], c.title)
	}
	var ways []Way
	for _, u := range s.Uplinks {
		for _, w := range u.Ways {
			ways = append(ways, w)
			rows = append(rows, []string{
				ascii(u.Name), ascii(u.Interface), ascii(w.Family), shout(w.Verdict), ascii(w.Role), t.age(w.Since), percent(w.Share),
				strconv.Itoa(cmp.Or(w.Weight, u.Weight)), strconv.Itoa(u.Tier), strconv.FormatUint(uint64(u.Table), 10), hex(u.Mark),
			})
		}
	}
	t.out.WriteByte('\n')
	if len(ways) == 0 {
		t.out.WriteString("no uplink is configured\n")
		return
	}
	widths := widthsOf(rows)
	t.row(rows[0], widths, func(int) paint { return bold })
	for i, w := range ways {
		t.row(rows[i+1], widths, func(c int) paint {
			if c == verdictColumn {
				return colour(w.Verdict)
			}
			return plain
		})
		t.details(w)
	}
}

// shout makes the verdicts that matter at night stand out without colour.
func shout(verdict string) string {
	if verdict == "live" {
		return verdict
	}
	return strings.ToUpper(ascii(verdict))
}

func widthsOf(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len(cell))
		}
	}
	return widths
}

func (t *table) row(cells []string, widths []int, of func(column int) paint) {
	for i, cell := range cells {
		if i > 0 {
			t.out.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[i]-len(cell))
		switch {
		case columns[i].right:
			t.out.WriteString(pad + t.paint(of(i), cell))
		case i == len(cells)-1:
			t.out.WriteString(t.paint(of(i), cell))
		default:
			t.out.WriteString(t.paint(of(i), cell) + pad)
		}
	}
	t.out.WriteByte('\n')
}

// indent is how far the lines below a way are moved in.
const indent = "    "

// details prints what belongs to one way.
func (t *table) details(w Way) {
	for _, r := range w.Reasons {
		t.prose(indent+"because   ", r)
	}
	if w.Penalty > 0 {
		t.prose(t.paint(yellow, indent+"penalty   "), fmt.Sprintf("%.0f for flapping; it decays, and the way stays held while it is high", math.Ceil(w.Penalty)))
	}
	if w.Drain != nil {
		t.prose(t.paint(yellow, indent+"drain     "), w.Drain.describe(t))
	}
	if !w.Verified && w.Verdict != "dead" {
		t.prose(indent+"unproved  ", "no probe and no neighbour vouches for it")
	}
	if path := pathOf(w); path != "" {
		t.prose(indent+"path      ", path)
	}
	for _, e := range worstFirst(w.Evidence) {
		t.prose(fmt.Sprintf("%s%s %s  %s  ", indent, pad(ascii(e.Kind), len("neighbour")),
			t.paint(colour(e.Opinion), pad(ascii(e.Opinion), len("unknown"))), pad(t.age(e.Since), ageWidth)), e.Reason)
		t.targets(e.Targets)
		t.session(e, w.BFD)
		if e.Kind == "bgp" {
			t.peering(w.BGP, e.Reason)
		}
	}
	if !slices.ContainsFunc(w.Evidence, func(e Evidence) bool { return e.Kind == "bgp" }) {
		t.peering(w.BGP, "")
	}
	if a := w.Advice; a != nil && (a.Redirects > 0 || a.Unreachables > 0) {
		text := fmt.Sprintf("the gateway sent %d redirects and %d unreachables", a.Redirects, a.Unreachables)
		if a.Last != "" {
			text += fmt.Sprintf("; the last %s ago: %s", t.age(a.LastAt), a.Last)
		}
		t.prose(t.paint(yellow, indent+"advice    "), text)
	}
}

// ageWidth is the width of the longest usual age, "23h59m".
const ageWidth = 6

// targets prints one line per target, in columns of their own.
func (t *table) targets(targets []Target) {
	rows := make([][]string, 0, len(targets))
	for _, x := range targets {
		rows = append(rows, []string{ascii(x.Address), milliseconds(x.RTT), percent(x.Loss)})
	}
	if len(rows) == 0 {
		return
	}
	widths := widthsOf(rows)
	for i, x := range targets {
		line := fmt.Sprintf("%s%s %s  %s  rtt %*s  loss %*s", indent, strings.Repeat(" ", len("neighbour")),
			t.paint(colour(x.Opinion), pad(ascii(x.Opinion), len("unknown"))), pad(rows[i][0], widths[0]),
			widths[1], rows[i][1], widths[2], rows[i][2])
		if x.Reason != "" {
			line += "  " + ascii(x.Reason)
		}
		t.out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func pathOf(w Way) string {
	var words []string
	if w.Gateway != "" {
		words = append(words, "via "+w.Gateway)
	}
	if len(w.Sources) > 0 {
		words = append(words, "from "+strings.Join(w.Sources, ", "))
	}
	return strings.Join(words, " ")
}

// worstFirst returns evidence with what says down first and what says up last,
// otherwise in its own order.
func worstFirst(evidence []Evidence) []Evidence {
	rank := func(opinion string) int {
		switch opinion {
		case "down":
			return 0
		case "up":
			return 2
		default:
			return 1
		}
	}
	return slices.SortedStableFunc(slices.Values(evidence), func(a, b Evidence) int {
		return cmp.Compare(rank(a.Opinion), rank(b.Opinion))
	})
}

func (t *table) tail(s Status) {
	k := s.Kernel
	t.out.WriteByte('\n')
	if k.LastChange != "" {
		t.prose("last change  ", t.ago(k.LastChangeAt)+k.LastChange)
	}
	if k.Drifts > 0 {
		t.prose(t.paint(yellow, "drift        "), fmt.Sprintf("%s of what others changed; the last %s%s", plural(k.Drifts, "repair"), t.ago(k.LastDriftAt), k.LastDrift))
	}
	t.prose("kernel       ", plural(k.Writes, "write")+", "+plural(k.Resyncs, "full read"))
	if s.Config != "" {
		t.prose("config       ", s.Config)
	}
}

func plural(n uint64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.FormatUint(n, 10) + " " + word + "s"
}

// prose prints label and text, wrapped with the label's width as the indent. The
// label may hold our own colours; the text never does.
func (t *table) prose(label, text string) {
	text = ascii(text)
	width := visible(label)
	room := math.MaxInt
	if t.opts.Width > 0 {
		// Below this, one word a line would be harder to read than overflow.
		room = max(t.opts.Width-width, 24)
	}
	for {
		line, rest := cut(text, room)
		t.out.WriteString(strings.TrimRight(label+line, " ") + "\n")
		if rest == "" {
			return
		}
		label, text = strings.Repeat(" ", width), rest
	}
}

// visible returns the number of columns of a text with our own colours.
func visible(text string) int {
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] == '\x1b' {
			i += strings.IndexByte(text[i:], 'm')
			continue
		}
		n++
	}
	return n
}

// cut splits text at the last space such that the first part has at most room
// bytes. A word that is longer stays whole.
func cut(text string, room int) (line, rest string) {
	if len(text) <= room {
		return text, ""
	}
	space := strings.LastIndexByte(text[:room+1], ' ')
	if space <= 0 {
		if space = strings.IndexByte(text, ' '); space <= 0 {
			return text, ""
		}
	}
	return strings.TrimRight(text[:space], " "), strings.TrimLeft(text[space:], " ")
}

// ascii replaces everything that is not printable ASCII.
func ascii(text string) string { return strings.Map(asciiRune, text) }

func asciiRune(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return ' '
	case r < ' ', r > '~':
		return '?'
	default:
		return r
	}
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-len(text)))
}
