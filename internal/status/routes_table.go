package status

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// RouteTable prints l for people: a line for each prefix, and below it one for each
// path with its rank and the reason for it. A path that carries traffic has a star.
// Like Table it prints ASCII only. Ages are as of now.
func RouteTable(w io.Writer, l RouteList, now time.Time, opts TableOptions) error {
	t := &table{now: now, opts: opts}
	t.routes(l)
	if _, err := io.WriteString(w, t.out.String()); err != nil {
		return fmt.Errorf("print routes: %w", err)
	}
	return nil
}

func (t *table) routes(l RouteList) {
	for _, r := range l.Routes {
		t.out.WriteString(t.paint(bold, ascii(r.Prefix)) + "\n")
		rows := make([][]string, 0, len(r.Paths))
		for _, p := range r.Paths {
			star := " "
			if p.Used {
				star = "*"
			}
			rows = append(rows, []string{star + " " + ascii(p.Rank), ascii(p.Uplink), "via " + ascii(p.NextHop), "path " + ascii(p.ASPath) + " " + initial(p.Origin)})
		}
		if len(rows) == 0 {
			t.out.WriteString(indent + "nobody offers it\n")
			continue
		}
		widths := widthsOf(rows)
		for i, p := range r.Paths {
			line := indent + t.paint(rankColour(p), pad(rows[i][0], widths[0]))
			for c := 1; c < len(rows[i]); c++ {
				line += "  " + pad(rows[i][c], widths[c])
			}
			t.out.WriteString(strings.TrimRight(line, " ") + "\n")
			t.prose(indent+"         ", p.details(t))
			t.prose(indent+"         ", p.Why)
		}
	}
	if l.Truncated {
		t.out.WriteString("there are more; name a prefix, or ask for more with --limit\n")
	}
}

func rankColour(p Path) paint {
	switch {
	case p.Used:
		return green
	case p.Rank == "none":
		return red
	default:
		return plain
	}
}

// initial is the usual letter for an origin.
func initial(origin string) string {
	switch origin {
	case "igp":
		return "i"
	case "egp":
		return "e"
	default:
		return "?"
	}
}

// details are the attributes of a path that can matter.
func (p Path) details(t *table) string {
	words := []string{"preference " + strconv.FormatUint(uint64(p.Preference), 10)}
	if p.MED != nil {
		words = append(words, "MED "+strconv.FormatUint(uint64(*p.MED), 10))
	}
	if p.Bandwidth > 0 {
		words = append(words, bits(p.Bandwidth))
	}
	if p.Validity != "" {
		words = append(words, "rpki "+p.Validity)
	}
	if len(p.Communities) > 0 {
		words = append(words, "communities "+strings.Join(p.Communities, " "))
	}
	if !p.Received.IsZero() {
		words = append(words, "received "+t.age(p.Received)+" ago")
	}
	if p.Stale {
		words = append(words, "stale")
	}
	return strings.Join(words, ", ")
}
