package uplink

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// Kind names a source of evidence.
type Kind uint8

// Sources of evidence. The ones before Kernel are hard: facts without which a
// packet cannot be sent that way. KindKernel says that the kernel refuses the next
// hop all the same; it is soft, because the writer goes on trying.
const (
	KindUnknown Kind = iota
	KindLink
	KindAddress
	KindGateway
	KindKernel
	KindNeighbour
	KindICMP
	KindBFD
	KindBGP
)

// String returns the word of k that logs, status and metrics use.
func (k Kind) String() string {
	switch k {
	case KindUnknown:
		return "unknown"
	case KindLink:
		return "link"
	case KindAddress:
		return "address"
	case KindGateway:
		return "gateway"
	case KindKernel:
		return "kernel"
	case KindNeighbour:
		return "neighbour"
	case KindICMP:
		return "icmp"
	case KindBFD:
		return "bfd"
	case KindBGP:
		return "bgp"
	default:
		panic(fmt.Sprintf("uplink: unhandled kind %d", uint8(k)))
	}
}

// Hard reports whether Down of this kind means that the kernel cannot send.
func (k Kind) Hard() bool {
	switch k {
	case KindLink, KindAddress, KindGateway:
		return true
	case KindUnknown, KindKernel, KindNeighbour, KindICMP, KindBFD, KindBGP:
		return false
	default:
		panic(fmt.Sprintf("uplink: unhandled kind %d", uint8(k)))
	}
}

// Opinion is what a source says. Unknown is not Down.
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
		panic(fmt.Sprintf("uplink: unhandled opinion %d", uint8(o)))
	}
}

// Way is one uplink in one family: what evidence and verdicts are about.
type Way struct {
	Uplink string
	Family fib.Family
}

// String returns "name/ipv4".
func (w Way) String() string { return w.Uplink + "/" + w.Family.String() }

// Source is the key of evidence: one kind for one way.
type Source struct {
	Way
	Kind Kind
}

// Evidence is the latest word of one source.
type Evidence struct {
	Source
	Opinion Opinion
	// Since is when the source came to this opinion.
	Since time.Time
	// Reason is the why in words, without the name of the source.
	Reason string
	// Targets are the single observations behind KindICMP. Decide draws the
	// opinion from them, because only it sees the other uplinks; Opinion and
	// Reason above are ignored where Targets is not empty.
	Targets []Target
}

// Snapshot is the latest evidence of every source.
type Snapshot map[Source]Evidence

// Target is what one probe target says through one way.
type Target struct {
	Address netip.Addr
	Opinion Opinion
	// Since is when Opinion was formed.
	Since  time.Time
	Reason string
	// RTT is the mean round-trip time over the window; 0 if not measured.
	RTT time.Duration
	// Loss is the share of probes lost over the window, 0..1.
	Loss float64
}

// Local reports whether evidence of this kind comes from looking at the host,
// rather than from a prober or a session.
func (k Kind) Local() bool { return k.Hard() || k == KindNeighbour }
