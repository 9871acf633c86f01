package status

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BFDClosed is the state of a session that is wanted and not open.
const BFDClosed = "closed"

// BFD is a session of Bidirectional Forwarding Detection (RFC 5880).
type BFD struct {
	// Mode is "async" or "echo".
	Mode     string `json:"mode"`
	Multihop bool   `json:"multihop"`
	Peer     string `json:"peer,omitempty"`
	Local    string `json:"local,omitempty"`
	// EchoSource is where echo packets come from.
	EchoSource string `json:"echo_source,omitempty"`
	// State is "admin-down", "down", "init", "up" or "closed".
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Problem is what keeps the session from working.
	Problem string `json:"problem,omitempty"`
	// Diagnostic is why the session left Up last; RemoteDiagnostic and RemoteState
	// are the peer's words, absent before its first packet.
	Diagnostic       string `json:"diagnostic,omitempty"`
	RemoteState      string `json:"remote_state,omitempty"`
	RemoteDiagnostic string `json:"remote_diagnostic,omitempty"`
	// Discriminators are 0 where they are not known.
	LocalDiscriminator  uint32 `json:"local_discriminator"`
	RemoteDiscriminator uint32 `json:"remote_discriminator"`
	// TxInterval and RxInterval are negotiated; 0 means that nothing is sent at a
	// regular pace, or is not known.
	TxInterval    float64 `json:"tx_interval_seconds"`
	RxInterval    float64 `json:"rx_interval_seconds"`
	DetectionTime float64 `json:"detection_time_seconds"`
	// Multiplier is ours, RemoteMultiplier the peer's.
	Multiplier       int `json:"multiplier"`
	RemoteMultiplier int `json:"remote_multiplier"`
	// Polling: a change of intervals waits for the peer to confirm it. RemoteDemand:
	// the peer asked us to be quiet. Backoff is by how much intervals are stretched
	// for congestion, 1 for not at all.
	Polling      bool `json:"polling"`
	RemoteDemand bool `json:"remote_demand"`
	Backoff      int  `json:"backoff"`
	// Sent and Received count packets, Dropped those that were not taken, by reason.
	Sent         uint64            `json:"sent"`
	Received     uint64            `json:"received"`
	Dropped      map[string]uint64 `json:"dropped,omitempty"`
	LastReceived time.Time         `json:"last_received,omitzero"`
	// Ups and Failures count how often the session came up, and failed.
	Ups      uint64 `json:"ups"`
	Failures uint64 `json:"failures"`
	// RTT is that of the last echo packet; 0 if not measured.
	RTT float64 `json:"rtt_seconds"`
	// WorstLateness is the longest that a packet was sent after its time.
	WorstLateness float64 `json:"worst_lateness_seconds"`
	// Auth is the type of authentication, "none" for none. Keys are nowhere.
	Auth string `json:"auth"`
}

// session prints the session of a way under the evidence that it gives.
func (t *table) session(e Evidence, b *BFD) {
	if e.Kind != "bfd" || b == nil {
		return
	}
	line := b.summary()
	if b.Problem != "" && !strings.Contains(e.Reason, b.Problem) {
		line += ", " + b.Problem
	}
	t.prose(indent+strings.Repeat(" ", len("neighbour ")), line)
}

// summary is a session in one line, but for its problem.
func (b BFD) summary() string {
	words := []string{b.Mode}
	if b.Multihop {
		words[0] += " multihop"
	}
	if b.Peer != "" {
		words[0] += " with " + b.Peer
	}
	words[0] += ": " + b.State
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if b.State == "up" {
		if b.Mode == "echo" {
			add("every %s", orNever(b.TxInterval))
		} else {
			add("tx %s, rx %s", orNever(b.TxInterval), orNever(b.RxInterval))
		}
		add("detection %s", seconds(b.DetectionTime))
	} else if b.State != BFDClosed && b.Diagnostic != "" && b.Diagnostic != "none" {
		add("left up for: %s", b.Diagnostic)
	}
	if b.RTT > 0 {
		add("rtt %s", milliseconds(b.RTT))
	}
	if b.State != BFDClosed {
		add("sent %d, received %d", b.Sent, b.Received)
	}
	for _, why := range slices.Sorted(maps.Keys(b.Dropped)) {
		add("dropped %d (%s)", b.Dropped[why], why)
	}
	if b.Failures > 0 {
		add("failed %s", times(b.Failures))
	}
	if b.Auth != "" && b.Auth != "none" {
		add("auth %s", b.Auth)
	}
	if b.Polling {
		add("polling")
	}
	return strings.Join(words, ", ")
}

// times prints a count of events.
func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return strconv.FormatUint(n, 10) + " times"
}

// seconds prints a duration as the configuration writes it, "150ms".
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond).String()
}

// orNever prints an interval; without one nothing is sent at a regular pace.
func orNever(s float64) string {
	if s == 0 {
		return "none"
	}
	return seconds(s)
}

// bfdWords are the states that the metric enumerates.
var bfdWords = []string{"up", "init", "down", "admin-down", BFDClosed}

// bfdDescs are the metrics about sessions, in the order of docs/operations.md.
var bfdDescs = struct {
	state, ups, failures, packets, dropped, detection, rtt, lateness *prometheus.Desc
}{
	state:     desc("bfd_state", "1 for the state of the session of an uplink and family.", with(wayLabels, "state")...),
	ups:       desc("bfd_ups_total", "How often the session came up.", wayLabels...),
	failures:  desc("bfd_failures_total", "How often the session failed.", wayLabels...),
	packets:   desc("bfd_packets_total", "Packets sent and received.", with(wayLabels, "direction")...),
	dropped:   desc("bfd_dropped_total", "Packets that were not taken.", with(wayLabels, "reason")...),
	detection: desc("bfd_detection_time_seconds", "After how much silence the session fails; absent if not negotiated.", wayLabels...),
	rtt:       desc("bfd_rtt_seconds", "Round-trip time of the last echo packet; absent without one.", wayLabels...),
	lateness:  desc("bfd_worst_lateness_seconds", "Longest that a packet was sent after its time.", wayLabels...),
}

// bfd sends the metrics of the session of a way.
func (m emitter) bfd(b *BFD, way []string) {
	m.words(bfdDescs.state, bfdWords, b.State, way...)
	m.count(bfdDescs.ups, b.Ups, way...)
	m.count(bfdDescs.failures, b.Failures, way...)
	m.count(bfdDescs.packets, b.Sent, with(way, "sent")...)
	m.count(bfdDescs.packets, b.Received, with(way, "received")...)
	for why, n := range b.Dropped {
		m.count(bfdDescs.dropped, n, with(way, why)...)
	}
	if b.DetectionTime > 0 {
		m.gauge(bfdDescs.detection, b.DetectionTime, way...)
	}
	if b.RTT > 0 {
		m.gauge(bfdDescs.rtt, b.RTT, way...)
	}
	m.gauge(bfdDescs.lateness, b.WorstLateness, way...)
}
