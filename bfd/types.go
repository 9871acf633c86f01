package bfd

import (
	"fmt"
	"strconv"
)

// State is the state of a session, with its value on the wire (RFC 5880 section
// 4.1); the zero value is AdminDown.
type State uint8

// States.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

// String returns "admin-down", "down", "init" or "up".
func (s State) String() string {
	switch s {
	case AdminDown:
		return "admin-down"
	case Down:
		return "down"
	case Init:
		return "init"
	case Up:
		return "up"
	default:
		panic(fmt.Sprintf("bfd: unhandled state %d", uint8(s)))
	}
}

// Diag says why a session left Up last (RFC 5880 section 4.1), 0..31.
type Diag uint8

// Diagnostics.
const (
	DiagNone Diag = iota
	DiagTimeExpired
	DiagEchoFailed
	DiagNeighborSignaledDown
	DiagForwardingReset
	DiagPathDown
	DiagConcatenatedPathDown
	DiagAdminDown
	DiagReverseConcatenatedPathDown
)

var diagWords = [...]string{
	DiagNone:                        "none",
	DiagTimeExpired:                 "detection time expired",
	DiagEchoFailed:                  "echo failed",
	DiagNeighborSignaledDown:        "neighbour signaled down",
	DiagForwardingReset:             "forwarding plane reset",
	DiagPathDown:                    "path down",
	DiagConcatenatedPathDown:        "concatenated path down",
	DiagAdminDown:                   "administratively down",
	DiagReverseConcatenatedPathDown: "reverse concatenated path down",
}

// String returns the words of the registry, "unknown(31)" for what it reserves.
func (d Diag) String() string {
	if int(d) < len(diagWords) {
		return diagWords[d]
	}
	return "unknown(" + strconv.Itoa(int(d)) + ")"
}

// Mode is how a session finds out whether the path works.
type Mode uint8

// Modes.
const (
	// Async exchanges control packets with a peer that runs BFD (RFC 5880).
	Async Mode = iota
	// Echo sends packets that a peer without BFD forwards back (RFC 9747).
	Echo
)

// String returns "async" or "echo".
func (m Mode) String() string {
	switch m {
	case Async:
		return "async"
	case Echo:
		return "echo"
	default:
		panic(fmt.Sprintf("bfd: unhandled mode %d", uint8(m)))
	}
}

// AuthType is a kind of authentication (RFC 5880 section 4.1).
type AuthType uint8

// Kinds of authentication.
const (
	AuthNone AuthType = iota
	AuthSimple
	AuthMD5
	AuthMeticulousMD5
	AuthSHA1
	AuthMeticulousSHA1
)

var authWords = [...]string{"none", "simple", "md5", "meticulous-md5", "sha1", "meticulous-sha1"}

// String returns the word that configuration uses, "unknown(9)" for others.
func (a AuthType) String() string {
	if int(a) < len(authWords) {
		return authWords[a]
	}
	return "unknown(" + strconv.Itoa(int(a)) + ")"
}

// ParseAuthType is the reverse of String for the types that exist.
func ParseAuthType(word string) (AuthType, error) {
	for i, w := range authWords {
		if w == word {
			return AuthType(i), nil
		}
	}
	return AuthNone, fmt.Errorf("authentication type %q: want none, simple, md5, meticulous-md5, sha1 or meticulous-sha1", word)
}

// Drop is the reason why a packet was not taken.
type Drop uint8

// Reasons, in the order of the checks: the first one that applies is counted.
const (
	// DropNone: the packet was taken.
	DropNone Drop = iota
	// DropTTL: the hop limit is not 255 (RFC 5881 section 5), below the
	// minimum of a multihop session, or not 254 for a looped echo packet (RFC
	// 9747 section 2).
	DropTTL
	// DropShort: fewer octets than the fixed part.
	DropShort
	// DropVersion: not version 1.
	DropVersion
	// DropLength: Length below 24, or 26 with authentication, or beyond the
	// datagram.
	DropLength
	// DropMultiplier: Detect Mult is 0.
	DropMultiplier
	// DropMultipoint: the M bit is set.
	DropMultipoint
	// DropMyDiscriminator: My Discriminator is 0.
	DropMyDiscriminator
	// DropNoSession: there is no session with this Your Discriminator.
	DropNoSession
	// DropState: no Your Discriminator in a state that has to have one.
	DropState
	// DropNoPeer: no Your Discriminator, and no session with this peer.
	DropNoPeer
	// DropPort: the session belongs to another port: single hop, multihop or
	// echo.
	DropPort
	// DropInterface: the session belongs to another interface.
	DropInterface
	// DropAuthUnexpected: authentication where none is configured.
	DropAuthUnexpected
	// DropAuthMissing: none where it is configured.
	DropAuthMissing
	// DropAuthType: another kind than configured.
	DropAuthType
	// DropAuthLength: a section of the wrong length.
	DropAuthLength
	// DropAuthKey: a key that is not configured.
	DropAuthKey
	// DropAuthDigest: a wrong password or digest.
	DropAuthDigest
	// DropAuthSequence: a sequence number outside the window: a replay.
	DropAuthSequence
	// DropAdminDown: the session is administratively down here.
	DropAdminDown
	// DropEchoForeign: an echo packet that this session did not send.
	DropEchoForeign
	// DropEchoOld: an echo packet older than the newest that came back.
	DropEchoOld
	// DropEchoTest: an echo packet of the self-test, which tells why others do
	// not come back and says nothing for the path.
	DropEchoTest
)

// drops is how many reasons there are.
const drops = int(DropEchoTest) + 1

var dropWords = [drops]string{
	DropNone:            "none",
	DropTTL:             "ttl",
	DropShort:           "short",
	DropVersion:         "version",
	DropLength:          "length",
	DropMultiplier:      "multiplier",
	DropMultipoint:      "multipoint",
	DropMyDiscriminator: "my-discriminator",
	DropNoSession:       "no-session",
	DropState:           "state",
	DropNoPeer:          "no-peer",
	DropPort:            "port",
	DropInterface:       "interface",
	DropAuthUnexpected:  "auth-unexpected",
	DropAuthMissing:     "auth-missing",
	DropAuthType:        "auth-type",
	DropAuthLength:      "auth-length",
	DropAuthKey:         "auth-key",
	DropAuthDigest:      "auth-digest",
	DropAuthSequence:    "auth-sequence",
	DropAdminDown:       "admin-down",
	DropEchoForeign:     "echo-foreign",
	DropEchoOld:         "echo-old",
	DropEchoTest:        "echo-test",
}

// String returns the word that status and metrics use.
func (d Drop) String() string {
	if int(d) < drops {
		return dropWords[d]
	}
	panic(fmt.Sprintf("bfd: unhandled drop %d", uint8(d)))
}
