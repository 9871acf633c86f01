package fib

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Offsets in an event: struct nlmsghdr, behind it struct rtmsg.
const (
	offsetKind     = 4
	offsetFlags    = 6
	offsetPort     = 12
	offsetProtocol = headerLen + 5
)

// eventFilter is a classic BPF program (Documentation/networking/filter.rst)
// which keeps out of the queue what Watch passes over anyway: the echoes of
// writes through port, and the routes of other protocols, unless they replace
// something. A routing daemon that writes a million routes then neither wakes us
// up nor makes us lose events.
func eventFilter(port uint32, protocol uint8) []unix.SockFilter {
	const (
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		loadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ifSet    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		end      = unix.BPF_RET | unix.BPF_K
		keep     = 11
		drop     = 12
	)
	to := func(from, target int) uint8 { return uint8(target - from - 1) }
	return []unix.SockFilter{
		0:    {Code: loadWord, K: offsetPort},
		1:    {Code: ifEqual, K: loadedWord(port), Jt: to(1, drop), Jf: to(1, 2)},
		2:    {Code: loadHalf, K: offsetKind},
		3:    {Code: ifEqual, K: loadedHalf(unix.RTM_NEWROUTE), Jt: to(3, 7), Jf: to(3, 4)},
		4:    {Code: ifEqual, K: loadedHalf(unix.RTM_DELROUTE), Jt: to(4, 5), Jf: to(4, keep)},
		5:    {Code: loadByte, K: offsetProtocol},
		6:    {Code: ifEqual, K: uint32(protocol), Jt: to(6, keep), Jf: to(6, drop)},
		7:    {Code: loadByte, K: offsetProtocol},
		8:    {Code: ifEqual, K: uint32(protocol), Jt: to(8, keep), Jf: to(8, 9)},
		9:    {Code: loadHalf, K: offsetFlags},
		10:   {Code: ifSet, K: loadedHalf(unix.NLM_F_REPLACE), Jt: to(10, keep), Jf: to(10, drop)},
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
