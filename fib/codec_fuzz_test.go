package fib

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// decodeAny reads body as a message of kind and returns the object, if it is one
// that can be written again.
func decodeAny(kind uint16, body []byte) (Object, error) {
	switch kind {
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		m, err := decodeNextHop(body)
		if m.isGroup {
			return m.group, err
		}
		return m.nextHop, err
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		m, err := decodeRoute(body)
		if err == nil {
			_, err = strayRoute(m, body)
		}
		return m.route, err
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		m, err := decodeRule(body)
		if err == nil {
			strayRule(m, body)
		}
		return m.rule, err
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		_, err := decodeLink(body)
		return nil, err
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		_, err := decodeAddressMessage(body)
		return nil, err
	default:
		return nil, nil
	}
}

// FuzzDecode: nothing that a socket may deliver makes the decoders panic, and an
// object that they accept and the encoder takes means the same when it is read
// back. The committed corpus is from dumps and events of Linux 6.18.
func FuzzDecode(f *testing.F) {
	for _, family := range Families {
		for _, o := range shapes(family) {
			b, err := encodeOp(nil, Op{Verb: Add, Object: o, Protocol: 133}, 1)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	k := newNetlink(nil)
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for len(datagram) > 0 {
			h, body, rest, err := nextMessage(datagram)
			if err != nil {
				return
			}
			if len(rest) >= len(datagram) {
				t.Fatal("no progress")
			}
			datagram = rest
			_ = decodeVerdict(h, body)
			k.event(h, body, testOwner)
			o, err := decodeAny(h.kind, body)
			if err != nil || o == nil {
				continue
			}
			again, err := encodeOp(nil, Op{Verb: Add, Object: o, Protocol: 133}, 1)
			if err != nil {
				continue
			}
			_, body, _, err = nextMessage(again)
			if err != nil {
				t.Fatal(err)
			}
			back, err := decodeAny(h.kind, body)
			if err != nil {
				t.Fatalf("%+v encoded and read back: %v", o, err)
			}
			if diff := cmp.Diff(o, back, compareAddresses); diff != "" {
				t.Fatalf("read back (-first +second):\n%s", diff)
			}
		}
	})
}
