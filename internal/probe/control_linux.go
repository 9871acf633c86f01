package probe

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// parseControl reads the control messages of a packet: the index of the device
// that it arrived on and the time when the kernel received it. What is missing
// or short is 0 or the zero Time: then the packet is on no device of ours.
func parseControl(b []byte) (ingress int, kernel time.Time) {
	for len(b) >= unix.CmsgLen(0) {
		header, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return ingress, kernel
		}
		b = rest
		switch {
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS:
			kernel = parseTimespec(data)
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= 4:
			// struct in_pktinfo starts with ipi_ifindex.
			ingress = int(binary.NativeEndian.Uint32(data))
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= 20:
			// struct in6_pktinfo has ipi6_ifindex behind the address.
			ingress = int(binary.NativeEndian.Uint32(data[16:]))
		}
	}
	return ingress, kernel
}

// parseTimespec reads a struct timespec of this architecture's word size.
func parseTimespec(b []byte) time.Time {
	switch len(b) {
	case 16:
		return time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:])))
	case 8:
		return time.Unix(int64(int32(binary.NativeEndian.Uint32(b))), int64(binary.NativeEndian.Uint32(b[4:])))
	default:
		return time.Time{}
	}
}
