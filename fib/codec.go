package fib

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The raw codec turns ops into netlink messages and netlink messages into
// objects. It works on bytes only, so it is tested and fuzzed without a kernel.
// Layouts: include/uapi/linux/{netlink,rtnetlink,nexthop,fib_rules}.h. All
// numbers are in the byte order of the host unless a comment says otherwise.

// headerLen is sizeof(struct nlmsghdr); attributeHeaderLen is sizeof(struct
// rtattr).
const (
	headerLen          = unix.SizeofNlMsghdr
	attributeHeaderLen = unix.SizeofRtAttr
	// attributeTypeMask is NLA_TYPE_MASK: the two bits above are flags.
	attributeTypeMask = 0x3fff
)

// errMalformed marks bytes that are not what the kernel's headers describe.
var errMalformed = errors.New("malformed netlink message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// header is struct nlmsghdr.
type header struct {
	length uint32
	kind   uint16
	flags  uint16
	seq    uint32
	port   uint32
}

// nextMessage splits the first message off datagram. An empty datagram has no
// message and is an error: callers stop before.
func nextMessage(datagram []byte) (h header, body, rest []byte, err error) {
	if len(datagram) < headerLen {
		return header{}, nil, nil, malformed("%d bytes are too few for a header", len(datagram))
	}
	h = header{
		length: binary.NativeEndian.Uint32(datagram),
		kind:   binary.NativeEndian.Uint16(datagram[4:]),
		flags:  binary.NativeEndian.Uint16(datagram[6:]),
		seq:    binary.NativeEndian.Uint32(datagram[8:]),
		port:   binary.NativeEndian.Uint32(datagram[12:]),
	}
	if h.length < headerLen || uint64(h.length) > uint64(len(datagram)) {
		return header{}, nil, nil, malformed("length %d in a datagram of %d bytes", h.length, len(datagram))
	}
	body = datagram[headerLen:h.length]
	rest = datagram[min(align(int(h.length)), len(datagram)):]
	return h, body, rest, nil
}

// align rounds n up to the alignment of messages and attributes, which is the
// same for both (NLMSG_ALIGNTO, RTA_ALIGNTO).
func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// attributeSlots is one more than the largest attribute type that is read.
const attributeSlots = 32

// attributes holds the attributes of one message by type. As in the kernel, the
// last one of a type wins.
type attributes struct {
	value [attributeSlots][]byte
	// present has a bit per type that occurs; types from 63 share the last.
	present uint64
}

// parseAttributes reads b, which follows the fixed part of a message or is the
// payload of a nested attribute.
func parseAttributes(b []byte) (attributes, error) {
	var a attributes
	for len(b) > 0 {
		if len(b) < attributeHeaderLen {
			// The kernel pads the end of a message to four bytes.
			return a, malformed("%d bytes behind the last attribute", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) & attributeTypeMask
		if length < attributeHeaderLen || length > len(b) {
			return a, malformed("attribute %d of length %d in %d bytes", kind, length, len(b))
		}
		a.present |= 1 << min(kind, 63)
		if kind < attributeSlots {
			a.value[kind] = b[attributeHeaderLen:length]
		}
		b = b[min(align(length), len(b)):]
	}
	return a, nil
}

// has reports whether an attribute of the type occurs.
func (a *attributes) has(kind uint16) bool { return a.present&(1<<min(kind, 63)) != 0 }

// beyond reports whether a type occurs that is not in known.
func (a *attributes) beyond(known uint64) (kind int, yes bool) {
	rest := a.present &^ known
	for kind := range 64 {
		if rest&(1<<kind) != 0 {
			return kind, true
		}
	}
	return 0, false
}

// uint32 returns the attribute as a number, 0 where it does not occur.
func (a *attributes) uint32(kind uint16) (uint32, error) {
	if !a.has(kind) {
		return 0, nil
	}
	v := a.value[kind]
	if len(v) != 4 {
		return 0, malformed("attribute %d has %d bytes, want 4", kind, len(v))
	}
	return binary.NativeEndian.Uint32(v), nil
}

// uint16 is like uint32 for two bytes.
func (a *attributes) uint16(kind uint16) (uint16, error) {
	if !a.has(kind) {
		return 0, nil
	}
	v := a.value[kind]
	if len(v) != 2 {
		return 0, malformed("attribute %d has %d bytes, want 2", kind, len(v))
	}
	return binary.NativeEndian.Uint16(v), nil
}

// uint8 is like uint32 for one byte.
func (a *attributes) uint8(kind uint16) (uint8, error) {
	if !a.has(kind) {
		return 0, nil
	}
	v := a.value[kind]
	if len(v) != 1 {
		return 0, malformed("attribute %d has %d bytes, want 1", kind, len(v))
	}
	return v[0], nil
}

// address returns the attribute as an address of f, the zero Addr where it does
// not occur.
func (a *attributes) address(kind uint16, f Family) (netip.Addr, error) {
	if !a.has(kind) {
		return netip.Addr{}, nil
	}
	addr, err := decodeAddress(a.value[kind], f)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read attribute %d: %w", kind, err)
	}
	return addr, nil
}

func decodeAddress(b []byte, f Family) (netip.Addr, error) {
	addr, ok := netip.AddrFromSlice(b)
	if !ok || len(b) != addressLen(f) {
		return netip.Addr{}, malformed("an address of %s has %d bytes", f, len(b))
	}
	return addr, nil
}

// prefix returns the attribute as a prefix of f. The kernel leaves the
// attribute out where bits is 0.
func (a *attributes) prefix(kind uint16, f Family, bits uint8) (netip.Prefix, error) {
	if !a.has(kind) {
		if bits != 0 {
			return netip.Prefix{}, malformed("length %d without a prefix", bits)
		}
		return f.Any(), nil
	}
	addr, err := a.address(kind, f)
	if err != nil {
		return netip.Prefix{}, err
	}
	p := netip.PrefixFrom(addr, int(bits))
	if !p.IsValid() {
		return netip.Prefix{}, malformed("length %d of a prefix of %s", bits, f)
	}
	return p.Masked(), nil
}

// addressLen returns the bytes of an address of f, 0 for an unknown family.
func addressLen(f Family) int {
	switch f {
	case IPv4:
		return 4
	case IPv6:
		return 16
	case FamilyUnknown:
		return 0
	default:
		panic(fmt.Sprintf("fib: unhandled family %d", uint8(f)))
	}
}

// familyFromKernel maps AF_INET and AF_INET6; everything else is unknown.
func familyFromKernel(af uint8) Family {
	switch af {
	case unix.AF_INET:
		return IPv4
	case unix.AF_INET6:
		return IPv6
	default:
		return FamilyUnknown
	}
}

// addressFamily is the reverse of familyFromKernel.
func addressFamily(f Family) uint8 {
	switch f {
	case IPv4:
		return unix.AF_INET
	case IPv6:
		return unix.AF_INET6
	case FamilyUnknown:
		return unix.AF_UNSPEC
	default:
		panic(fmt.Sprintf("fib: unhandled family %d", uint8(f)))
	}
}

// builder appends messages to one buffer, so that a batch is one write.
type builder struct{ b []byte }

// begin opens a message and returns its offset for end.
func (w *builder) begin(kind, flags uint16, seq uint32) int {
	start := len(w.b)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0)
	w.b = binary.NativeEndian.AppendUint16(w.b, kind)
	w.b = binary.NativeEndian.AppendUint16(w.b, flags|unix.NLM_F_REQUEST)
	w.b = binary.NativeEndian.AppendUint32(w.b, seq)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0)
	return start
}

// end closes the message that begin opened at start.
func (w *builder) end(start int) {
	binary.NativeEndian.PutUint32(w.b[start:], uint32(len(w.b)-start))
	w.pad()
}

func (w *builder) pad() {
	for len(w.b)%unix.NLMSG_ALIGNTO != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *builder) raw(b ...byte)   { w.b = append(w.b, b...) }
func (w *builder) rawU16(n uint16) { w.b = binary.NativeEndian.AppendUint16(w.b, n) }
func (w *builder) rawU32(n uint32) { w.b = binary.NativeEndian.AppendUint32(w.b, n) }

// open starts an attribute and returns its offset for close.
func (w *builder) open(kind uint16) int {
	start := len(w.b)
	w.rawU16(0)
	w.rawU16(kind)
	return start
}

// close ends the attribute that open started. The caller keeps it below 64 KiB.
func (w *builder) close(start int) {
	binary.NativeEndian.PutUint16(w.b[start:], uint16(len(w.b)-start))
	w.pad()
}

func (w *builder) attr(kind uint16, value ...byte) {
	at := w.open(kind)
	w.raw(value...)
	w.close(at)
}

func (w *builder) attrU16(kind, n uint16) {
	at := w.open(kind)
	w.rawU16(n)
	w.close(at)
}

func (w *builder) attrU32(kind uint16, n uint32) {
	at := w.open(kind)
	w.rawU32(n)
	w.close(at)
}

func (w *builder) attrAddr(kind uint16, a netip.Addr) { w.attr(kind, a.AsSlice()...) }

// checkPrefix refuses what the kernel would silently change or misread: host
// bits, IPv4 in IPv6, and the wrong family.
func checkPrefix(what string, p netip.Prefix, f Family) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("%s is not a prefix", what)
	case p.Addr().Is4In6() || FamilyOf(p.Addr()) != f:
		return fmt.Errorf("%s %s is not of family %s", what, p, f)
	case p != p.Masked():
		return fmt.Errorf("%s %s has bits behind its length", what, p)
	}
	return nil
}

// checkAddress is like checkPrefix for an address.
func checkAddress(what string, a netip.Addr, f Family) error {
	if a.Is4In6() || FamilyOf(a) != f {
		return fmt.Errorf("%s %s is not of family %s", what, a, f)
	}
	return nil
}

func checkDevice(d Device) error {
	if d.Index <= 0 {
		return fmt.Errorf("device %s has no index", d)
	}
	return nil
}
