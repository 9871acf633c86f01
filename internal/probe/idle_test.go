package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// echoLate makes the test program answer pings, in place of the kernel, which is
// too quick: its answer is there before the sender has gone to sleep.
const echoLate = "MULTIHOMED_PROBE_ECHO_LATE"

func TestMain(m *testing.M) {
	if os.Getenv(echoLate) == "" {
		flag.Parse()
		if err := manyAtOnce(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(m.Run())
	}
	failed := make(chan error)
	for _, v6 := range []bool{false, true} {
		go func() { failed <- answerLate(v6) }()
	}
	fmt.Fprintln(os.Stderr, <-failed)
	os.Exit(1)
}

// manyAtOnce lets more parallel tests run than there are processors, unless
// somebody chose: those in namespaces spend their time waiting for probes.
func manyAtOnce() error {
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if chosen {
		return nil
	}
	return flag.Set("test.parallel", "8")
}

// answerLate answers the pings of one family, after as many milliseconds as ten
// times the last byte of their destination.
func answerLate(v6 bool) error {
	domain, protocol, level, option := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_PKTINFO
	if v6 {
		domain, protocol, level, option = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return err
	}
	buffer, control := make([]byte, 2048), make([]byte, 256)
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, buffer, control, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		request, echo := buffer[:n], byte(v6EchoRequest)
		if !v6 {
			var ok bool
			if request, ok = stripIPv4(request); !ok {
				continue
			}
			echo = v4EchoRequest
		}
		if len(request) < packetSize || request[0] != echo {
			continue
		}
		info, last, err := asked(control[:oobn])
		if err != nil {
			return err
		}
		answer := reply(request, v6)
		time.AfterFunc(time.Duration(last)*10*time.Millisecond, func() {
			// A lost answer is seen at the other end.
			_ = unix.Sendmsg(fd, answer, info, from, 0)
		})
	}
}

// asked makes from the control messages of a request those of its answer, which
// leaves from the address that was asked, and returns the last byte of that.
func asked(control []byte) (info []byte, last byte, err error) {
	header, data, _, err := unix.ParseOneSocketControlMessage(control)
	switch {
	case err != nil:
		return nil, 0, err
	case header.Type == unix.IP_PKTINFO && len(data) >= 12:
		a := [4]byte(data[8:12])
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a}), a[3], nil
	case header.Type == unix.IPV6_PKTINFO && len(data) >= 20:
		a := [16]byte(data[:16])
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: a, Ifindex: binary.NativeEndian.Uint32(data[16:])}), a[15], nil
	default:
		return nil, 0, fmt.Errorf("control message of type %d", header.Type)
	}
}

// idleSite is an edge with two lines to a far end, which has three targets per
// family, 10, 20 and 30 ms away.
type idleSite struct {
	edge, far *lab.Host
}

func newIdleSite(b *testing.B) *idleSite {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	l, err := lab.New(lab.Options{Name: b.Name()})
	if err != nil {
		b.Fatalf("this benchmark needs network namespaces: %v", err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	s := &idleSite{}
	s.edge, err = l.Host("edge")
	must(err)
	s.far, err = l.Host("far")
	must(err)
	for _, conf := range []string{"all", "default"} {
		must(s.edge.Sysctl("net/ipv4/conf/"+conf+"/rp_filter", "0"))
		must(s.far.Sysctl("net/ipv4/conf/"+conf+"/rp_filter", "0"))
	}
	must(s.far.Sysctl("net/ipv4/icmp_echo_ignore_all", "1"))
	must(s.far.Sysctl("net/ipv6/icmp/echo_ignore_all", "1"))
	for i, dev := range []string{"eth1", "eth2"} {
		must(l.Veth(s.edge, dev, s.far, dev))
		for _, f := range families46 {
			near, gateway := f.line(i)
			must(s.edge.AddAddress(dev, near))
			must(s.far.AddAddress(dev, gateway))
			_, err := s.edge.IP(f.flag, "route", "add", f.zero, "via", gateway.Addr().String(), "dev", dev, "metric", strconv.Itoa(i+1))
			must(err)
		}
	}
	for _, f := range families46 {
		for _, target := range f.idleTargets() {
			must(s.far.AddAddress("lo", netip.PrefixFrom(target, target.BitLen())))
		}
	}
	program, err := os.Executable()
	must(err)
	answering := exec.CommandContext(b.Context(), program)
	answering.Env = append(os.Environ(), echoLate+"=1")
	answering.Stderr = os.Stderr
	must(s.far.Start(answering))
	return s
}

func (f family) line(i int) (edge, far netip.Prefix) {
	if i == 0 {
		return f.edge1, f.far1
	}
	return f.edge2, f.far2
}

func (f family) idleTargets() []netip.Addr {
	second := f.target.Next()
	return []netip.Addr{f.target, second, second.Next()}
}

// BenchmarkIdle is what probing costs while all is well: two uplinks in both
// families with three targets each, once a second. An operation is a second, so
// run it with -benchtime=30x. It needs network namespaces.
func BenchmarkIdle(b *testing.B) {
	s := newIdleSite(b)
	var mu sync.Mutex
	latest := map[string]Report{}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	b.Cleanup(running.Wait)
	b.Cleanup(cancel)
	for i, dev := range []string{"eth1", "eth2"} {
		for _, f := range families46 {
			edge, far := f.line(i)
			p := New(Config{
				Uplink: dev, Device: dev, Source: edge.Addr(), Gateway: far.Addr(), Targets: f.idleTargets(),
				Interval: time.Second, Down: 3, Up: 3,
			}, func(r Report) {
				mu.Lock()
				defer mu.Unlock()
				latest[dev+" "+f.name] = r
			}, slog.New(slog.DiscardHandler))
			dial := p.dial
			p.dial = func(id identity) (c conn, err error) {
				doErr := s.edge.Do(func() error { c, err = dial(id); return nil })
				return c, errors.Join(doErr, err)
			}
			running.Go(func() { p.Run(ctx) })
		}
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for range 3 { // the first answers
		<-second.C
	}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		<-second.C
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/s")
	b.ReportMetric(float64(after.Nvcsw-before.Nvcsw)/float64(b.N), "switches/s")
	mu.Lock()
	defer mu.Unlock()
	for name, r := range latest {
		for i, target := range r.Targets {
			if late := target.RTT - time.Duration(i+1)*10*time.Millisecond; target.Opinion != Up || late < 0 || late > 5*time.Millisecond {
				b.Errorf("%s: %+v", name, target)
			}
		}
	}
}
