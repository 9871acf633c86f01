package probe

import (
	"fmt"
	"iter"
)

// Ignored is the reason why a packet was not believed. The zero value means
// that it was.
type Ignored uint8

// Reasons, in the order in which a packet is checked.
const (
	Believed Ignored = iota
	// IgnoredIngress: it arrived on another device.
	IgnoredIngress
	// IgnoredMalformed: too short, or headers that contradict each other.
	IgnoredMalformed
	// IgnoredChecksum: damaged on the way (IPv4; the kernel checks ICMPv6).
	IgnoredChecksum
	// IgnoredType: not an echo reply, unreachable or redirect, or a code that
	// says nothing about the way, such as port unreachable.
	IgnoredType
	// IgnoredIdentifier: an echo reply for somebody else. Raw sockets get
	// none of these, the filter in the kernel holds them back.
	IgnoredIdentifier
	// IgnoredCookie: our identifier by chance, but not our cookie.
	IgnoredCookie
	// IgnoredForeign: an error about a packet that is not our probe, and not
	// from the gateway.
	IgnoredForeign
	// IgnoredSource: a reply from an address that was not asked.
	IgnoredSource
	// IgnoredSequence: a probe that is long forgotten or was never sent.
	IgnoredSequence
	// IgnoredDuplicate: the probe was answered before.
	IgnoredDuplicate
	// IgnoredLate: the answer came after the timeout; the probe is lost.
	IgnoredLate

	ignoredReasons
)

// String returns one word.
func (i Ignored) String() string {
	switch i {
	case Believed:
		return "believed"
	case IgnoredIngress:
		return "ingress"
	case IgnoredMalformed:
		return "malformed"
	case IgnoredChecksum:
		return "checksum"
	case IgnoredType:
		return "type"
	case IgnoredIdentifier:
		return "identifier"
	case IgnoredCookie:
		return "cookie"
	case IgnoredForeign:
		return "foreign"
	case IgnoredSource:
		return "source"
	case IgnoredSequence:
		return "sequence"
	case IgnoredDuplicate:
		return "duplicate"
	case IgnoredLate:
		return "late"
	case ignoredReasons:
		panic("probe: the number of reasons is no reason")
	default:
		panic(fmt.Sprintf("probe: unhandled reason %d", uint8(i)))
	}
}

// IgnoredCounts holds one counter per reason, indexed by Ignored. The counter
// of Believed is not used.
type IgnoredCounts [ignoredReasons]uint64

// All yields every reason with its count, also those that are zero, so that a
// metric exists before its first increment.
func (c IgnoredCounts) All() iter.Seq2[Ignored, uint64] {
	return func(yield func(Ignored, uint64) bool) {
		for i := Believed + 1; i < ignoredReasons; i++ {
			if !yield(i, c[i]) {
				return
			}
		}
	}
}
