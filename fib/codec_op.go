package fib

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// firstFreeProtocol is the lowest route protocol that means nothing to the
// kernel (include/uapi/linux/rtnetlink.h: up to RTPROT_STATIC it does). 0 in a
// delete would match the routes of everybody.
const firstFreeProtocol = unix.RTPROT_STATIC + 1

// encodeOp appends the message that executes op. On error dst is returned as it
// was.
func encodeOp(dst []byte, op Op, seq uint32) ([]byte, error) {
	if op.Protocol < firstFreeProtocol {
		return dst, fmt.Errorf("protocol %d belongs to the kernel, want %d..255", op.Protocol, firstFreeProtocol)
	}
	w := &builder{b: dst}
	var err error
	switch o := op.Object.(type) {
	case NextHop:
		err = encodeNextHop(w, op.Verb, o, op.Protocol, seq)
	case Group:
		err = encodeGroup(w, op.Verb, o, op.Protocol, seq)
	case Route:
		err = encodeRoute(w, op.Verb, o, op.Protocol, seq)
	case Rule:
		err = encodeRule(w, op.Verb, o, op.Protocol, seq)
	case Stray:
		err = encodeStray(w, op.Verb, o, seq)
	default:
		panic(fmt.Sprintf("fib: unhandled object %T", op.Object))
	}
	if err != nil {
		return dst, err
	}
	return w.b, nil
}

// request returns the message type and the flags for v, given the types that
// create and delete the object.
func (v Verb) request(create, remove uint16) (kind, flags uint16) {
	switch v {
	case Add:
		return create, unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL
	case Replace:
		return create, unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case Delete:
		return remove, unix.NLM_F_ACK
	case VerbUnknown:
		panic("fib: an op without a verb")
	default:
		panic(fmt.Sprintf("fib: unhandled verb %d", uint8(v)))
	}
}

// kernelWeight turns a weight, 1..MaxWeight, into the kernel's count of
// additional shares (rtnh_hops, nexthop_grp.weight). weightOf is the reverse;
// weights become hops nowhere else.
func kernelWeight(weight int) (uint8, error) {
	if weight < 1 || weight > MaxWeight {
		return 0, fmt.Errorf("weight %d is not in 1..%d", weight, MaxWeight)
	}
	return uint8(weight - 1), nil
}

// weightOf takes the low and the high byte; the latter is used from Linux 6.12
// on (nexthop_grp.weight_high) and 0 elsewhere.
func weightOf(low, high uint8) int { return int(high)<<8 + int(low) + 1 }

// clockTick is the unit of the timers of resilient groups, clock_t: USER_HZ is
// 100 on every architecture with a uapi of its own age (asm-generic/param.h).
const clockTick = time.Second / 100

func toTicks(d time.Duration) (uint32, error) {
	ticks := (d + clockTick/2) / clockTick
	if d < 0 || ticks > 1<<32-1 {
		return 0, fmt.Errorf("timer %s does not fit", d)
	}
	return uint32(ticks), nil
}

func fromTicks(n uint32) time.Duration { return time.Duration(n) * clockTick }

// KernelError is what the kernel answered to one request.
type KernelError struct {
	// Errno is the number; errors.Is finds it.
	Errno unix.Errno
	// Text is the kernel's own explanation (NLMSGERR_ATTR_MSG), often empty.
	Text string
}

// Error returns the explanation, if there is one, and the errno in words.
func (e *KernelError) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Text + ": " + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *KernelError) Unwrap() error { return e.Errno }

// nlmsgerrAttrMsg is NLMSGERR_ATTR_MSG (include/uapi/linux/netlink.h).
const nlmsgerrAttrMsg = 1

// decodeVerdict reads NLMSG_ERROR and NLMSG_DONE: nil for success, a
// *KernelError for a refusal, and errMalformed for anything else.
func decodeVerdict(h header, body []byte) error {
	if h.kind == unix.NLMSG_DONE && len(body) < 4 {
		// Kernels before 4.16 end some dumps without a number.
		return nil
	}
	if len(body) < 4 {
		return malformed("a verdict of %d bytes", len(body))
	}
	number := int32(binary.NativeEndian.Uint32(body))
	if number == 0 {
		return nil
	}
	if number > 0 || number < -4095 {
		return malformed("a verdict with error %d", number)
	}
	return &KernelError{Errno: unix.Errno(-number), Text: explanation(h, body[4:])}
}

// explanation finds the text behind the echoed request. A text that cannot be
// read is no text: the errno alone is the verdict.
func explanation(h header, b []byte) string {
	if h.flags&unix.NLM_F_ACK_TLVS == 0 {
		return ""
	}
	if h.kind == unix.NLMSG_ERROR {
		if len(b) < headerLen {
			return ""
		}
		skip := headerLen
		if h.flags&unix.NLM_F_CAPPED == 0 {
			skip = align(int(min(binary.NativeEndian.Uint32(b), 1<<30)))
		}
		if skip > len(b) {
			return ""
		}
		b = b[skip:]
	}
	a, err := parseAttributes(b)
	if err != nil || !a.has(nlmsgerrAttrMsg) {
		return ""
	}
	return unix.ByteSliceToString(a.value[nlmsgerrAttrMsg])
}
