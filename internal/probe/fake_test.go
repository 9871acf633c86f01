package probe

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNet is the network beyond the sockets, in memory. Its zero value answers
// every probe after delay.
type fakeNet struct {
	mu      sync.Mutex
	v6      bool
	delay   time.Duration
	cut     map[netip.Addr]bool // silent targets
	openErr error
	sendErr error
	stall   time.Duration // the next wait takes that much longer
	// alter may change an answer or return none.
	alter func(request []byte, k packet) []packet

	conns []*fakeConn
	opens []time.Time
	sends []fakeSend
	// waits counts how often a prober went to sleep, receives how often it
	// asked for a packet.
	waits, receives int
	// backlog is the most packets that lay in a socket at once.
	backlog int
}

type fakeSend struct {
	to netip.Addr
	at time.Time
}

type fakeConn struct {
	net    *fakeNet
	id     identity
	inbox  []packet // in order of arrival, which is kernel
	notify chan struct{}
	once   sync.Once
	closed chan struct{}
}

// set changes the network.
func (n *fakeNet) set(change func(*fakeNet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *fakeNet) dial(id identity) (conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opens = append(n.opens, time.Now())
	if n.openErr != nil {
		return nil, n.openErr
	}
	c := &fakeConn{net: n, id: id, notify: make(chan struct{}, 1), closed: make(chan struct{})}
	n.conns = append(n.conns, c)
	return c, nil
}

// deliver puts a packet into the newest socket.
func (n *fakeNet) deliver(k packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[len(n.conns)-1].arrive(k)
}

func (c *fakeConn) arrive(k packet) {
	c.inbox = append(c.inbox, k)
	slices.SortStableFunc(c.inbox, func(a, b packet) int { return a.kernel.Compare(b.kernel) })
	select {
	case c.notify <- struct{}{}:
	default:
	}
}

func (c *fakeConn) send(to netip.Addr, message []byte) error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sends = append(n.sends, fakeSend{to, time.Now()})
	if n.sendErr != nil {
		return n.sendErr
	}
	if n.cut[to] {
		return nil
	}
	k := packet{data: reply(message, n.v6), from: to, onDevice: true, kernel: time.Now().Round(0).Add(n.delay)}
	answers := []packet{k}
	if n.alter != nil {
		answers = n.alter(message, k)
	}
	for _, k := range answers {
		c.arrive(k)
	}
	return nil
}

func (c *fakeConn) receive(p *packet) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.receives++
	due := 0
	for due < len(c.inbox) && !c.inbox[due].kernel.After(time.Now()) {
		due++
	}
	c.net.backlog = max(c.net.backlog, due)
	if len(c.inbox) == 0 || c.inbox[0].kernel.After(time.Now()) {
		return errEmpty
	}
	*p = c.inbox[0]
	c.inbox = c.inbox[1:]
	return nil
}

func (c *fakeConn) wait(until time.Time, listen bool) (arrived bool, err error) {
	c.net.set(func(n *fakeNet) { n.waits++ })
	for {
		c.net.mu.Lock()
		// A time that ends is no word about packets, where it listened.
		wake, notify, arrived := until, c.notify, !listen
		if !listen {
			notify = nil
		}
		if c.net.stall > 0 {
			// A process that does not run is not woken by packets either.
			wake, notify = until.Add(c.net.stall), nil
			c.net.stall = 0
		} else if listen && len(c.inbox) > 0 && c.inbox[0].kernel.Before(wake) {
			wake, arrived = c.inbox[0].kernel, true
		}
		c.net.mu.Unlock()
		left := time.Until(wake)
		if left <= 0 {
			return arrived, nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
			return arrived, nil
		case <-notify:
		case <-c.closed:
			return false, os.ErrClosed
		}
		timer.Stop()
	}
}

func (c *fakeConn) close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// bench runs one prober against a fake network in a synctest bubble.
type bench struct {
	*fakeNet
	prober *Prober
	logs   *strings.Builder

	mu      sync.Mutex
	reports []Report
	at      []time.Time
}

// families runs a test in both families, each in a bubble of its own.
func families(t *testing.T, change func(*Config), test func(*testing.T, *bench)) {
	for _, f := range []struct {
		name, source string
		targets      []string
	}{
		{"ipv4", "192.0.2.2", []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"}},
		{"ipv6", "2001:db8::2", []string{"2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := Config{
					Uplink: "a", Device: "eth1", Source: netip.MustParseAddr(f.source),
					Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond, Down: 3, Up: 3,
				}
				for _, target := range f.targets {
					config.Targets = append(config.Targets, netip.MustParseAddr(target))
				}
				if change != nil {
					change(&config)
				}
				b := &bench{
					fakeNet: &fakeNet{v6: config.Source.Is6(), delay: 20 * time.Millisecond, cut: map[netip.Addr]bool{}},
					logs:    &strings.Builder{},
				}
				log := slog.New(slog.NewTextHandler(b.logs, nil))
				b.prober = New(config, b.report, log)
				b.prober.dial = b.dial
				test(t, b)
			})
		})
	}
}

func (b *bench) report(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports = append(b.reports, r)
	b.at = append(b.at, time.Now())
}

// start runs the prober until the test ends.
func (b *bench) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.prober.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// pass lets virtual time go by and everything settle.
func (b *bench) pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// last returns the last report and when it came.
func (b *bench) last() (Report, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reports[len(b.reports)-1], b.at[len(b.at)-1]
}

// forget drops the reports so far.
func (b *bench) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports, b.at = nil, nil
}

func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.reports)
}

// opinions returns those of the last report.
func (b *bench) opinions() [3]Opinion {
	r, _ := b.last()
	var all [3]Opinion
	for i, t := range r.Targets {
		all[i] = t.Opinion
	}
	return all
}
