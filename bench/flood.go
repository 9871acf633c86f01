package main

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	floodSessions = 16
	// controlPort is where packets of single-hop sessions go (RFC 5881).
	controlPort = 3784
	// floodTick is the grid on which the sender wakes up, and floodCatchUp the
	// longest pause that it makes up for.
	floodTick    = time.Millisecond
	floodCatchUp = 20 * time.Millisecond
)

// Figures of this scenario alone.
const (
	keyFlood   = "flood_per_second"
	keyDropped = "dropped"
)

var floodScenario = scenario{
	name: "bfd-flood",
	about: fmt.Sprintf("%d sessions at the usual intervals while the far end's host sends garbage to port %d from the addresses of the peers. "+
		"No session may flap. Overflows are what the kernel could not put into a receive buffer.", floodSessions, controlPort),
	columns: append([]column{
		{Key: keyFlood, Title: "garbage/s"},
		{Key: keyDropped, Title: "dropped by it"},
		{Key: keyOverflows, Title: "overflows"},
	}, basics...),
	run: (*bench).flood,
}

// garbage is a kind of packet: it fills b and returns how much of it to send.
type garbage struct {
	name string
	fill func(rng *rand.Rand, b []byte) []byte
}

var garbages = []garbage{
	{"random octets", randomOctets},
	{"wrong discriminators", wrongDiscriminators},
}

func randomOctets(rng *rand.Rand, b []byte) []byte {
	b = b[:rng.IntN(len(b)+1)]
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// wrongDiscriminators makes a packet that passes every check up to that of the
// session: version 1, Up, multiplier 3, 24 octets (RFC 5880 section 4.1).
func wrongDiscriminators(rng *rand.Rand, b []byte) []byte {
	b = b[:24]
	b[0], b[1], b[2], b[3] = 1<<5, 3<<6, 3, 24
	binary.BigEndian.PutUint32(b[4:], rng.Uint32()|1)
	binary.BigEndian.PutUint32(b[8:], rng.Uint32()|1)
	for i, microseconds := range []uint32{50_000, 50_000, 0} {
		binary.BigEndian.PutUint32(b[12+4*i:], microseconds)
	}
	return b
}

func (b *bench) flood(ctx context.Context, t *table) error {
	for _, g := range garbages {
		for _, ipv6 := range b.options.families {
			s := b.options.setting(floodSessions, ipv6)
			var entrants []entrant
			for _, c := range b.candidates {
				entrants = append(entrants, entrant{c.name(), func(ctx context.Context) (sample, error) {
					return b.try(ctx, c, s, func(t *trial) (sample, error) {
						return t.underFlood(ctx, g, b.options.rate, b.options.floodFor)
					})
				}})
			}
			if err := b.contest(ctx, t, g.name+", "+family(ipv6), entrants); err != nil {
				return err
			}
		}
	}
	return nil
}

// underFlood measures while rate packets of garbage per second come in.
func (t *trial) underFlood(ctx context.Context, g garbage, rate int, d time.Duration) (sample, error) {
	f, err := newFlooder(t.wire)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var sent int
	m, err := t.measure(ctx, d, func(ctx context.Context) (err error) {
		sent, err = f.run(ctx, g, rate)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := m.figures(floodSessions)
	s[keyFlood] = float64(sent) / m.after.at.Sub(m.before.at).Seconds()
	if m.after.own.Received > 0 {
		s[keyDropped] = float64(m.after.own.dropped() - m.before.own.dropped())
	}
	return s, nil
}

// flooder has a socket for each pair of addresses.
type flooder struct{ sockets []int }

// newFlooder opens them on the far host: from the address of the peer, with the
// hop limit that only a neighbour can send.
func newFlooder(w *wire) (*flooder, error) {
	f := &flooder{}
	for _, p := range w.pairs {
		err := w.far.Do(func() error {
			fd, err := openFlood(p)
			if err == nil {
				f.sockets = append(f.sockets, fd)
			}
			return err
		})
		if err != nil {
			f.close()
			return nil, fmt.Errorf("open socket to flood %s: %w", p.near, err)
		}
	}
	return f, nil
}

func openFlood(p pair) (int, error) {
	domain := unix.AF_INET
	if p.far.Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	if domain == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 255)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(p.far, 0))
	}
	if err == nil {
		err = unix.Connect(fd, sockaddr(p.near, controlPort))
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}

func (f *flooder) close() {
	for _, fd := range f.sockets {
		unix.Close(fd)
	}
	f.sockets = nil
}

// run sends at rate until ctx ends, and returns how many the kernel took.
func (f *flooder) run(ctx context.Context, g garbage, rate int) (sent int, err error) {
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewChaCha8(seed))
	var buffer [256]byte
	ticker := time.NewTicker(floodTick)
	defer ticker.Stop()
	var done float64
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return sent, nil
		case <-ticker.C:
		}
		now := time.Now()
		done += min(now.Sub(last), floodCatchUp).Seconds() * float64(rate)
		for last = now; done >= 1; done-- {
			fd := f.sockets[rng.IntN(len(f.sockets))]
			_, err := unix.Write(fd, g.fill(rng, buffer[:]))
			switch {
			case err == nil:
				sent++
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ECONNREFUSED):
				// The wire is full, or an ICMP error of an earlier one came back.
			default:
				return sent, fmt.Errorf("send garbage: %w", err)
			}
		}
	}
}
