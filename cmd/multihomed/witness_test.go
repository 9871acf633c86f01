package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// witness counts what an ISP receives from the edge, by what matters for the
// choice of an uplink: the source, and what kind of packet it is.
type witness struct {
	file *os.File
	done sync.WaitGroup

	mu   sync.Mutex
	seen map[sighting]int
}

type sighting struct {
	source netip.Addr
	// echo is an echo request, fragment any fragment of a packet.
	echo, fragment bool
}

// witness opens a witness at an ISP; it sees what comes in by the line.
func (r *rig) witness(isp string) *witness {
	r.t.Helper()
	a, err := r.site.Access(isp)
	r.must(err)
	index, err := a.Host.Index(a.FarDevice)
	r.must(err)
	w := &witness{seen: map[sighting]int{}}
	r.must(a.Host.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}),
		)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		w.file = os.NewFile(uintptr(fd), "witness at "+isp)
		return nil
	}))
	w.done.Add(1)
	go w.receive()
	r.t.Cleanup(func() {
		r.must(w.file.Close())
		w.done.Wait()
	})
	return w
}

// receive ends when the socket is closed; a device that goes down is an error
// once.
func (w *witness) receive() {
	defer w.done.Done()
	packet := make([]byte, 256)
	for {
		n, err := w.file.Read(packet)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if s, ok := sight(packet[:n]); ok && err == nil {
			w.mu.Lock()
			w.seen[s]++
			w.mu.Unlock()
		}
	}
}

// sight reads the headers of an IP packet. What hosts of a link say to each other
// (link-local, multicast and unspecified sources) is left out.
func sight(b []byte) (s sighting, ok bool) {
	switch {
	case len(b) >= 28 && b[0]>>4 == 4:
		offset := binary.BigEndian.Uint16(b[6:])
		s.source, s.fragment = netip.AddrFrom4([4]byte(b[12:16])), offset&0x3fff != 0
		header := int(b[0]&0xf) * 4
		s.echo = b[9] == unix.IPPROTO_ICMP && offset&0x1fff == 0 && header < len(b) && b[header] == 8
	case len(b) >= 48 && b[0]>>4 == 6:
		s.source, s.fragment = netip.AddrFrom16([16]byte(b[8:24])), b[6] == unix.IPPROTO_FRAGMENT
		s.echo = b[6] == unix.IPPROTO_ICMPV6 && b[40] == 128
	}
	return s, s.source.IsGlobalUnicast()
}

// count is how many packets fit.
func (w *witness) count(fits func(sighting) bool) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, packets := range w.seen {
		if fits(s) {
			n += packets
		}
	}
	return n
}

// echoes is how many echo requests came from a source.
func (w *witness) echoes(source netip.Addr) int {
	return w.count(func(s sighting) bool { return s.echo && s.source == source })
}

// others are the sources of all packets but the allowed ones, with their numbers.
func (w *witness) others(allowed ...netip.Addr) map[netip.Addr]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	others := map[netip.Addr]int{}
	for s, packets := range w.seen {
		others[s.source] += packets
	}
	for _, a := range allowed {
		delete(others, a)
	}
	return others
}
