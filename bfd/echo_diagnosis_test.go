package bfd

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEchoDiagnose(t *testing.T) {
	long := echoTrial{missing: 5, missingSince: time.Second, missingUntil: 4 * time.Second}
	after := func(change func(*echoTrial)) echoTrial {
		trial := long
		change(&trial)
		return trial
	}
	for name, c := range map[string]struct {
		state State
		trial echoTrial
		v6    bool
		want  string
	}{
		"up":         {state: Up, trial: long},
		"admin down": {state: AdminDown, trial: long},
		"new":        {state: Down, want: "waiting for the first echo"},
		"almost": {
			state: Down, trial: after(func(e *echoTrial) { e.missingUntil-- }),
			want: "waiting for the first echo",
		},
		"nothing": {
			state: Down, trial: long,
			want: "no echo came back: the neighbour 203.0.113.1 does not forward (ip_forward=0), filters UDP port 3785, or drops our source 198.51.100.2",
		},
		"nothing, in Init": {
			state: Init, trial: long,
			want: "no echo came back: the neighbour 203.0.113.1 does not forward (ip_forward=0), filters UDP port 3785, or drops our source 198.51.100.2",
		},
		"nothing, IPv6": {
			state: Down, trial: long, v6: true,
			want: "no echo came back: the neighbour 2001:db8:1::1 does not forward (forwarding=0), filters UDP port 3785, or drops our source 2001:db8:2::2",
		},
		"reverse path": {
			state: Down, trial: after(func(e *echoTrial) { e.testsSent, e.testsBack = 4, 3 }),
			want: "the neighbour 203.0.113.1 forwards our echoes from 203.0.113.2 but drops those from 198.51.100.2: its reverse-path filter (strict uRPF, rp_filter=1) refuses that source on this link; let it use loose mode, or set the echo source to 203.0.113.2 if its redirects do no harm",
		},
		"reverse path, IPv6": {
			state: Down, trial: after(func(e *echoTrial) { e.testsSent, e.testsBack = 4, 1 }), v6: true,
			want: "the neighbour 2001:db8:1::1 forwards our echoes from 2001:db8:1::2 but drops those from 2001:db8:2::2: its reverse-path filter (strict uRPF, a rule with fib or rpfilter) refuses that source on this link; let it use loose mode, or set the echo source to 2001:db8:1::2 if its redirects do no harm",
		},
		"reverse path, too early": {
			state: Down, trial: echoTrial{missing: 2, testsSent: 1, testsBack: 1, missingUntil: time.Second},
			want: "waiting for the first echo",
		},
		"rewritten": {
			state: Down, trial: after(func(e *echoTrial) { e.testsBack, e.rewritten = 1, netip.MustParseAddr("203.0.113.2") }),
			want: "our echoes came back from 203.0.113.2 instead of 198.51.100.2: a NAT rule, most likely of this host, rewrites their source; exempt UDP port 3785 on wan from it",
		},
		"far": {
			state: Down, trial: after(func(e *echoTrial) { e.far = 252 }),
			want: "our echoes came back over more than one hop, with hop limit 252 instead of 254: the neighbour 203.0.113.1 does not send them back itself; it needs a route to 203.0.113.2 over this link",
		},
		"reflected": {
			state: Down, trial: after(func(e *echoTrial) { e.far = 255 }),
			want: "our echoes came back with hop limit 255: something on the link reflects them before the neighbour 203.0.113.1 has forwarded them",
		},
		"no neighbour": {
			state: Down, trial: echoTrial{missing: 2, said: unix.EHOSTUNREACH},
			want: "the neighbour 203.0.113.1 does not answer on wan (ARP): it is down, or not on this link",
		},
		"no neighbour, IPv6": {
			state: Down, trial: echoTrial{missing: 2, said: unix.EHOSTUNREACH}, v6: true,
			want: "the neighbour 2001:db8:1::1 does not answer on wan (neighbour discovery): it is down, or not on this link",
		},
		"prohibited": {
			state: Down, trial: after(func(e *echoTrial) { e.said = unix.EACCES }),
			want: "the neighbour 203.0.113.1 gets no echoes: permission denied",
		},
	} {
		conf := echoFamilies["IPv4"]
		if c.v6 {
			conf = echoFamilies["IPv6"]
		}
		e := newEcho(conf)
		e.echoTrial = c.trial
		if got := e.diagnose(c.state); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
	}
}

// TestBFD_UE_20_ReversePath: the whole way from packets to words.
func TestBFD_UE_20_ReversePath(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.forward = func(l looped) bool { return l.source != conf.EchoSource }
		problem := func() string { return n.table.status(n.s).Problem }
		for n.now < 8*time.Second-time.Millisecond {
			n.run(100 * time.Millisecond)
			if got := problem(); n.now < 8*time.Second && got != "waiting for the first echo" {
				t.Fatalf("after %v: %q", n.now-5*time.Second, got)
			}
		}
		n.run(2 * time.Second)
		if got := problem(); !strings.Contains(got, "reverse-path filter") {
			t.Errorf("%q", got)
		}
		if n.s.core.state != Down || n.s.dropped[DropEchoTest] == 0 || n.s.received != 0 {
			t.Errorf("%v, dropped %v", n.s.core.state, counted(&n.s.dropped))
		}
		n.forward = nil
		n.run(2 * time.Second)
		if got := problem(); got != "" || n.s.core.state != Up {
			t.Errorf("forwarded again: %v, %q", n.s.core.state, got)
		}
		n.forward = func(looped) bool { return false }
		n.run(10 * time.Second)
		if got := problem(); !strings.HasPrefix(got, "no echo came back") {
			t.Errorf("nothing forwarded: %q", got)
		}
	})
}

func TestEchoHopLimitTold(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.forward = func(looped) bool { return false }
		for range 10 {
			n.run(500 * time.Millisecond)
			d := n.datagram(n.sent[len(n.sent)-1])
			d.ttl = 250
			n.table.input(d, n.now)
		}
		st := n.table.status(n.s)
		if !strings.Contains(st.Problem, "over more than one hop, with hop limit 250") || st.Dropped[DropTTL] != 10 {
			t.Errorf("%+v", st)
		}
		// Of a stranger nothing is believed.
		d := n.datagram(n.sent[len(n.sent)-1])
		d.ttl = 255
		d.payload[len(d.payload)-1]++
		n.table.input(d, n.now)
		if st := n.table.status(n.s); !strings.Contains(st.Problem, "limit 250") || st.Dropped[DropTTL] != 10 || n.table.dropped[DropTTL] != 11 {
			t.Errorf("%+v", st)
		}
	})
}

// What the network says counts as long as it repeats itself.
func TestEchoFailureTold(t *testing.T) {
	n := newNeighbourhood(t, echoFamilies["IPv4"])
	n.forward = func(looped) bool { return false }
	n.said = unix.EHOSTUNREACH
	n.run(2 * time.Second)
	if got := n.table.status(n.s).Problem; !strings.Contains(got, "does not answer on wan") {
		t.Errorf("%q", got)
	}
	n.said = nil
	n.run(2 * time.Second)
	if got := n.table.status(n.s).Problem; !strings.Contains(got, "does not answer on wan") {
		t.Errorf("forgotten too early: %q", got)
	}
	n.run(8 * time.Second)
	if got := n.table.status(n.s).Problem; !strings.HasPrefix(got, "no echo") {
		t.Errorf("%q", got)
	}
}

// A session whose packets are its own test sends no others.
func TestEchoWithoutSource(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		conf.EchoSource = conf.Local
		n := newNeighbourhood(t, conf)
		n.forward = func(looped) bool { return false }
		n.run(time.Minute)
		for _, l := range n.sent {
			if l.kind() != echoMain || l.source != conf.Local {
				t.Fatalf("sent %v", l)
			}
		}
		n.forward = nil
		n.up()
	})
}

// What keeps a packet from being sent comes before what it would have told.
func TestEchoUnsent(t *testing.T) {
	n := newNeighbourhood(t, echoFamilies["IPv4"])
	n.table.attach(n.s, testLink, brokenSender{})
	n.run(10 * time.Second)
	if got := n.table.status(n.s).Problem; got != "no buffer" {
		t.Errorf("%q", got)
	}
	n.table.detach(n.s, "no device wan")
	if got := n.table.status(n.s).Problem; got != "no device wan" {
		t.Errorf("%q", got)
	}
}

type brokenSender struct{}

func (brokenSender) send([]byte) error { return errors.New("no buffer") }

// TestBFD_UE_21_OneSessionWithANeighbour: either kind, whichever comes first.
func TestBFD_UE_21_OneSessionWithANeighbour(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, echo Config) {
		async := Config{Peer: echo.Peer, Interface: echo.Interface}
		for name, pair := range map[string][2]Config{"echo first": {echo, async}, "async first": {async, echo}} {
			table := newTable(rand.New(rand.NewPCG(1, 2)), time.Unix(0, 0).Add)
			if _, err := table.open(pair[0], nil, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := table.open(pair[1], nil, 0); err == nil || !strings.Contains(err.Error(), "one already") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestBFD_UE_02_Configuration: one hop, and addresses that a neighbour
// forwards.
func TestBFD_UE_02_Configuration(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		if err := conf.Validate(); err != nil {
			t.Fatal(err)
		}
		for want, change := range map[string]func(c *Config){
			"one hop": func(c *Config) { c.Multihop = true },
			"passive": func(c *Config) { c.Passive = true },
			"come back to it": func(c *Config) {
				c.Local = netip.Addr{}
			},
		} {
			c := conf
			change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q: %v", want, err)
			}
		}
	})
}

func TestBFD_ST_06_Discriminators(t *testing.T) {
	table := newTable(rand.New(rand.NewPCG(3, 4)), time.Unix(0, 0).Add)
	seen := map[uint32]bool{0: true}
	conf := [2]Config{echoFamilies["IPv6"], {Peer: echoFamilies["IPv6"].Peer, Interface: "lan"}}
	conf[0].Peer = netip.MustParseAddr("2001:db8:1::1000")
	for i := range 100_000 {
		c := &conf[min(1, i%50)]
		c.Peer = c.Peer.Next()
		s, err := table.open(*c, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if seen[s.core.localDiscr] {
			t.Fatalf("session %d: discriminator %d again", i, s.core.localDiscr)
		}
		seen[s.core.localDiscr] = true
	}
}
