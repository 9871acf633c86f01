package fib

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Stray is an object that carries our mark, but in a shape that the other types
// cannot express and hence nobody can want: a route with a TOS, a second route
// under one key, a rule that selects by interface. All that is ever done with it
// is to delete it. It comes from [Kernel.List] only.
type Stray struct {
	// Text is the object in words, as `ip` would name it.
	Text string
	// Request is the netlink request that deletes exactly this object, from its
	// message type on; a string so that strays can be compared.
	Request string
}

func (s Stray) command(v Verb, protocol uint8) string {
	return fmt.Sprintf("ip %s proto %d # %s", v, protocol, s.Text)
}

// strayKindLen is the room that the message type takes in Stray.Request.
const strayKindLen = 2

func newStray(text string, kind uint16, body []byte) Stray {
	w := &builder{}
	w.rawU16(kind)
	w.raw(body...)
	return Stray{Text: text, Request: string(w.b)}
}

func encodeStray(w *builder, v Verb, s Stray, seq uint32) error {
	if v != Delete {
		return fmt.Errorf("a stray is only ever deleted")
	}
	if len(s.Request) < strayKindLen {
		return fmt.Errorf("a stray without a request")
	}
	kind := binary.NativeEndian.Uint16([]byte(s.Request[:strayKindLen]))
	start := w.begin(kind, unix.NLM_F_ACK, seq)
	w.raw([]byte(s.Request[strayKindLen:])...)
	w.end(start)
	return nil
}

// strayRoute makes a stray of a route from its message. Of the attributes only
// the key and the next hop go into the delete: with a next-hop id the kernel
// refuses the expanded ones that it shows itself.
func strayRoute(m routeMessage, body []byte) (Stray, error) {
	a, err := parseAttributes(body[unix.SizeofRtMsg:])
	if err != nil {
		return Stray{}, fmt.Errorf("read stray route: %w", err)
	}
	keep := []uint16{unix.RTA_DST, unix.RTA_SRC, unix.RTA_TABLE, unix.RTA_PRIORITY}
	if m.route.NextHopID != 0 {
		keep = append(keep, rtaNHID)
	} else {
		keep = append(keep, unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH)
	}
	w := &builder{}
	w.raw(body[:8]...)
	w.rawU32(0) // what the flags say of the state of the link is no key
	for _, kind := range keep {
		if a.has(kind) {
			w.attr(kind, a.value[kind]...)
		}
	}
	why := m.strange
	if why == "" {
		why = "a second route under the same key"
	}
	text := fmt.Sprintf("route %s: %s", describeKey(m.route.Key()), why)
	return newStray(text, unix.RTM_DELROUTE, w.b), nil
}

// strayRule makes a stray of a rule: the whole message, because a delete removes
// the first rule that agrees with what it says.
func strayRule(m ruleMessage, body []byte) Stray {
	text := fmt.Sprintf("rule %d (%s): %s", m.rule.Priority, m.rule.Family, m.strange)
	return newStray(text, unix.RTM_DELRULE, body)
}

// describeKey names a route as error messages and logs do.
func describeKey(k RouteKey) string {
	return fmt.Sprintf("%s metric %d table %d", destination(k.Dst), k.Metric, k.Table)
}
