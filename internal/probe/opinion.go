package probe

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// cause is the class of a reason. The words of a reason may carry figures and
// would change with every probe; they are only written anew when the class
// changes. What holds for long carries none: Loss and RTT are beside it.
type cause uint8

const (
	causeNone     cause = iota // not asked yet
	causeAsked                 // Unknown: asked, nothing came yet
	causeAnswers               // Up: it answers
	causeReturned              // Up: it answers again
	causeStreak                // Down: too many lost in a row
	causeLoss                  // Down: the window lost too many
	causeLatency               // Down: the window is too slow
	heldAnswers                // not Up yet: too few answers in a row
	heldLoss                   // not Up yet: the window still lost too many
	heldLatency                // not Up yet: the window is still too slow
	causeLocal                 // Unknown: this host cannot send
)

// conclude draws the opinion of t from its window and its streak. One answer is
// enough for a first Up, because nothing contradicts it; whoever was Down must
// show more: Up answers in a row and both figures at or below their leave
// thresholds.
func conclude(t *target, answers, losses int) (Opinion, cause) {
	if why := t.bad(losses); why != causeNone {
		return Down, why
	}
	switch t.opinion {
	case Up:
		return Up, t.cause
	case Down:
		if why := t.held(answers); why != causeNone {
			return Down, why
		}
		return Up, causeReturned
	case Unknown:
		switch {
		case answers == 0:
			return Unknown, t.cause
		case !t.down:
			return Up, causeAnswers
		}
		if why := t.held(answers); why != causeNone {
			return Unknown, why
		}
		return Up, causeReturned
	default:
		panic(fmt.Sprintf("probe: unhandled opinion %d", uint8(t.opinion)))
	}
}

// bad returns what makes t Down, or causeNone. Shares are judged over at least
// half a window and never on one probe alone.
func (t *target) bad(losses int) cause {
	c, w := t.config, &t.window
	switch {
	case losses >= c.Down:
		return causeStreak
	case c.LossEnter > 0 && w.full() && w.lost >= minEvents && w.loss() >= c.LossEnter:
		return causeLoss
	case c.LatencyEnter > 0 && w.full() && w.answered() >= minEvents && w.mean() >= c.LatencyEnter:
		return causeLatency
	default:
		return causeNone
	}
}

// held returns what keeps t from being Up again, or causeNone.
func (t *target) held(answers int) cause {
	c, w := t.config, &t.window
	switch {
	case answers < c.Up:
		return heldAnswers
	case c.LossEnter > 0 && w.loss() > c.LossLeave:
		return heldLoss
	case c.LatencyEnter > 0 && w.mean() > c.LatencyLeave:
		return heldLatency
	default:
		return causeNone
	}
}

// words returns the reason for people. losses is the present streak.
func (t *target) words(why cause, losses int) string {
	c, w := t.config, &t.window
	switch why {
	case causeNone:
		return "not asked yet"
	case causeAsked:
		return "asked, no answer yet"
	case causeAnswers:
		return "answers"
	case causeReturned:
		return inRow(c.Up, "answered")
	case causeStreak:
		return inRow(losses, "lost") + t.trouble.String()
	case causeLoss:
		return fmt.Sprintf("loss %s over %d probes, limit %s", percent(w.loss()), w.count, percent(c.LossEnter))
	case causeLatency:
		return fmt.Sprintf("mean round trip %s over %d answers, limit %s", millis(w.mean()), w.answered(), millis(c.LatencyEnter))
	case heldAnswers:
		return fmt.Sprintf("down before, %d answers in a row needed", c.Up)
	case heldLoss:
		return "answers again, but loss must fall to " + percent(c.LossLeave)
	case heldLatency:
		return "answers again, but mean round trip must fall to " + millis(c.LatencyLeave)
	case causeLocal:
		return "cannot send"
	default:
		panic(fmt.Sprintf("probe: unhandled cause %d", uint8(why)))
	}
}

func inRow(n int, what string) string {
	if n == 1 {
		return "1 probe " + what
	}
	return fmt.Sprintf("%d probes in a row %s", n, what)
}

// String returns the words that follow a reason, "" for silence.
func (t trouble) String() string {
	switch {
	case t.words == "":
		return ""
	case !t.from.IsValid():
		return ": " + t.words
	default:
		return ": " + t.words + ", says " + t.from.String()
	}
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + " %"
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(math.Round(d.Seconds()*1e4)/10, 'f', -1, 64) + " ms"
}
