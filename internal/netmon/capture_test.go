package netmon

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// capture listens to a device with an AF_PACKET socket and notes when a target was
// solicited.
type capture struct {
	mu    sync.Mutex
	times map[netip.Addr][]time.Time
}

// watchDevice captures until the test ends.
func watchDevice(t *testing.T, h *lab.Host, dev string) *capture {
	t.Helper()
	index, err := h.Index(dev)
	must(t, err)
	var file *os.File
	must(t, h.Do(func() error {
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "packet socket")
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}))
	c := &capture{times: map[netip.Addr][]time.Time{}}
	done := make(chan struct{})
	raw, err := file.SyscallConn()
	must(t, err)
	go func() {
		defer close(done)
		// Read ends when the file is closed.
		_ = raw.Read(func(fd uintptr) bool {
			c.take(int(fd))
			return false
		})
	}()
	t.Cleanup(func() {
		_ = file.Close()
		<-done
	})
	return c
}

// take reads what there is. The kernel says when a frame came, because the reader
// may be late.
func (c *capture) take(fd int) {
	frame, control := make([]byte, 2048), make([]byte, 256)
	for {
		n, controlBytes, _, _, err := unix.Recvmsg(fd, frame, control, 0)
		if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		target, ok := solicited(frame[:n])
		if !ok {
			continue
		}
		at := time.Now()
		messages, err := unix.ParseSocketControlMessage(control[:controlBytes])
		for _, m := range messages {
			if err == nil && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				at = time.Unix(int64(native.Uint64(m.Data)), int64(native.Uint64(m.Data[8:])))
			}
		}
		c.mu.Lock()
		c.times[target] = append(c.times[target], at)
		c.mu.Unlock()
	}
}

func (c *capture) of(target netip.Addr) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.times[target]...)
}

// solicited tells about whom an ethernet frame asks: the target of an ARP request
// (RFC 826) or of a neighbour solicitation (RFC 4861 section 4.3).
func solicited(frame []byte) (netip.Addr, bool) {
	if len(frame) < 14+28 {
		return netip.Addr{}, false
	}
	body := frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		if binary.BigEndian.Uint16(body[6:]) == 1 {
			return netip.AddrFromSlice(body[24:28])
		}
	case unix.ETH_P_IPV6:
		if len(body) >= 64 && body[6] == unix.IPPROTO_ICMPV6 && body[40] == 135 {
			return netip.AddrFromSlice(body[48:64])
		}
	}
	return netip.Addr{}, false
}

// checkRate fails if a target was solicited more than once per second. The kernel's
// timers may be late on a busy machine, so that a gap may look shorter by half; the
// number in the whole time cannot.
func (c *capture) checkRate(t *testing.T, target netip.Addr, began time.Time) {
	t.Helper()
	times := c.of(target)
	elapsed := time.Since(began)
	if limit := int(elapsed/time.Second) + 1; len(times) > limit {
		t.Errorf("%s was solicited %d times in %v, at most %d are allowed", target, len(times), elapsed, limit)
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < 500*time.Millisecond {
			t.Errorf("%s was solicited twice within %v", target, gap)
		}
	}
}

// sendRouterAdvertisement sends an RA without options from a device to all nodes
// (RFC 4861 section 4.2).
func sendRouterAdvertisement(t *testing.T, h *lab.Host, dev string, lifetime time.Duration) {
	t.Helper()
	index, err := h.Index(dev)
	must(t, err)
	must(t, h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index),
		)
		if err != nil {
			return err
		}
		// Type, code, checksum (by the kernel), hop limit, flags, lifetime,
		// reachable time, retransmission timer.
		ra := []byte{134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint16(ra[6:], uint16(lifetime/time.Second))
		all := netip.MustParseAddr("ff02::1").As16()
		return unix.Sendto(fd, ra, 0, &unix.SockaddrInet6{Addr: all, ZoneId: uint32(index)})
	}))
}
