package bfd

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestBFD_UE_01_BFD_UE_03_BFD_SH_16_BFD_SH_20_OnlyForwarding: a neighbour that does
// nothing but forward is enough, and three packets of ours.
func TestBFD_UE_01_BFD_UE_03_BFD_SH_16_BFD_SH_20_OnlyForwarding(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		r := s.start(conf)
		st := r.untilUp()
		r.mu.Lock()
		if n := r.atUp.Received; n == 0 || n > 3 {
			t.Errorf("%d packets came back before Up", n)
		}
		r.mu.Unlock()
		r.until("RTT", func(st Status) bool { return st.Received > 10 && st.RTT > 0 && st.RTT < time.Second })
		if st.Problem != "" {
			t.Errorf("problem %q", st.Problem)
		}
	})
}

// TestBFD_UE_08_BFD_SH_18_OnTheWire: hop limit 255, network control, one
// source port, and the link-layer address of the neighbour, in each frame.
func TestBFD_UE_08_BFD_SH_18_OnTheWire(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		c := s.capture(s.isp, "cust", nil)
		own := mac(t, s.isp, "cust")
		r := s.start(conf)
		r.until("packets", func(st Status) bool { return st.State == Up && st.Received > 10 })
		arrived := func(f captured) bool { _, ok := f.echo(); return ok && !f.outgoing }
		if n := c.count(arrived); n < 10 {
			t.Fatalf("%d packets captured", n)
		}
		var source uint16
		good := func(f captured) bool {
			ip, _ := f.echo()
			var d datagram
			parseFrame(ip, len(ip), &d)
			class, sum := ip[1], onesComplement(ip)
			if d.src.Is6() {
				class = ip[0]<<4 | ip[1]>>4
			}
			port := binary.BigEndian.Uint16(ip[len(ip)-len(d.payload)-udpHeader:])
			source = cmp.Or(source, port)
			return bytes.Equal(f.b[:6], own) && port == source && d.ttl == 255 && class == 48<<2 && d.src == conf.EchoSource && d.dst == conf.Local &&
				port >= firstPort && sum == 0xffff
		}
		if n := c.count(func(f captured) bool { return arrived(f) && !good(f) }); n > 0 {
			t.Errorf("%d packets are wrong", n)
		}
	})
}

// onesComplement sums the UDP part of a packet up as its receiver does: ffff is right.
func onesComplement(ip []byte) uint16 {
	b := ip[8:]
	if ip[0]>>4 == 4 {
		b = ip[12:]
	}
	sum := uint32(17 + len(ip))
	if ip[0]>>4 == 4 {
		sum -= 20
	} else {
		sum -= 40
	}
	for i, o := range b {
		sum += uint32(o) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

func mac(t *testing.T, h *lab.Host, dev string) []byte {
	t.Helper()
	out, err := h.IP("-o", "link", "show", dev)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(out)
	i := slices.Index(fields, "link/ether")
	var address []byte
	for _, octet := range strings.Split(fields[i+1], ":") {
		n, err := strconv.ParseUint(octet, 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		address = append(address, byte(n))
	}
	return address
}

// TestBFD_UE_16_BFD_UE_01_Cut: a neighbour that ceases to forward is found out within
// the detection time and 5 ms, the best of three.
func TestBFD_UE_16_BFD_UE_01_Cut(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for _, interval := range []time.Duration{50 * time.Millisecond, 10 * time.Millisecond} {
			conf.DesiredMinTx = interval
			s := newEchoSite(t, conf)
			var took []time.Duration
			for range 3 {
				r := s.start(conf)
				r.until("full rate", func(st Status) bool { return st.State == Up && st.DetectionTime == 3*interval })
				cut := time.Now()
				s.forwarding("0")
				st := r.until("Down", func(st Status) bool { return st.State == Down })
				took = append(took, st.Since.Sub(cut))
				if late := st.Since.Sub(st.LastReceived) - 3*interval; late < 0 {
					t.Errorf("declared %v too early", -late)
				}
				if st.Diag != DiagEchoFailed {
					t.Errorf("diag %v", st.Diag)
				}
				s.forwarding("1")
				r.stop()
			}
			t.Logf("3 x %v: found after %v", interval, took)
			if best := slices.Min(took); best > 3*interval+5*time.Millisecond {
				t.Errorf("3 x %v: found after %v at best", interval, best)
			}
		}
	})
}

// forwarding sets whether the neighbour forwards.
func (s *echoSite) forwarding(value string) {
	s.t.Helper()
	name := "net/ipv4/ip_forward"
	if s.conf.Peer.Is6() {
		name = "net/ipv6/conf/all/forwarding"
	}
	s.must(s.isp.Sysctl(name, value))
}

// TestBFD_SH_17_Redirects: none with a source outside of the subnet. That there are
// some with a source within records why.
func TestBFD_SH_17_Redirects(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		for name, source := range map[string]netip.Addr{"outside": conf.EchoSource, "within": conf.Local} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newEchoSite(t, conf)
				s.sysctl(s.isp, "send_redirects", "1")
				s.must(s.isp.AddRoute(netip.PrefixFrom(conf.EchoSource, conf.EchoSource.BitLen()), conf.Local, "cust"))
				c := s.capture(s.edge, "wan", nil)
				conf := conf
				conf.EchoSource, conf.DesiredMinTx = source, 10*time.Millisecond
				r := s.start(conf)
				r.untilUp()
				redirected := func() int { return c.count(func(f captured) bool { return !f.outgoing && isRedirect(f.b[14:]) }) }
				if source == conf.Local {
					r.until("redirect", func(Status) bool { return redirected() > 0 })
				}
				r.until("packets", func(st Status) bool { return st.Received > 60 })
				if n := redirected(); n > 0 && source != conf.Local {
					t.Errorf("%d redirects", n)
				}
			})
		}
	})
}

func isRedirect(ip []byte) bool {
	switch {
	case ip[0] == 0x45:
		return ip[9] == unix.IPPROTO_ICMP && ip[20] == 5
	case ip[0]>>4 == 6:
		return ip[6] == unix.IPPROTO_ICMPV6 && ip[40] == 137
	default:
		return false
	}
}

// TestEchoFilter: the kernel wakes us for nothing else.
func TestEchoFilter(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		index, err := s.edge.Index("wan")
		s.must(err)
		var in *receiver
		s.must(s.edge.Do(func() (err error) {
			in, err = openReceiver(conf.receiver(index))
			return err
		}))
		defer in.close()
		for _, p := range []struct {
			port int
			size int
		}{{3784, 24}, {3786, 24}, {3785, 4000}, {3785, 25}} { // 4000 octets come in fragments
			s.must(s.isp.Do(func() error {
				family := unix.AF_INET
				if conf.Local.Is6() {
					family = unix.AF_INET6
				}
				fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				return unix.Sendto(fd, make([]byte, p.size), 0, socketAddress(conf.Local, uint16(p.port), 0))
			}))
		}
		c := newClock(systemClock(time.Now()))
		b := newBatch()
		n := 0
		(&running{t: t}).eventually("the packet", func() bool {
			n, _, err = in.read(b, c)
			s.must(err)
			return n > 0
		})
		d := b.datagrams[0]
		if n != 1 || len(d.payload) != 25 || d.src != conf.Peer || d.dst != conf.Local || d.ttl != 64 || d.link != index {
			t.Errorf("%d packets, the first is %+v", n, d)
		}
	})
}
