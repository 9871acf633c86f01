package bfd

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many packets one system call takes.
	batchSize = 64
	// payloadSize is more than a control packet can have, whose Length is one
	// octet. Of longer datagrams the rest is not looked at.
	payloadSize = 256
	// controlSize is for a timestamp, a hop limit and the packet info of IPv6.
	controlSize = 128
)

// batch is the memory that packets are read into, over and over.
type batch struct {
	messages  [batchSize]message
	vectors   [batchSize]unix.Iovec
	names     [batchSize]unix.RawSockaddrInet6
	controls  [batchSize][controlSize]byte
	payloads  [batchSize][payloadSize]byte
	datagrams [batchSize]datagram
}

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	header unix.Msghdr
	length uint32
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.messages {
		b.vectors[i].Base = &b.payloads[i][0]
		b.vectors[i].SetLen(payloadSize)
		h := &b.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		h.Control = &b.controls[i][0]
	}
	return b
}

// receive reads packets without waiting for any. MSG_TRUNC makes the kernel tell the
// length of what was sent where that is more than fits.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.messages {
		// The kernel wrote here what the last packets had.
		h := &b.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlSize)
	}
	// It does not block, so the scheduler need not know of it: a thread that tells of a
	// system call may lose its right to run to another.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&b.messages[0])), batchSize, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	return result(n, errno)
}

// source returns where a message came from, without zone.
func (b *batch) source(i int) netip.Addr {
	name := &b.names[i]
	switch name.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16(name.Addr)
	default:
		return netip.Addr{}
	}
}

// control is what comes with a packet beside its octets; zero is missing.
type control struct {
	// stamp is the wall clock of the arrival, ns since 1970.
	stamp int64
	ttl   int
	link  int
	dst   netip.Addr
}

// word is the size of size_t, which control messages and times have.
const word = unix.SizeofPtr

func parseWord(b []byte) uint64 {
	if word == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}

// parseControl reads struct cmsghdr after struct cmsghdr (cmsg(3)).
func parseControl(b []byte) (c control) {
	for len(b) >= unix.SizeofCmsghdr {
		size := parseWord(b)
		if size < unix.SizeofCmsghdr || size > uint64(len(b)) {
			return c
		}
		level := binary.NativeEndian.Uint32(b[word:])
		kind := binary.NativeEndian.Uint32(b[word+4:])
		c.take(level, kind, b[unix.SizeofCmsghdr:size])
		b = b[min(uint64(len(b)), (size+word-1)&^(word-1)):]
	}
	return c
}

func (c *control) take(level, kind uint32, data []byte) {
	number := func() int { return int(binary.NativeEndian.Uint32(data)) }
	switch {
	case level == unix.SOL_SOCKET && kind == unix.SCM_TIMESTAMPNS && len(data) >= 2*word:
		c.stamp = int64(parseWord(data))*1e9 + int64(parseWord(data[word:])) //nolint:gosec // a time of this century
	case level == unix.IPPROTO_IP && kind == unix.IP_TTL && len(data) >= 4,
		level == unix.IPPROTO_IPV6 && kind == unix.IPV6_HOPLIMIT && len(data) >= 4:
		c.ttl = number()
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= 12:
		// struct in_pktinfo: index, the address that answers, that of the packet.
		c.link, c.dst = number(), netip.AddrFrom4([4]byte(data[8:]))
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= 20:
		// struct in6_pktinfo: the address of the packet, index.
		c.link, c.dst = int(binary.NativeEndian.Uint32(data[16:])), netip.AddrFrom16([16]byte(data))
	}
}
