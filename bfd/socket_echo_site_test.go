package bfd

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// echoSite is an edge with a session, and a neighbour that runs no BFD.
type echoSite struct {
	t         *testing.T
	lab       *lab.Lab
	edge, isp *lab.Host
	conf      Config
}

func (s *echoSite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *echoSite) host(name string) *lab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name)
	s.must(err)
	return h
}

// newEchoSite connects edge's "wan" with isp's "cust"; the echo source is on edge's
// "lan", as an address of the network behind it. The neighbour forwards.
func newEchoSite(t *testing.T, conf Config) *echoSite {
	t.Helper()
	l, err := lab.New(lab.Options{Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &echoSite{t: t, lab: l, conf: conf}
	s.edge, s.isp = s.host("edge"), s.host("isp")
	s.must(l.Veth(s.edge, "wan", s.isp, "cust"))
	s.must(s.edge.AddAddress("wan", subnet(conf.Local)))
	s.must(s.isp.AddAddress("cust", subnet(conf.Peer)))
	s.must(s.edge.AddAddress("lo", netip.PrefixFrom(conf.EchoSource, conf.EchoSource.BitLen())))
	s.must(s.isp.Forward())
	s.sysctl(s.isp, "send_redirects", "0")
	return s
}

// subnet is an address with the length of its link.
func subnet(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

// sysctl sets an IPv4 setting of all devices and those to come.
func (s *echoSite) sysctl(h *lab.Host, name, value string) {
	s.t.Helper()
	out, err := h.IP("-o", "link")
	s.must(err)
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		dev, _, _ := strings.Cut(strings.Fields(line)[1], "@")
		s.must(h.Sysctl("net/ipv4/conf/"+strings.TrimSuffix(dev, ":")+"/"+name, value))
	}
	s.must(h.Sysctl("net/ipv4/conf/all/"+name, value))
}

// running is a session of a speaker of its own.
type running struct {
	t       *testing.T
	session *Session
	stop    func()

	mu     sync.Mutex
	events []Event
	// atUp is the status when the session came up first.
	atUp Status
}

// start runs a session on the edge.
func (s *echoSite) start(conf Config) *running {
	s.t.Helper()
	var speaker *Speaker
	s.must(s.edge.Do(func() (err error) {
		speaker, err = NewSpeaker(Options{Logger: slog.New(slog.DiscardHandler)})
		return err
	}))
	r := &running{t: s.t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	var err error
	opened := make(chan struct{})
	r.session, err = speaker.Open(conf, func(e Event) {
		<-opened
		st := r.session.Status()
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.New == Up && st.Ups == 1 {
			r.atUp = st
		}
		r.events = append(r.events, e)
	})
	close(opened)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	go func() { done <- speaker.Run(ctx) }()
	s.t.Cleanup(r.stop)
	return r
}

func (r *running) status() Status { return r.session.Status() }

// until waits for a status.
func (r *running) until(what string, ok func(Status) bool) (st Status) {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%+v", st)
		}
	}()
	r.eventually(what, func() bool {
		st = r.status()
		return ok(st)
	})
	return st
}

// eventually waits for something.
func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			r.t.Fatalf("no %s", what)
		case <-tick.C:
		}
	}
}

func (r *running) untilUp() Status {
	r.t.Helper()
	return r.until("Up", func(st Status) bool { return st.State == Up })
}

// capture is what a device received or sent.
type capture struct {
	fd   int
	done chan struct{}
	stop [2]int
	// closed is once.
	closed sync.Once

	mu     sync.Mutex
	frames []captured
}

// captured is a frame with its link-layer header.
type captured struct {
	outgoing bool
	b        []byte
}

// echo reports whether it goes to the echo port, and its IP packet.
func (c captured) echo() (ip []byte, ok bool) {
	var d datagram
	return c.b[14:], parseFrame(c.b[14:], len(c.b)-14, &d)
}

// capture begins to record an ethernet device; each frame also goes to handle, if
// there is one.
func (s *echoSite) capture(h *lab.Host, dev string, handle func(c *capture, f captured)) *capture {
	s.t.Helper()
	index, err := h.Index(dev)
	s.must(err)
	c := &capture{done: make(chan struct{})}
	s.must(unix.Pipe2(c.stop[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	s.must(h.Do(func() error {
		var err error
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index})
	}))
	go c.serve(handle)
	s.t.Cleanup(c.close)
	return c
}

// close ends the recording.
func (c *capture) close() {
	c.closed.Do(func() {
		unix.Close(c.stop[1])
		<-c.done
		unix.Close(c.stop[0])
		unix.Close(c.fd)
	})
}

func (c *capture) serve(handle func(c *capture, f captured)) {
	defer close(c.done)
	b := make([]byte, 2048)
	for {
		fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}, {Fd: int32(c.stop[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == nil && fds[1].Revents != 0 {
			return
		}
		n, from, err := unix.Recvfrom(c.fd, b, 0)
		if err != nil || n < 14 {
			continue
		}
		f := captured{b: append([]byte(nil), b[:n]...)}
		if l, ok := from.(*unix.SockaddrLinklayer); ok {
			f.outgoing = l.Pkttype == unix.PACKET_OUTGOING
		}
		c.mu.Lock()
		c.frames = append(c.frames, f)
		c.mu.Unlock()
		if handle != nil {
			handle(c, f)
		}
	}
}

// count counts frames.
func (c *capture) count(which func(captured) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, f := range c.frames {
		if which(f) {
			n++
		}
	}
	return n
}

// reflect makes the neighbour's device return each echo packet with a hop limit that
// ttl tells, in place of a neighbour that forwards.
func (s *echoSite) reflect(ttl func() byte) {
	s.t.Helper()
	s.must(s.isp.Sysctl("net/ipv4/ip_forward", "0"))
	s.must(s.isp.Sysctl("net/ipv6/conf/all/forwarding", "0"))
	s.capture(s.isp, "cust", func(c *capture, f captured) {
		ip, ok := f.echo()
		if f.outgoing || !ok {
			return
		}
		b := append([]byte(nil), f.b...)
		copy(b, f.b[6:12])
		copy(b[6:], f.b[:6])
		if ip[0]>>4 == 4 {
			b[14+8] = ttl()
		} else {
			b[14+7] = ttl()
		}
		// The header's checksum is wrong now, which is nothing to us: IP does
		// not get to see it.
		if _, err := unix.Write(c.fd, b); err != nil {
			s.t.Error(err)
		}
	})
}
