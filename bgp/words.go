package bgp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// notification is a NOTIFICATION message as far as words need it.
type notification struct {
	code, subcode uint8
	// text is the communication of RFC 9003.
	text string
	// data is what came behind the subcode, as far as the library says.
	data []byte
}

// Codes of a NOTIFICATION (IANA, "BGP Error (Notification) Codes").
var notificationCodes = map[uint8]string{
	1: "Message Header Error", 2: "OPEN Message Error", 3: "UPDATE Message Error", 4: "Hold Timer Expired",
	5: "Finite State Machine Error", 6: "Cease", 7: "ROUTE-REFRESH Message Error", 8: "Send Hold Timer Expired",
}

// Subcodes by code (IANA, "BGP Error Subcodes").
var notificationSubcodes = map[uint8]map[uint8]string{
	1: {1: "Connection Not Synchronized", 2: "Bad Message Length", 3: "Bad Message Type"},
	2: {
		1: "Unsupported Version Number", 2: "Bad Peer AS", 3: "Bad BGP Identifier", 4: "Unsupported Optional Parameter",
		6: "Unacceptable Hold Time", 7: "Unsupported Capability", 11: "Role Mismatch",
	},
	3: {
		1: "Malformed Attribute List", 2: "Unrecognized Well-known Attribute", 3: "Missing Well-known Attribute",
		4: "Attribute Flags Error", 5: "Attribute Length Error", 6: "Invalid ORIGIN Attribute", 8: "Invalid NEXT_HOP Attribute",
		9: "Optional Attribute Error", 10: "Invalid Network Field", 11: "Malformed AS_PATH",
	},
	5: {
		1: "Receive Unexpected Message in OpenSent State", 2: "Receive Unexpected Message in OpenConfirm State",
		3: "Receive Unexpected Message in Established State",
	},
	6: {
		1: "Maximum Number of Prefixes Reached", 2: "Administrative Shutdown", 3: "Peer De-configured",
		4: "Administrative Reset", 5: "Connection Rejected", 6: "Other Configuration Change",
		7: "Connection Collision Resolution", 8: "Out of Resources", 9: "Hard Reset", 10: "BFD Down",
	},
	7: {1: "Invalid Message Length"},
}

// String returns the registered names of n and what was said with it.
func (n notification) String() string {
	words, ok := notificationCodes[n.code]
	if !ok {
		words = fmt.Sprintf("code %d", n.code)
	}
	if sub, ok := notificationSubcodes[n.code][n.subcode]; ok {
		words += ", " + sub
	} else if n.subcode != 0 {
		words += fmt.Sprintf(", subcode %d", n.subcode)
	}
	if inner, ok := n.inner(); ok {
		return words + ": " + inner.String()
	}
	if text := printable(n.text); text != "" {
		words += fmt.Sprintf(" (%q)", text)
	}
	return words
}

// inner is the notification that a Hard Reset holds (RFC 8538 section 3.1).
func (n notification) inner() (notification, bool) {
	if n.code != 6 || n.subcode != 9 || len(n.data) < 2 || n.data[0] == 6 && n.data[1] == 9 {
		return notification{}, false
	}
	in := notification{code: n.data[0], subcode: n.data[1]}
	if text := n.data[2:]; in.code == 6 && (in.subcode == 2 || in.subcode == 4) && len(text) > 0 && int(text[0]) < len(text) {
		in.text = string(text[1 : 1+int(text[0])])
	}
	return in, true
}

// printable leaves out what a terminal should not be told.
func printable(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
}

// ending is how a session ended, as far as the library says.
type ending uint8

// Endings.
const (
	endUnknown ending = iota
	endReadFailed
	endWriteFailed
	endHoldTimer
	endSent
	endReceived
	endHardReset
	endShut
	endDeconfigured
	endInvalid
	endRestartTimer
	// endGraceful: graceful restart began; why, the library does not say.
	endGraceful
	// endReplaced: the peer opened another connection.
	endReplaced
)

// words says how a session ended. The notification counts where there was one.
func (e ending) words(sent, received *notification) string {
	switch {
	case e == endReplaced:
		return "the peer opened a new connection, as one does that has restarted"
	case received != nil:
		return "the peer ended the session: " + received.String()
	case e == endHoldTimer || sent != nil && sent.code == 4:
		return "the hold time passed without a word from the peer (" + notification{code: 4}.String() + ")"
	case sent != nil:
		return "this side ended the session: " + sent.String()
	}
	switch e {
	case endReadFailed, endGraceful, endUnknown:
		return "the connection was lost without a word: the peer closed or reset it, or it timed out"
	case endWriteFailed:
		return "the connection was lost: nothing more could be sent to the peer (RFC 9687)"
	case endSent, endInvalid:
		return "this side ended the session"
	case endReceived, endHardReset:
		return "the peer ended the session"
	case endShut, endDeconfigured:
		return "the session was ended by configuration"
	case endRestartTimer:
		return "the peer did not come back within its restart time"
	case endHoldTimer, endReplaced:
		return "the session was lost"
	default:
		panic(fmt.Sprintf("bgp: unhandled ending %d", uint8(e)))
	}
}
