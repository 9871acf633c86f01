package probe

import (
	"net/netip"
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
	// Targets may be empty: then the prober only listens for advice.
	Targets []netip.Addr
	// Interval between probes to one target; Timeout after which a probe
	// without an answer is lost, at most Interval*Down.
	Interval, Timeout time.Duration
	// Down is the number of lost probes in a row that makes a target Down, Up
	// the number of answers in a row that makes it Up again.
	Down, Up int
	// LossEnter and LossLeave are shares (0..1) of lost probes over the window
	// at which a target becomes Down and at or below which it may be Up again.
	// LossEnter 0 disables the threshold.
	LossEnter, LossLeave float64
	// LatencyEnter and LatencyLeave do the same for the mean round-trip time.
	LatencyEnter, LatencyLeave time.Duration
}

// Opinion is what a target says. Unknown is not Down.
type Opinion uint8

// Opinions.
const (
	Unknown Opinion = iota
	Up
	Down
)

// Report is everything that a prober knows.
type Report struct {
	Uplink  string
	IPv6    bool
	Targets []Target
	Advice  Advice
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
