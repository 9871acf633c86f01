package status

import (
	"fmt"
	"time"
)

// ago prints the age of a moment as the begin of a sentence, or nothing if the
// moment is not known.
func (t *table) ago(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return t.age(at) + " ago: "
}

// age prints how long ago something was with its two most important units, "-"
// where that is not known. A clock that was set back makes 0s.
func (t *table) age(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	d := max(0, t.now.Sub(at))
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < day:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d/day), int(d.Hours())%24)
	}
}

// percent prints a share, never as 0% or 100% where it is not quite.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.01:
		return "<1%"
	case share > 0.99 && share < 1:
		return ">99%"
	default:
		return fmt.Sprintf("%.0f%%", share*100)
	}
}

// milliseconds prints a round-trip time, "-" where none was measured.
func milliseconds(seconds float64) string {
	switch ms := seconds * 1000; {
	case ms <= 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.2fms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1fms", ms)
	default:
		return fmt.Sprintf("%.0fms", ms)
	}
}

// left prints how long it is until a moment.
func (t *table) left(at time.Time) string {
	return t.age(t.now.Add(-max(0, at.Sub(t.now))))
}
