package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// kernelSocket is a routing netlink socket of a host, for questions that cost the
// kernel microseconds: a benchmark that looks must not be what is measured.
type kernelSocket struct {
	fd  int
	seq uint32
	buf []byte
}

// netlinkBuffer is what is asked for as the buffers of a socket, and as much as is
// read at once.
const (
	netlinkBuffer = 16 << 20
	netlinkRead   = 1 << 20
)

// openKernel opens a socket in the network namespace of h, which hears the groups of
// the mask.
func openKernel(h *lab.Host, groups uint32) (k *kernelSocket, err error) {
	err = h.Do(func() (err error) {
		k, err = openKernelHere(groups)
		return err
	})
	return k, err
}

// openKernelHere opens one in the network namespace of the caller's thread.
func openKernelHere(groups uint32) (*kernelSocket, error) {
	k := &kernelSocket{buf: make([]byte, netlinkRead)}
	var err error
	k.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err == nil {
		err = errors.Join(
			unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, netlinkBuffer),
			unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, netlinkBuffer),
			unix.SetsockoptInt(k.fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
			unix.Bind(k.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}),
		)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), k.close())
	}
	return k, nil
}

func (k *kernelSocket) close() error {
	if k.fd < 0 {
		return nil
	}
	fd := k.fd
	k.fd = -1
	return unix.Close(fd)
}

// native is how the kernel orders octets here.
var native = binary.NativeEndian

// appendRouteMessage appends a message about a route; its length is filled in by
// endMessage.
func appendRouteMessage(b []byte, kind, flags uint16, seq uint32, m unix.RtMsg) []byte {
	b = native.AppendUint32(b, 0)
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0)
	b = append(b, m.Family, m.Dst_len, m.Src_len, m.Tos, m.Table, m.Protocol, m.Scope, m.Type)
	return native.AppendUint32(b, m.Flags)
}

func endMessage(b []byte, begin int) { native.PutUint32(b[begin:], uint32(len(b)-begin)) }

// appendRouteAttribute appends an attribute of four or sixteen octets, which need no
// padding.
func appendRouteAttribute(b []byte, kind uint16, value []byte) []byte {
	b = native.AppendUint16(b, uint16(4+len(value)))
	return append(native.AppendUint16(b, kind), value...)
}

func addressFamily(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// route is an answer or a notification.
type route struct {
	kind     uint16
	prefix   netip.Prefix
	table    uint32
	protocol uint8
	// device is the index of the interface, 0 if the route has several or a group.
	device int
}

// ask looks a up. With exact, it asks for the route that matches, as it stands in
// its table; otherwise for the way that a packet would take. ok is false if there
// is none.
func (k *kernelSocket) ask(a netip.Addr, exact bool) (r route, ok bool, err error) {
	k.seq++
	m := unix.RtMsg{Family: addressFamily(a), Dst_len: uint8(a.BitLen())}
	if exact {
		m.Flags = unix.RTM_F_FIB_MATCH
	}
	b := appendRouteMessage(nil, unix.RTM_GETROUTE, unix.NLM_F_REQUEST, k.seq, m)
	b = appendRouteAttribute(b, unix.RTA_DST, a.AsSlice())
	endMessage(b, 0)
	if err := unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return r, false, fmt.Errorf("look up %s: %w", a, err)
	}
	for {
		n, _, err := unix.Recvfrom(k.fd, k.buf, 0)
		if err != nil {
			return r, false, fmt.Errorf("look up %s: %w", a, err)
		}
		found, mine := false, false
		err = eachMessage(k.buf[:n], func(h unix.NlMsghdr, body []byte) error {
			if h.Seq != k.seq {
				return nil
			}
			mine = true
			if h.Type == unix.NLMSG_ERROR {
				return noRoute(body)
			}
			r, found = parseRoute(h.Type, body)
			return nil
		})
		if err != nil {
			return r, false, fmt.Errorf("look up %s: %w", a, err)
		}
		if mine {
			return r, found, nil
		}
	}
}

// noRoute is nil for the errors that say that there is no route.
func noRoute(body []byte) error {
	errno := unix.Errno(-int32(native.Uint32(body)))
	if errors.Is(errno, unix.ENETUNREACH) || errors.Is(errno, unix.EHOSTUNREACH) || errors.Is(errno, unix.ESRCH) {
		return nil
	}
	return errno
}

// eachMessage calls f for each message of a datagram.
func eachMessage(b []byte, f func(h unix.NlMsghdr, body []byte) error) error {
	for len(b) >= unix.SizeofNlMsghdr {
		h := unix.NlMsghdr{Len: native.Uint32(b), Type: native.Uint16(b[4:]), Flags: native.Uint16(b[6:]), Seq: native.Uint32(b[8:])}
		if h.Len < unix.SizeofNlMsghdr || int(h.Len) > len(b) {
			return fmt.Errorf("read netlink: message of %d octets in %d", h.Len, len(b))
		}
		if err := f(h, b[unix.SizeofNlMsghdr:h.Len]); err != nil {
			return err
		}
		b = b[min(len(b), int(h.Len+3)&^3):]
	}
	return nil
}

// parseRoute reads a message about a route of IPv4 or IPv6.
func parseRoute(kind uint16, body []byte) (r route, ok bool) {
	if (kind != unix.RTM_NEWROUTE && kind != unix.RTM_DELROUTE) || len(body) < unix.SizeofRtMsg {
		return r, false
	}
	m := (*unix.RtMsg)(unsafe.Pointer(&body[0]))
	r = route{kind: kind, table: uint32(m.Table), protocol: m.Protocol}
	var address netip.Addr
	switch m.Family {
	case unix.AF_INET:
		address = netip.IPv4Unspecified()
	case unix.AF_INET6:
		address = netip.IPv6Unspecified()
	default:
		return r, false
	}
	for b := body[unix.SizeofRtMsg:]; len(b) >= 4; {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			return r, false
		}
		value := b[4:n]
		switch native.Uint16(b[2:]) {
		case unix.RTA_DST:
			address, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			r.device = int(native.Uint32(value))
		case unix.RTA_TABLE:
			r.table = native.Uint32(value)
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	r.prefix = netip.PrefixFrom(address, int(m.Dst_len))
	return r, r.prefix.IsValid()
}

// writeBatch is how many routes one system call carries.
const writeBatch = 64

// write adds a route for each prefix, by gateway and device, as fast as the kernel
// takes them; pause, if not nil, is called after each batch. Errors are those of the
// last message of a batch at the latest.
func (k *kernelSocket) write(count int, prefix func(i int) netip.Prefix, gateway netip.Addr, device int, pause func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var b []byte
	oif := native.AppendUint32(nil, uint32(device))
	for i := range count {
		p := prefix(i)
		flags := uint16(unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_REPLACE)
		last := i == count-1 || i%writeBatch == writeBatch-1
		if last {
			flags |= unix.NLM_F_ACK
		}
		k.seq++
		begin := len(b)
		b = appendRouteMessage(b, unix.RTM_NEWROUTE, flags, k.seq, unix.RtMsg{
			Family: addressFamily(p.Addr()), Dst_len: uint8(p.Bits()), Table: unix.RT_TABLE_MAIN,
			Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_UNIVERSE, Type: unix.RTN_UNICAST,
		})
		b = appendRouteAttribute(b, unix.RTA_DST, p.Addr().AsSlice())
		b = appendRouteAttribute(b, unix.RTA_GATEWAY, gateway.AsSlice())
		b = appendRouteAttribute(b, unix.RTA_OIF, oif)
		endMessage(b, begin)
		if !last {
			continue
		}
		if err := k.exchange(b); err != nil {
			return fmt.Errorf("write routes: %w", err)
		}
		b = b[:0]
		if pause != nil {
			pause()
		}
	}
	return nil
}

// exchange sends a batch and waits for the acknowledgement of its last message.
func (k *kernelSocket) exchange(b []byte) error {
	if err := unix.Sendto(k.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for done := false; !done; {
		n, _, err := unix.Recvfrom(k.fd, k.buf, 0)
		if err != nil {
			return err
		}
		err = eachMessage(k.buf[:n], func(h unix.NlMsghdr, body []byte) error {
			if h.Type != unix.NLMSG_ERROR {
				return nil
			}
			done = done || h.Seq == k.seq
			if code := int32(native.Uint32(body)); code != 0 {
				return unix.Errno(-code)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
