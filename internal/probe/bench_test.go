package probe

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

// loopConn answers every probe at once and allocates nothing.
type loopConn struct {
	v6      bool
	to      netip.Addr
	data    [packetSize]byte
	waiting bool
}

func (c *loopConn) send(to netip.Addr, message []byte) error {
	copy(c.data[:], message)
	c.data[0] = v4EchoReply
	if c.v6 {
		c.data[0] = v6EchoReply
	}
	sealed(c.data[:], c.v6)
	c.to, c.waiting = to, true
	return nil
}

func (c *loopConn) receive(p *packet) error {
	if !c.waiting {
		return errEmpty
	}
	c.waiting = false
	*p = packet{data: c.data[:], from: c.to, onDevice: true}
	return nil
}

func (c *loopConn) wait(time.Time, bool) (bool, error) { return true, nil }
func (c *loopConn) close() error                       { return nil }

// idleProber returns a prober with its targets laid out but not running.
func idleProber(f wireFamily) *Prober {
	source := netip.MustParseAddr("192.0.2.2")
	if f.v6 {
		source = netip.MustParseAddr("2001:db8::2")
	}
	p := New(Config{
		Source: source, Targets: []netip.Addr{f.target}, Interval: time.Second, Down: 3, Up: 3,
	}, func(Report) {}, slog.New(slog.DiscardHandler))
	p.begin(time.Now())
	return p
}

// round is one probe: sent, answered, judged.
func (p *Prober) round(c conn, now time.Time) error {
	if _, err := p.sendDue(c, now); err != nil {
		return err
	}
	if _, err := p.drain(c); err != nil {
		return err
	}
	p.targets[0].expire(now)
	p.next(now)
	return nil
}

// A round costs no memory: an idle daemon gives the collector nothing to do.
func TestRoundAllocatesNothing(t *testing.T) {
	for _, f := range wireFamilies {
		p, c, now := idleProber(f), &loopConn{v6: f.v6}, time.Now()
		if err := p.round(c, now.Add(time.Second)); err != nil || p.targets[0].opinion != Up {
			t.Fatalf("%s: %v %+v", f.name, err, p.targets[0].report())
		}
		got := testing.AllocsPerRun(100, func() {
			now = now.Add(2 * time.Second)
			if err := p.round(c, now); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations per round", f.name, got)
		}
		if p.targets[0].window.count != minWindow {
			t.Errorf("%s: the rounds did nothing: %+v", f.name, p.targets[0].report())
		}
	}
}

func BenchmarkRound(b *testing.B) {
	for _, f := range wireFamilies {
		b.Run(f.name, func(b *testing.B) {
			p, c, now := idleProber(f), &loopConn{v6: f.v6}, time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(2 * time.Second)
				if err := p.round(c, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSocket is the same with the kernel: a send, a wake-up and a receive
// over the loopback device. It needs CAP_NET_RAW.
func BenchmarkSocket(b *testing.B) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		b.Run(address, func(b *testing.B) {
			a := netip.MustParseAddr(address)
			c, err := openKind(Config{Device: "lo", Source: a}, testIdentity, socketRaw)
			if err != nil {
				b.Fatalf("this benchmark needs CAP_NET_RAW: %v", err)
			}
			defer func() { _ = c.close() }()
			request := appendEcho(nil, c.v6, testIdentity, 1)
			var k packet
			b.ReportAllocs()
			for b.Loop() {
				if err := c.send(a, request); err != nil {
					b.Fatal(err)
				}
				if _, err := c.wait(time.Now().Add(time.Second), true); err != nil {
					b.Fatal(err)
				}
				for c.receive(&k) == nil {
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, f := range wireFamilies {
		data := reply(appendEcho(nil, f.v6, testIdentity, 1), f.v6)
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, why := parse(data, f.v6, testIdentity); why != Believed {
					b.Fatal(why)
				}
			}
		})
	}
}
