package fib

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// linkMessage is what is read of RTM_NEWLINK and RTM_DELLINK.
type linkMessage struct {
	index   int
	name    string
	up      bool
	carrier bool
}

// decodeLink reads the part of a message behind its header.
func decodeLink(body []byte) (linkMessage, error) {
	if len(body) < unix.SizeofIfInfomsg {
		return linkMessage{}, malformed("a link of %d bytes", len(body))
	}
	name, err := parseLinkName(body[unix.SizeofIfInfomsg:])
	if err != nil {
		return linkMessage{}, fmt.Errorf("read link: %w", err)
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	return linkMessage{
		index:   int(int32(binary.NativeEndian.Uint32(body[4:]))),
		name:    name,
		up:      flags&unix.IFF_UP != 0,
		carrier: flags&unix.IFF_LOWER_UP != 0,
	}, nil
}

func parseLinkName(b []byte) (string, error) {
	a, err := parseAttributes(b)
	if err != nil {
		return "", err
	}
	return unix.ByteSliceToString(a.value[unix.IFLA_IFNAME]), nil
}

// String says in words what the link does.
func (l linkMessage) String() string {
	state := "down"
	switch {
	case l.up && l.carrier:
		state = "up"
	case l.up:
		state = "without carrier"
	}
	return fmt.Sprintf("link %s %s", l.name, state)
}

// addressMessage is what is read of RTM_NEWADDR and RTM_DELADDR.
type addressMessage struct {
	index  int
	prefix netip.Prefix
}

// decodeAddressMessage reads the part of a message behind its header.
func decodeAddressMessage(body []byte) (addressMessage, error) {
	if len(body) < unix.SizeofIfAddrmsg {
		return addressMessage{}, malformed("an address of %d bytes", len(body))
	}
	a, err := parseAttributes(body[unix.SizeofIfAddrmsg:])
	if err != nil {
		return addressMessage{}, fmt.Errorf("read address: %w", err)
	}
	kind := uint16(unix.IFA_LOCAL) // IFA_ADDRESS is the peer where there is one
	if !a.has(kind) {
		kind = unix.IFA_ADDRESS
	}
	addr, err := a.address(kind, familyFromKernel(body[0]))
	if err != nil {
		return addressMessage{}, fmt.Errorf("read address: %w", err)
	}
	return addressMessage{
		index:  int(int32(binary.NativeEndian.Uint32(body[4:]))),
		prefix: netip.PrefixFrom(addr, int(body[1])),
	}, nil
}
