package interop

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/lab"
)

// path is where a session runs: the addresses of both ends.
type path struct {
	name      string
	us, far   netip.Addr
	multihop  bool
	subnet    int // bits
	gatewayUs netip.Addr
	// gatewayFar is the router as the peer sees it.
	gatewayFar netip.Addr
}

// device is what a path takes at both ends.
func (p path) device() string {
	if p.multihop {
		return "hops0"
	}
	return "eth0"
}

var allPaths = []path{
	{name: "IPv4", us: ip("192.0.2.1"), far: ip("192.0.2.2"), subnet: 24},
	{name: "IPv6", us: ip("2001:db8::1"), far: ip("2001:db8::2"), subnet: 64},
	{name: "IPv6 link-local", us: ip("fe80::1"), far: ip("fe80::2"), subnet: 64},
	{
		name: "IPv4 multihop", us: ip("198.51.100.1"), far: ip("203.0.113.1"), subnet: 24, multihop: true,
		gatewayUs: ip("198.51.100.254"), gatewayFar: ip("203.0.113.254"),
	},
	{
		name: "IPv6 multihop", us: ip("2001:db8:1::1"), far: ip("2001:db8:2::1"), subnet: 64, multihop: true,
		gatewayUs: ip("2001:db8:1::fe"), gatewayFar: ip("2001:db8:2::fe"),
	},
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// terms are how a daemon is configured, for all of its sessions.
type terms struct {
	tx, rx     time.Duration
	multiplier int
	passive    bool
	// echo asks FRR to send echo packets.
	echo bool
	auth bfd.Auth
}

// theirs are the terms of the peer, and ours the configuration of our sessions,
// unless a test says otherwise. No two intervals are the same, so that nobody can
// confuse them, and detection takes more than a second, so that a machine with other
// things to do makes no failures up.
var theirs = terms{tx: 60 * time.Millisecond, rx: 80 * time.Millisecond, multiplier: 20}

func ours(p path) bfd.Config {
	c := bfd.Config{
		Peer: p.far, Local: p.us, Multihop: p.multihop,
		DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 70 * time.Millisecond, Multiplier: 22,
	}
	if p.multihop {
		c.MinTTL = birdTTL - 1
	}
	if !p.multihop {
		c.Interface = p.device()
	}
	return c
}

// view is what a daemon says of a session.
type view struct {
	state bfd.State
	// interval is what the daemon sends with, timeout is its detection time, as
	// far as they are known.
	interval, timeout time.Duration
}

// birdTTL is the hop limit of BIRD's multihop sessions: the kernel's default, where
// FRR, like ours, sends 255. There is one router on the way.
const birdTTL = 64

// daemon is a peer.
type daemon interface {
	// launch starts it; what is returned is the process that speaks BFD.
	launch(t *testing.T, h *lab.Host, with terms) *process
	// apply changes the terms of a running daemon.
	apply(t *testing.T, with terms)
	// views asks it for its sessions, by the address of our end.
	views() (map[netip.Addr]view, error)
	// disable takes all sessions administratively down, and back.
	disable(t *testing.T, on bool)
}

// scene is a network with a peer in it.
type scene struct {
	us, router, far *lab.Host
	paths           []path
	daemon          daemon
	process         *process
}

// against runs f once for each peer.
func against(t *testing.T, f func(t *testing.T, make func(*testing.T) daemon)) {
	t.Helper()
	t.Run("BIRD", func(t *testing.T) {
		t.Parallel()
		f(t, newBird)
	})
	t.Run("FRR", func(t *testing.T) {
		t.Parallel()
		f(t, newFRR)
	})
}

// build makes the network without a peer in it.
func build(t *testing.T) *scene {
	t.Helper()
	l, err := lab.New(lab.Options{Name: "interop"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) *lab.Host {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	s := &scene{us: host("us"), router: host("router"), far: host("far"), paths: allPaths}
	must(t,
		l.Veth(s.us, "eth0", s.far, "eth0"),
		l.Veth(s.us, "hops0", s.router, "us0"),
		l.Veth(s.router, "far0", s.far, "hops0"),
		s.router.Forward(),
	)
	for _, p := range s.paths {
		must(t,
			s.us.AddAddress(p.device(), netip.PrefixFrom(p.us, p.subnet)),
			s.far.AddAddress(p.device(), netip.PrefixFrom(p.far, p.subnet)),
		)
		if !p.multihop {
			continue
		}
		must(t,
			s.router.AddAddress("us0", netip.PrefixFrom(p.gatewayUs, p.subnet)),
			s.router.AddAddress("far0", netip.PrefixFrom(p.gatewayFar, p.subnet)),
			s.us.AddRoute(netip.PrefixFrom(p.far, p.subnet), p.gatewayUs, p.device()),
			s.far.AddRoute(netip.PrefixFrom(p.us, p.subnet), p.gatewayFar, p.device()),
		)
	}
	return s
}

// play builds the network and starts the peer.
func play(t *testing.T, d daemon, with terms) *scene {
	t.Helper()
	s := build(t)
	s.daemon = d
	s.launch(t, with)
	return s
}

// launch starts the peer, or starts it again.
func (s *scene) launch(t *testing.T, with terms) {
	t.Helper()
	s.process = s.daemon.launch(t, s.far, with)
	eventually(t, "the peer answers", func() error {
		if s.process.hasEnded() {
			t.Fatalf("%s ended: %s", s.process.name, s.process.tail(20))
		}
		_, err := s.daemon.views()
		return err
	})
}

// nft gives a host one table of rules in place of the last one; no rules, no table.
func nft(t *testing.T, h *lab.Host, chains ...string) {
	t.Helper()
	runOn(t, h, "nft", "add table inet interop\ndelete table inet interop\nadd table inet interop {\n"+strings.Join(chains, "\n")+"\n}")
}

// deaf is a chain that drops control packets before anybody hears them.
const deaf = "chain deaf { type filter hook input priority 0; udp dport { 3784, 4784 } drop; }"

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
