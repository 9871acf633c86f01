package bfd

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Echo packets are addressed to ourselves and come from ourselves. No UDP socket could
// send them past the loopback interface, and none could receive them past the kernel's
// check of sources, so their headers are written and read here.

const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8

	// trafficClass is DSCP CS6, network control, in the octet that it shares with
	// ECN (RFC 2474, RFC 4594 section 3.1).
	trafficClass = 48 << 2
	// dontFragment is the flag in the word that IPv4 has for fragments; the others
	// of that word are what a fragment has.
	dontFragment = 0x4000

	// framePayload is more than a packet of ours can have, octets.
	framePayload = maxLength + trailerLength
)

// frame is an echo packet with its headers (RFC 791, RFC 8200, RFC 768).
type frame struct {
	// header is the length of that of IP, octets.
	header int
	octets [ipv6Header + udpHeader + framePayload]byte
}

// newFrame returns a frame that is complete but for payload, lengths and checksum.
func newFrame(source, local netip.Addr, sourcePort uint16) frame {
	f := frame{header: ipv4Header}
	b := f.octets[:]
	if source.Is4() {
		b[0], b[1] = 0x45, trafficClass
		binary.BigEndian.PutUint16(b[6:], dontFragment)
		b[8], b[9] = hopLimitSent, unix.IPPROTO_UDP
		src, dst := source.As4(), local.As4()
		copy(b[12:], src[:])
		copy(b[16:], dst[:])
	} else {
		f.header = ipv6Header
		b[0], b[1] = 0x60|trafficClass>>4, trafficClass&0x0f<<4
		b[6], b[7] = unix.IPPROTO_UDP, hopLimitSent
		src, dst := source.As16(), local.As16()
		copy(b[8:], src[:])
		copy(b[24:], dst[:])
	}
	binary.BigEndian.PutUint16(b[f.header:], sourcePort)
	binary.BigEndian.PutUint16(b[f.header+2:], echoPort)
	return f
}

// packet returns the whole packet with a payload, of at most framePayload octets. It
// is valid until the next call.
func (f *frame) packet(payload []byte) []byte {
	datagram := f.octets[f.header:][:udpHeader+copy(f.octets[f.header+udpHeader:], payload)]
	n := uint16(len(datagram)) //nolint:gosec // some hundred octets
	binary.BigEndian.PutUint16(datagram[4:], n)
	addresses := f.octets[12:ipv4Header]
	if f.header == ipv6Header {
		binary.BigEndian.PutUint16(f.octets[4:], n)
		addresses = f.octets[8:ipv6Header]
	} else {
		// The kernel writes the checksum of this header, and the total length
		// once more (net/ipv4/raw.c raw_send_hdrinc).
		binary.BigEndian.PutUint16(f.octets[2:], ipv4Header+n)
	}
	binary.BigEndian.PutUint16(datagram[6:], 0)
	sum := addWords(addWords(uint32(n)+unix.IPPROTO_UDP, addresses), datagram)
	sum = sum&0xffff + sum>>16
	checksum := ^uint16(sum + sum>>16) //nolint:gosec // folded
	if checksum == 0 {
		checksum = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(datagram[6:], checksum)
	return f.octets[:f.header+len(datagram)]
}

// addWords adds b as words of 16 bits, which are too few here to overflow 32.
func addWords(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// parseFrame fills d with what an IP packet to the echo port says, and reports whether
// b is one: not a fragment, and the datagram within what was received. More octets of
// the packet may have arrived than are in b. Checksums are not looked at: addresses,
// hop limit and the tag over the payload are each compared with what they have to be,
// and in a packet that never left the machine, as on a virtual link, the sum may not
// have been calculated yet.
func parseFrame(b []byte, received int, d *datagram) bool {
	if len(b) == 0 {
		return false
	}
	var header, total int
	switch b[0] >> 4 {
	case 4:
		header = int(b[0]&0x0f) * 4
		if header < ipv4Header || len(b) < header+udpHeader || b[9] != unix.IPPROTO_UDP ||
			binary.BigEndian.Uint16(b[6:])&^(dontFragment|0x8000) != 0 {
			return false
		}
		total = int(binary.BigEndian.Uint16(b[2:]))
		d.src, d.dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		d.ttl = int(b[8])
	case 6:
		header = ipv6Header
		if len(b) < header+udpHeader || b[6] != unix.IPPROTO_UDP {
			return false
		}
		total = header + int(binary.BigEndian.Uint16(b[4:]))
		d.src, d.dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		d.ttl = int(b[7])
	default:
		return false
	}
	n := int(binary.BigEndian.Uint16(b[header+4:]))
	if binary.BigEndian.Uint16(b[header+2:]) != echoPort || n < udpHeader || header+n > total || total > received {
		return false
	}
	d.payload = b[header+udpHeader : min(len(b), header+n)]
	d.port = portEcho
	return true
}

// echoFilter is the classic BPF program for an AF_PACKET socket without link-layer
// headers: it lets in UDP to the echo port, unfragmented and addressed to us by the
// link layer, and nothing else ever wakes the speaker.
func echoFilter(v6 bool) []unix.SockFilter {
	const (
		load     = unix.BPF_LD | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyOf    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		accept   = 0x40000
		ancilla  = 0xfffff000 // SKF_AD_OFF of linux/filter.h
		pktType  = 4          // SKF_AD_PKTTYPE
		fragment = 0x3fff
	)
	if v6 {
		return []unix.SockFilter{
			{Code: load | unix.BPF_B, K: ancilla + pktType},
			{Code: equal, K: unix.PACKET_HOST, Jf: 5},
			{Code: load | unix.BPF_B, K: 6},
			{Code: equal, K: unix.IPPROTO_UDP, Jf: 3},
			{Code: load | unix.BPF_H, K: ipv6Header + 2},
			{Code: equal, K: echoPort, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: accept},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		}
	}
	return []unix.SockFilter{
		{Code: load | unix.BPF_B, K: ancilla + pktType},
		{Code: equal, K: unix.PACKET_HOST, Jf: 8},
		{Code: load | unix.BPF_B, K: 9},
		{Code: equal, K: unix.IPPROTO_UDP, Jf: 6},
		{Code: load | unix.BPF_H, K: 6},
		{Code: anyOf, K: fragment, Jt: 4},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // X = length of the IP header
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
		{Code: equal, K: echoPort, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: accept},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}
