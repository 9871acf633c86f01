package adversity

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/lab"
)

// far is the place of a peer: an ISP and a family.
type far struct {
	s      *scene
	access *lab.Access
	number int
	ipv6   bool
	wire   bgptest.Family
	peer   *bgptest.Peer
}

// fars are the peers of an ISP, one for each family.
func (s *scene) fars(names ...string) (all []*far) {
	for _, name := range names {
		for i, a := range s.site.Accesses {
			for _, f := range families {
				if a.Name == name {
					all = append(all, &far{s: s, access: a, number: i, ipv6: f.ipv6, wire: f.wire})
				}
			}
		}
	}
	return all
}

func (f *far) name() string { return fmt.Sprintf("%s/%v", f.access.Name, f.wire) }

func (f *far) line() lab.Line { return f.access.Line(f.ipv6) }

// connectWithin bounds one attempt to connect: the line is a cable of a few microseconds.
const connectWithin = 2 * time.Second

// dial connects from an address of the ISP.
func (f *far) dial(from netip.Addr) func(ctx context.Context) (net.Conn, error) {
	inner := bgptest.Socket{}.Dial(from, netip.AddrPortFrom(f.line().Source, 179))
	return func(ctx context.Context) (c net.Conn, err error) {
		ctx, cancel := context.WithTimeout(ctx, connectWithin)
		defer cancel()
		err = f.access.Host.Do(func() (err error) {
			c, err = inner(ctx)
			return err
		})
		return c, err
	}
}

func (f *far) options() bgptest.Options {
	return bgptest.Options{
		AS: uint32(firstISPAS + f.number), ID: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + f.number)}),
		Families: []bgptest.Family{f.wire}, Forget: true,
	}
}

// connect establishes the session.
func (f *far) connect(o bgptest.Options) error {
	ctx, cancel := context.WithTimeout(f.s.ctx, f.s.Patience)
	defer cancel()
	p, err := bgptest.Connect(ctx, f.dial(f.line().Gateway), o)
	if err != nil {
		return fmt.Errorf("connect %s: %w", f.name(), err)
	}
	if f.peer != nil {
		f.peer.Close()
	}
	f.peer = p
	return nil
}

func (f *far) close() {
	if f.peer != nil {
		f.peer.Close()
	}
}

func (f *far) view() bgptest.View {
	return bgptest.View{AS: uint32(firstISPAS + f.number), NextHop: f.line().Gateway, Slot: f.number % 2, Preference: bgptest.PreferEach}
}

// defaultRoute is the announcement of everything.
func (f *far) defaultRoute() [][]byte {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if f.ipv6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return bgptest.Announcement(bgptest.Attributes{ASPath: []uint32{uint32(firstISPAS + f.number)}, NextHop: f.line().Gateway}, all)
}

// announce sends the default and the table but for its last prefixes, without End-of-RIB.
func (f *far) announce(without int) error {
	t := f.s.tables[f.ipv6]
	return f.peer.Send(append(f.defaultRoute(), t.Updates(f.view(), 0, t.Len()-without)...)...)
}

// steady connects the well-behaved peers, which announce all, and waits until it is in
// the kernel.
func (s *scene) steady(all []*far) error {
	for _, f := range all {
		if err := f.connect(f.options()); err != nil {
			return err
		}
		s.closers = append(s.closers, f.close)
		if err := f.announce(0); err != nil {
			return err
		}
		if err := f.peer.EndOfRIB(f.wire); err != nil {
			return err
		}
	}
	return s.loaded(s.Prefixes)
}

// stillUp reports the sessions of well-behaved peers that have ended.
func (s *scene) stillUp(all []*far) {
	up := 0
	for _, f := range all {
		h := f.peer.Heard()
		if !h.Closed {
			up++
			continue
		}
		s.report.fault(false, "the session of %s ended: %v, notification %v", f.name(), h.Err, h.Notification)
	}
	s.report.count("sessions of well-behaved peers: %d of %d stand since the beginning", up, len(all))
}
