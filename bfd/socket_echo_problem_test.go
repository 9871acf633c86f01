package bfd

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// nft runs a script on a host.
func (s *echoSite) nft(h *lab.Host, script string) {
	s.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &out, &out
	s.must(h.Start(cmd))
	if err := cmd.Wait(); err != nil {
		s.t.Fatalf("nft: %v: %s", err, out.String())
	}
}

const strict = `table inet strict {
	chain prerouting {
		type filter hook prerouting priority raw
		meta iifname "%s" fib saddr . iif oif missing drop
	}
}`

// strictReversePath makes a host refuse sources that it would not reach by the device.
func (s *echoSite) strictReversePath(h *lab.Host, dev string) {
	s.t.Helper()
	if s.conf.Peer.Is4() {
		s.sysctl(h, "rp_filter", "1")
		return
	}
	s.nft(h, fmt.Sprintf(strict, dev))
}

func (s *echoSite) looseReversePath(h *lab.Host) {
	s.t.Helper()
	if s.conf.Peer.Is4() {
		s.sysctl(h, "rp_filter", "2")
		// What loose mode asks for: a route to the source, by whatever device.
		s.must(h.AddRoute(netip.PrefixFrom(s.conf.EchoSource, 32), s.conf.Local, "cust"))
		return
	}
	s.nft(h, "delete table inet strict")
}

// TestBFD_SH_19_BFD_UE_24_OwnReversePath: our own filter of sources does not matter, nor does the
// check that no packet comes with a source of ours.
func TestBFD_SH_19_BFD_UE_24_OwnReversePath(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		s.strictReversePath(s.edge, "wan")
		s.start(conf).untilUp()
	})
}

// TestBFD_UE_09_BFD_UE_20_BFD_UE_24_Problems: what keeps a session down is told by its name, and
// when it is mended the session comes up. All wait at the same time.
func TestBFD_UE_09_BFD_UE_20_BFD_UE_24_Problems(t *testing.T) {
	t.Parallel()
	type trouble struct {
		name, want string
		r          *running
		mend       func()
	}
	var all []trouble
	for family, conf := range echoFamilies {
		add := func(name string, prepare func(s *echoSite, conf *Config) (mend func()), want string) {
			s := newEchoSite(t, conf)
			c := conf
			mend := prepare(s, &c)
			all = append(all, trouble{family + " " + name, want, s.start(c), mend})
		}
		add("strict", func(s *echoSite, _ *Config) func() {
			s.strictReversePath(s.isp, "cust")
			return func() { s.looseReversePath(s.isp) }
		}, "the neighbour "+conf.Peer.String()+" forwards our echoes from "+conf.Local.String()+
			" but drops those from "+conf.EchoSource.String()+": its reverse-path filter")
		add("no forwarding", func(s *echoSite, _ *Config) func() {
			s.forwarding("0")
			return func() { s.forwarding("1") }
		}, "no echo came back: the neighbour "+conf.Peer.String()+" does not forward")
		add("masquerade", func(s *echoSite, _ *Config) func() {
			s.nft(s.edge, masquerade)
			return func() { s.nft(s.edge, "delete table inet nat") }
		}, "our echoes came back from "+conf.Local.String()+" instead of "+conf.EchoSource.String())
		add("filter", func(s *echoSite, _ *Config) func() {
			s.nft(s.edge, silence)
			return func() { s.nft(s.edge, "delete table inet silence") }
		}, "a packet filter of this host refuses UDP from "+conf.EchoSource.String())
		add("port taken", func(s *echoSite, _ *Config) func() {
			fd := -1
			s.must(s.edge.Do(func() (err error) {
				fd, err = openEchoParking("wan", conf.Peer.Is6())
				return err
			}))
			taken := os.NewFile(uintptr(fd), "taken")
			return func() { s.must(taken.Close()) }
		}, fmt.Sprintf("(process %d)", os.Getpid()))
		nobody := conf.Peer.Next().Next().Next()
		add("nobody", func(s *echoSite, c *Config) func() {
			c.Peer = nobody
			return func() { s.must(s.isp.AddAddress("cust", subnet(nobody))) }
		}, "the neighbour "+nobody.String()+" does not answer on wan")
		for _, limit := range []uint32{255, 253, 64} {
			add(fmt.Sprint("hop limit ", limit), func(s *echoSite, _ *Config) func() {
				var ttl atomic.Uint32
				ttl.Store(limit)
				s.reflect(func() byte { return byte(ttl.Load()) })
				return func() { ttl.Store(254) }
			}, fmt.Sprint("hop limit ", limit))
		}
	}
	for _, x := range all {
		x.r.until(x.name+": "+x.want, func(st Status) bool { return strings.Contains(st.Problem, x.want) })
		if st := x.r.status(); st.EverUp || st.Received > 0 {
			t.Errorf("%s: %+v", x.name, st)
		}
		x.mend()
	}
	for _, x := range all {
		x.r.until(x.name+": Up", func(st Status) bool { return st.State == Up && st.Problem == "" })
	}
}

// unreachables are the ICMP errors of that kind that a host sent.
func (s *echoSite) unreachables(h *lab.Host) (n int) {
	s.t.Helper()
	var b []byte
	s.must(h.Do(func() (err error) {
		if s.conf.Peer.Is6() {
			b, err = os.ReadFile("/proc/thread-self/net/snmp6")
		} else {
			b, err = os.ReadFile("/proc/thread-self/net/snmp")
		}
		return err
	}))
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "Icmp6OutDestUnreachs":
			n, _ = strconv.Atoi(f[1])
			return n
		case len(f) > 1 && f[0] == "Icmp:" && slices.Contains(f, "OutDestUnreachs"):
			n, _ = strconv.Atoi(strings.Fields(lines[i+1])[slices.Index(f, "OutDestUnreachs")])
			return n
		}
	}
	s.t.Fatal("no counter")
	return 0
}

// TestBFD_UE_24_NoUnreachable: a host whose IP takes the packets that come back does not
// answer them. Without a socket on the port it would, as is recorded.
func TestBFD_UE_24_NoUnreachable(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		s.sysctl(s.edge, "accept_local", "1")
		conf.DesiredMinTx = 10 * time.Millisecond
		r := s.start(conf)
		r.until("packets", func(st Status) bool { return st.State == Up && st.Received > 20 })
		if n := s.unreachables(s.edge); n > 0 {
			t.Errorf("%d ICMP errors", n)
		}
		r.stop()
		out := s.outlet(conf)
		r.eventually("ICMP error", func() bool {
			s.must(out.send(make([]byte, 60)))
			return s.unreachables(s.edge) > 0
		})
	})
}

// outlet is an echo socket that belongs to no session.
func (s *echoSite) outlet(conf Config) *echoSocket {
	s.t.Helper()
	index, err := s.edge.Index(conf.Interface)
	s.must(err)
	var out *echoSocket
	s.must(s.edge.Do(func() (err error) {
		if out, err = openEchoSocket(conf.withDefaults(), newPorts(newRandom())); err != nil {
			return err
		}
		return out.aim(index)
	}))
	s.t.Cleanup(out.close)
	return out
}

// masquerade is what most edges have, and silence what a strict one may have.
const (
	masquerade = `table inet nat {
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "wan" masquerade
	}
}`
	silence = `table inet silence {
	chain output {
		type filter hook output priority filter; policy drop
	}
}`
)
