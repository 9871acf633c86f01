package bfd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// sniffed is a UDP packet that came in by a device.
type sniffed struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	ttl, class       int
	fragmentable     bool
	Packet
}

// sniffer notes the BFD packets that come in by a device.
type sniffer struct {
	t    *testing.T
	fd   int
	mu   sync.Mutex
	seen []sniffed
	end  chan struct{}
	done chan struct{}
}

func (s *site) sniff(h *lab.Host, dev string) *sniffer {
	s.t.Helper()
	index, err := h.Index(dev)
	s.must(err)
	n := &sniffer{t: s.t, end: make(chan struct{}), done: make(chan struct{})}
	s.must(h.Do(func() (err error) {
		all := bigEndian(unix.ETH_P_ALL)
		n.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(n.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}); err != nil {
			return err
		}
		return unix.Bind(n.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}))
	go n.run()
	s.t.Cleanup(func() {
		close(n.end)
		<-n.done
		unix.Close(n.fd)
	})
	return n
}

func (n *sniffer) run() {
	defer close(n.done)
	b := make([]byte, 2048)
	for {
		select {
		case <-n.end:
			return
		default:
		}
		size, from, err := unix.Recvfrom(n.fd, b, 0)
		if err != nil {
			continue
		}
		if l, ok := from.(*unix.SockaddrLinklayer); !ok || l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if p, ok := dissect(b[:size]); ok {
			n.mu.Lock()
			n.seen = append(n.seen, p)
			n.mu.Unlock()
		}
	}
}

func dissect(b []byte) (p sniffed, ok bool) {
	var udp []byte
	switch {
	case len(b) >= 28 && b[0] == 0x45 && b[9] == unix.IPPROTO_UDP:
		p.src, p.dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.class, p.ttl, udp = int(b[1]), int(b[8]), b[20:]
		p.fragmentable = b[6]&0x40 == 0
	case len(b) >= 48 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_UDP:
		p.src, p.dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		p.class, p.ttl, udp = int(binary.BigEndian.Uint16(b)>>4&0xff), int(b[7]), b[40:]
	default:
		return p, false
	}
	p.srcPort, p.dstPort = binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])
	var err error
	p.Packet, err = ParsePacket(udp[8:])
	return p, err == nil
}

func (n *sniffer) all() []sniffed {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]sniffed(nil), n.seen...)
}

// from returns what came from an address.
func (n *sniffer) from(a netip.Addr) (some []sniffed) {
	for _, p := range n.all() {
		if p.src == a {
			some = append(some, p)
		}
	}
	return some
}

// puppet sends what a test wants to be sent.
type puppet struct {
	t    *testing.T
	fd   int
	name string
}

// shape is where and how a puppet sends.
type shape struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	ttl              int
	dev              string
}

func (s *site) puppet(h *lab.Host, sh shape) *puppet {
	s.t.Helper()
	index := 0
	if sh.dev != "" {
		var err error
		index, err = h.Index(sh.dev)
		s.must(err)
	}
	p := &puppet{t: s.t, fd: -1, name: fmt.Sprint(sh)}
	family, level, hops := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL
	if sh.src.Is6() {
		family, level, hops = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	s.must(h.Do(func() (err error) {
		p.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(p.fd, level, hops, sh.ttl); err != nil {
			return err
		}
		if sh.dev != "" {
			if err := unix.BindToDevice(p.fd, sh.dev); err != nil {
				return err
			}
		}
		if err := unix.Bind(p.fd, socketAddress(sh.src, sh.srcPort, index)); err != nil {
			return err
		}
		return unix.Connect(p.fd, socketAddress(sh.dst, sh.dstPort, index))
	}))
	s.t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

func (p *puppet) octets(b []byte) {
	p.t.Helper()
	// The first one may return an error that answers an earlier packet.
	if write(p.fd, b) == 0 {
		return
	}
	if errno := write(p.fd, b); errno != 0 && errno != unix.ECONNREFUSED {
		p.t.Fatalf("%s: %v", p.name, errno)
	}
}

func (p *puppet) say(q Packet) { p.t.Helper(); p.octets(q.Append(nil)) }

// patient is a packet after which nothing expires for a while.
func patient(state State, mine, yours uint32) Packet {
	return Packet{
		State: state, DetectMult: 10, MyDiscriminator: mine, YourDiscriminator: yours,
		DesiredMinTx: 10_000_000, RequiredMinRx: 1_000_000,
	}
}

// lift brings a session Up by hand.
func (p *puppet) lift(w *watched) {
	p.t.Helper()
	// What is sent before the socket is there is lost, so it is said again.
	w.until("init", func(st Status) bool {
		if st.State == Down {
			p.say(patient(Down, 77, 0))
		}
		return st.State == Init || st.State == Up
	})
	p.say(patient(Init, 77, w.Status().LocalDiscriminator))
	w.await(Up)
}

// dropped waits until the speaker has dropped n packets for a reason.
func (r *liveSpeaker) dropped(d Drop, n uint64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d drops by %s", n, d), func() (bool, any) {
		st := r.Stats()
		return st.Dropped[d] == n, st
	})
}

// later waits until some more packets were sent, without a drop.
func (n *sniffer) later(a netip.Addr, more int) []sniffed {
	n.t.Helper()
	had := len(n.from(a))
	eventually(n.t, fmt.Sprintf("%d more packets from %s", more, a), func() (bool, any) {
		return len(n.from(a)) >= had+more, len(n.from(a))
	})
	return n.from(a)
}

func wait(d time.Duration) { <-time.After(d) }
