package fib

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Offsets in an event: struct nlmsghdr, behind it struct rtmsg.
const (
	offsetKind     = 4
	offsetFlags    = 6
	offsetSequence = 8
	offsetPort     = 12
	offsetProtocol = headerLen + 5
)

// eventFilter is a classic BPF program (Documentation/networking/filter.rst)
// which keeps out of the queue what Watch passes over anyway: the echoes of
// writes through ports, and the routes of other protocols, unless they replace
// something. A routing daemon that writes a million routes, or a Bulk of ours, then
// neither wakes us up nor makes us lose events.
func eventFilter(ports [2]uint32, protocol uint8) []unix.SockFilter {
	const (
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		loadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ifSet    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		end      = unix.BPF_RET | unix.BPF_K
		keep     = 12
		drop     = 13
	)
	for i, port := range ports {
		if port == 0 {
			ports[i] = 1<<32 - 1 // 0 is the kernel itself, and nobody has this one.
		}
	}
	to := func(from, target int) uint8 { return uint8(target - from - 1) }
	return []unix.SockFilter{
		0:    {Code: loadWord, K: offsetPort},
		1:    {Code: ifEqual, K: loadedWord(ports[0]), Jt: to(1, drop), Jf: to(1, 2)},
		2:    {Code: ifEqual, K: loadedWord(ports[1]), Jt: to(2, drop), Jf: to(2, 3)},
		3:    {Code: loadHalf, K: offsetKind},
		4:    {Code: ifEqual, K: loadedHalf(unix.RTM_NEWROUTE), Jt: to(4, 8), Jf: to(4, 5)},
		5:    {Code: ifEqual, K: loadedHalf(unix.RTM_DELROUTE), Jt: to(5, 6), Jf: to(5, keep)},
		6:    {Code: loadByte, K: offsetProtocol},
		7:    {Code: ifEqual, K: uint32(protocol), Jt: to(7, keep), Jf: to(7, drop)},
		8:    {Code: loadByte, K: offsetProtocol},
		9:    {Code: ifEqual, K: uint32(protocol), Jt: to(9, keep), Jf: to(9, 10)},
		10:   {Code: loadHalf, K: offsetFlags},
		11:   {Code: ifSet, K: loadedHalf(unix.NLM_F_REPLACE), Jt: to(11, keep), Jf: to(11, drop)},
		keep: {Code: end, K: 1<<32 - 1},
		drop: {Code: end, K: 0},
	}
}

// loadedWord is what the program sees of n: it loads in the byte order of the
// network what the kernel wrote in that of the host.
func loadedWord(n uint32) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, n))
}

func loadedHalf(n uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n)))
}
