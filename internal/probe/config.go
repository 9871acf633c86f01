package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config is all that a Prober needs to know. It is a comparable description:
// two equal values (see Equal) mean the same prober.
type Config struct {
	// Uplink names the way in reports and logs.
	Uplink string
	// Device is the interface to send by and to hear on.
	Device string
	// Mark is the firewall mark of the packets (SO_MARK); 0 sets none.
	Mark uint32
	// Source is the address to send from; its family is the family of the
	// prober and of all Targets.
	Source netip.Addr
	// Gateway is the first hop, whose ICMP errors are counted as advice; the
	// zero Addr counts none.
	Gateway netip.Addr
	// Targets may be empty: then the prober only listens for advice. A target
	// of the other family stays Unknown and is never asked.
	Targets []netip.Addr
	// Interval between probes to one target, at least 10 ms, 1 s if 0; Timeout
	// after which a probe without an answer is lost, at most Interval*Down,
	// Interval if 0.
	Interval, Timeout time.Duration
	// Down is the number of lost probes in a row that makes a target Down, Up
	// the number of answers in a row that makes it Up again. Both are 1..1000;
	// what lies outside is taken as the nearest of these.
	Down, Up int
	// LossEnter and LossLeave are shares (0..1) of lost probes over the window
	// at which a target becomes Down and at or below which it may be Up again.
	// LossEnter 0 disables the threshold.
	LossEnter, LossLeave float64
	// LatencyEnter and LatencyLeave do the same for the mean round-trip time.
	// LatencyLeave is LatencyEnter if it is 0.
	LatencyEnter, LatencyLeave time.Duration
}

const (
	defaultInterval = time.Second
	// minInterval keeps a mistake in a unit from becoming a flood.
	minInterval = 10 * time.Millisecond
	// maxStreak bounds Down and Up, and with them the memory of a target.
	maxStreak = 1000
)

// Equal reports whether c and o describe the same prober. The order of the
// targets counts, because it is the order of the report.
func (c Config) Equal(o Config) bool {
	return c.Uplink == o.Uplink && c.Device == o.Device && c.Mark == o.Mark &&
		c.Source == o.Source && c.Gateway == o.Gateway &&
		slices.Equal(c.Targets, o.Targets) &&
		c.Interval == o.Interval && c.Timeout == o.Timeout &&
		c.Down == o.Down && c.Up == o.Up &&
		c.LossEnter == o.LossEnter && c.LossLeave == o.LossLeave &&
		c.LatencyEnter == o.LatencyEnter && c.LatencyLeave == o.LatencyLeave
}

// normal returns c with its defaults filled in and its limits kept, and with
// targets that nobody else can change.
func (c Config) normal() Config {
	c.Source, c.Gateway = c.Source.Unmap(), c.Gateway.Unmap()
	c.Targets = slices.Clone(c.Targets)
	if c.Interval <= 0 {
		c.Interval = defaultInterval
	}
	c.Interval = max(c.Interval, minInterval)
	c.Down = min(max(c.Down, 1), maxStreak)
	c.Up = min(max(c.Up, 1), maxStreak)
	if c.Timeout <= 0 {
		c.Timeout = c.Interval
	}
	c.Timeout = min(c.Timeout, c.Interval*time.Duration(c.Down))
	c.LossLeave = min(c.LossLeave, c.LossEnter)
	if c.LatencyLeave <= 0 {
		c.LatencyLeave = c.LatencyEnter
	}
	c.LatencyLeave = min(c.LatencyLeave, c.LatencyEnter)
	return c
}

// Opinion is what a target says. Unknown is not Down.
type Opinion uint8

// Opinions.
const (
	Unknown Opinion = iota
	Up
	Down
)

// String returns "unknown", "up" or "down".
func (o Opinion) String() string {
	switch o {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		panic(fmt.Sprintf("probe: unhandled opinion %d", uint8(o)))
	}
}

// Report is everything that a prober knows. The receiver may keep it.
type Report struct {
	Uplink string
	IPv6   bool
	// Targets are in the order of the configuration.
	Targets []Target
	Advice  Advice
	// Ignored counts the packets that were not believed, by reason, since the
	// prober began.
	Ignored IgnoredCounts
	// Err says why nothing can be probed at the moment (the socket could not
	// be opened); all targets are then Unknown. nil if all is well.
	Err error
}

// Target is the state of one target.
type Target struct {
	Address netip.Addr
	Opinion Opinion
	// Since is when Opinion was formed; Reason is why, in words.
	Since  time.Time
	Reason string
	// RTT is the mean over the answers of the window, Loss the share of lost
	// probes (0..1), Samples the number of finished probes in the window.
	RTT     time.Duration
	Loss    float64
	Samples int
}

// Advice counts what the gateway itself told us.
type Advice struct {
	Redirects, Unreachables uint64
	// Last describes the last one in words; "" if there was none.
	Last   string
	LastAt time.Time
}
