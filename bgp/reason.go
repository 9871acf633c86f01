package bgp

import "fmt"

// Reason is why a path is refused. Each has its own counter.
type Reason uint8

// Reasons. The zero Reason means that a path is accepted.
const (
	Accepted Reason = iota
	// NoPolicy: nothing is asked of the peer (RFC 8212).
	NoPolicy
	// NotAsked: another prefix than those that are asked for.
	NotAsked
	// TooSpecific: longer than the longest prefix that is accepted.
	TooSpecific
	// Bogon: special-purpose space that is never routed (BCP 194 section 6.1.1).
	Bogon
	// OwnPrefix: our own, or part of it (BCP 194 section 6.1.4).
	OwnPrefix
	// OwnAS: our AS is in the AS path (RFC 4271 section 9.1.2).
	OwnAS
	// FirstAS: the AS path does not begin with the peer (RFC 4271 section 6.3, BCP 194
	// section 9).
	FirstAS
	// BadAS: a private or reserved AS in the AS path (BCP 194 section 9, RFC 7607).
	BadAS
	// NextHop: the next hop is not the peer (BCP 194 section 10).
	NextHop
	// OwnNextHop: the next hop is one of our own addresses (RFC 4271 section 5.1.3).
	OwnNextHop
	// Blackhole: the community BLACKHOLE, which we do not honour (RFC 7999 section 4).
	Blackhole
	// Invalid: the origin is invalid by RPKI (RFC 6811), and the operator wants such
	// paths refused.
	Invalid
	// Malformed: an attribute that GoBGP let pass cannot be used.
	Malformed
)

// reasons is how many there are.
const reasons = int(Malformed) + 1

// String returns r in words that follow "refused: ".
func (r Reason) String() string {
	switch r {
	case Accepted:
		return "accepted"
	case NoPolicy:
		return "nothing is imported from this peer (RFC 8212)"
	case NotAsked:
		return "not asked for by import"
	case TooSpecific:
		return "longer than max-length"
	case Bogon:
		return "special-purpose address space"
	case OwnPrefix:
		return "one of our own prefixes"
	case OwnAS:
		return "our own AS is in the AS path"
	case FirstAS:
		return "the AS path does not begin with the peer's AS"
	case BadAS:
		return "a private or reserved AS is in the AS path"
	case NextHop:
		return "the next hop is not the peer"
	case OwnNextHop:
		return "the next hop is an address of ours"
	case Blackhole:
		return "carries the BLACKHOLE community (RFC 7999), which is not honoured"
	case Invalid:
		return "its origin is invalid by RPKI"
	case Malformed:
		return "an attribute cannot be used"
	default:
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
}

// MarshalText returns a short word for r, which metrics and JSON use.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.Word()), nil }

// UnmarshalText takes what [Reason.MarshalText] makes: a status crosses the border
// between two processes.
func (r *Reason) UnmarshalText(text []byte) error {
	for i, word := range reasonWords {
		if word == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("reason %q does not exist", text)
}

// reasonWords are the short words of all reasons.
var reasonWords = [reasons]string{
	"accepted", "no-policy", "not-asked", "too-specific", "bogon", "own-prefix", "own-as", "first-as", "bad-as",
	"next-hop", "own-next-hop", "blackhole", "rpki-invalid", "malformed",
}

// Word returns a short word for r, such as "own-prefix".
func (r Reason) Word() string {
	if int(r) >= reasons {
		return r.String()
	}
	return reasonWords[r]
}
