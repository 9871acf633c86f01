package bgptest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 30 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	return ctx
}

func options(as uint32) Options {
	return Options{AS: as, ID: netip.AddrFrom4([4]byte{192, 0, 2, byte(as)}), Families: []Family{IPv4, IPv6}}
}

func listen(ctx context.Context, t *testing.T, at string, s Socket) net.Listener {
	t.Helper()
	l, err := s.Listen(ctx, netip.AddrPortFrom(netip.MustParseAddr(at), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// couple makes two peers with a session over loopback.
func couple(t *testing.T, a, b Options, at string, s Socket) (*Peer, *Peer) {
	t.Helper()
	ctx := testContext(t)
	l := listen(ctx, t, at, s)
	type result struct {
		p   *Peer
		err error
	}
	accepted := make(chan result, 1)
	go func() {
		p, err := Accept(ctx, l, b)
		accepted <- result{p, err}
	}()
	p, err := Connect(ctx, s.Dial(netip.Addr{}, netip.MustParseAddrPort(l.Addr().String())), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r := <-accepted
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(r.p.Close)
	return p, r.p
}

func TestPeer_open(t *testing.T) {
	a := options(64500)
	a.GracefulRestart = &GracefulRestart{Restarting: true, Notification: true, Time: 77 * time.Second, Families: []Family{IPv4, IPv6}, Forwarding: []Family{IPv6}}
	a.HoldTime = 30 * time.Second
	b := options(4_200_000_001)
	b.ExtendedNextHop = true
	pa, pb := couple(t, a, b, "127.0.0.1", Socket{})
	ha, hb := pa.Heard().Open, pb.Heard().Open
	if ha.AS != 4_200_000_001 || ha.ShortAS != asTrans || ha.HoldTime != 90*time.Second {
		t.Errorf("%+v", ha)
	}
	if _, ok := ha.Capability(CapExtendedNextHop); !ok {
		t.Error("no extended next hop")
	}
	if _, ok := ha.GracefulRestart(); ok {
		t.Error("graceful restart that was not offered")
	}
	gr, ok := hb.GracefulRestart()
	if !ok || !reflect.DeepEqual(gr, *a.GracefulRestart) {
		t.Errorf("%+v", gr)
	}
	if hb.AS != 64500 || hb.ID != a.ID || hb.HoldTime != 30*time.Second || !slices.Equal(hb.Families(), a.Families) {
		t.Errorf("%+v", hb)
	}
}

var rich = Attributes{
	Origin: 2, ASPath: []uint32{64500, 4_200_000_000}, MED: 7, HasMED: true, LocalPref: 8, HasLocalPref: true,
	Communities: []uint32{GracefulShutdown, 64500<<16 | 1}, ExtendedCommunities: []uint64{LinkBandwidth(64500, 0x4b3ebc20)},
	LargeCommunities: [][3]uint32{{1, 2, 3}}, OnlyToCustomer: 64500, AtomicAggregate: true,
}

// What is announced is what is heard, in both families and with next hops of the
// other family; what is withdrawn is gone.
func TestPeer_routes(t *testing.T) {
	for _, tc := range []struct {
		prefix, next, second string
		types                []uint8
	}{
		{"198.51.100.0/24", "192.0.2.1", "", []uint8{1, 2, 3, 4, 5, 6, 8, 16, 32, 35}},
		{"0.0.0.0/0", "192.0.2.1", "", []uint8{1, 2, 3, 4, 5, 6, 8, 16, 32, 35}},
		{"198.51.100.1/32", "2001:db8::1", "", []uint8{14, 1, 2, 4, 5, 6, 8, 16, 32, 35}},
		{"2001:db8:1::/48", "2001:db8::1", "fe80::1", []uint8{14, 1, 2, 4, 5, 6, 8, 16, 32, 35}},
		{"::/0", "2001:db8::1", "", []uint8{14, 1, 2, 4, 5, 6, 8, 16, 32, 35}},
	} {
		t.Run(tc.prefix, func(t *testing.T) {
			ctx := testContext(t)
			pa, pb := couple(t, options(64500), options(64501), "127.0.0.1", Socket{})
			want, prefix := rich, netip.MustParsePrefix(tc.prefix)
			want.NextHop = netip.MustParseAddr(tc.next)
			if tc.second != "" {
				want.LinkLocal = netip.MustParseAddr(tc.second)
			}
			if err := pa.Announce(want, prefix); err != nil {
				t.Fatal(err)
			}
			got, err := pb.WaitRoute(ctx, prefix)
			if err != nil {
				t.Fatal(err)
			}
			want.Types, want.Multiprotocol = tc.types, tc.types[0] == AttrMPReach
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n%+v, want\n%+v", got, want)
			}
			if err := errors.Join(pa.Withdraw(prefix), pa.EndOfRIB(FamilyOf(prefix))); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(pb.WaitNoRoute(ctx, prefix), pb.WaitEndOfRIB(ctx, FamilyOf(prefix))); err != nil {
				t.Error(err)
			}
			if h := pb.Heard(); h.Announced != 1 || h.Withdrawn != 1 || len(h.Updates) != 3 || h.EndOfRIB[IPv4]+h.EndOfRIB[IPv6] != 1 {
				t.Errorf("%+v", h)
			}
		})
	}
}

// AS numbers have two octets if one side knows no more.
func TestPeer_twoOctets(t *testing.T) {
	a := options(64500)
	a.NoFourOctetAS = true
	pa, pb := couple(t, a, options(64501), "127.0.0.1", Socket{})
	prefix := netip.MustParsePrefix("198.51.100.0/24")
	if err := pb.Announce(Attributes{ASPath: []uint32{64501, 4_200_000_000}, NextHop: netip.MustParseAddr("192.0.2.1")}, prefix); err != nil {
		t.Fatal(err)
	}
	if got, err := pa.WaitRoute(testContext(t), prefix); err != nil || !slices.Equal(got.ASPath, []uint32{64501, asTrans}) {
		t.Errorf("%+v, error %v", got, err)
	}
}

// A thousand prefixes need several messages, none of which is too long.
func TestAnnouncement_long(t *testing.T) {
	for _, text := range []string{"10.0.0.0/32", "2001:db8::/128"} {
		p := netip.MustParsePrefix(text)
		var list []netip.Prefix
		for a := p.Addr(); len(list) < 2000; a = a.Next() {
			list = append(list, netip.PrefixFrom(a, p.Bits()))
		}
		next := netip.MustParseAddr("192.0.2.1")
		if p.Addr().Is6() {
			next = netip.MustParseAddr("fe80::1")
		}
		for _, messages := range [][][]byte{Announcement(Attributes{NextHop: next, Communities: []uint32{1}}, list...), Withdrawal(list...)} {
			n := 0
			for _, m := range messages {
				u, err := DecodeUpdate(m[headerLen:], true)
				if err != nil || len(m) > maxLen {
					t.Fatalf("%d octets, error %v", len(m), err)
				}
				n += len(u.Announced) + len(u.Withdrawn)
			}
			if n != len(list) || len(messages) < 3 || len(messages) > 10 {
				t.Errorf("%s: %d prefixes in %d messages", text, n, len(messages))
			}
		}
	}
}

func TestPeer_notification(t *testing.T) {
	ctx := testContext(t)
	pa, pb := couple(t, options(64500), options(64501), "::1", Socket{})
	if err := pa.Notify(6, 2, append([]byte{4}, "done"...)); err != nil {
		t.Fatal(err)
	}
	n, err := pb.WaitNotification(ctx)
	if err != nil || n.Code != 6 || n.Subcode != 2 || n.Reason() != "done" {
		t.Errorf("%v %q, error %v", n, n.Reason(), err)
	}
	pa.Close()
	if err := pb.WaitClosed(ctx); err != nil || !errors.Is(pb.Heard().Err, io.EOF) {
		t.Errorf("%v, %v", err, pb.Heard().Err)
	}
	if err := pb.WaitRoute1(ctx); !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "NOTIFICATION 6/2") {
		t.Errorf("%v", err)
	}
}

// WaitRoute1 waits for what never comes.
func (p *Peer) WaitRoute1(ctx context.Context) error {
	_, err := p.WaitRoute(ctx, netip.MustParsePrefix("203.0.113.0/24"))
	return err
}

func TestPeer_cut(t *testing.T) {
	pa, pb := couple(t, options(64500), options(64501), "127.0.0.1", Socket{})
	pa.Cut()
	if err := pb.WaitClosed(testContext(t)); err != nil || !errors.Is(pb.Heard().Err, syscall.ECONNRESET) {
		t.Errorf("%v, %v", err, pb.Heard().Err)
	}
}

// A peer that is paused stops the other side once the buffers are full.
func TestPeer_pause(t *testing.T) {
	ctx := testContext(t)
	pa, pb := couple(t, options(64500), options(64501), "127.0.0.1", Socket{})
	pb.Pause()
	if err := pa.Conn().SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	block := slices.Repeat(Keepalive(), 1<<20)
	if err := pa.Send(block, block, block); !errors.Is(err, syscall.ETIMEDOUT) && !isTimeout(err) {
		t.Fatalf("sent all of it to a peer that does not read: %v", err)
	}
	before := pb.Heard().Messages[TypeKeepalive]
	pb.Resume()
	if err := pb.Wait(ctx, "it reads", func(h *Heard) bool { return h.Messages[TypeKeepalive] > before+1000 }); err != nil {
		t.Error(err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// KEEPALIVEs come, in a third of the smaller hold time; a silent peer sends none.
func TestPeer_keepalives(t *testing.T) {
	ctx := testContext(t)
	a, b := options(64500), options(64501)
	a.HoldTime, b.Silent = 3*time.Second, true
	pa, pb := couple(t, a, b, "127.0.0.1", Socket{})
	if err := pb.Wait(ctx, "two more", func(h *Heard) bool { return h.Messages[TypeKeepalive] >= 3 }); err != nil {
		t.Error(err)
	}
	if n := pa.Heard().Messages[TypeKeepalive]; n != 1 {
		t.Errorf("the silent peer sent %d", n)
	}
}

func TestPeer_refresh(t *testing.T) {
	pa, pb := couple(t, options(64500), options(64501), "127.0.0.1", Socket{})
	if err := pa.Send(RouteRefresh(IPv6)); err != nil {
		t.Fatal(err)
	}
	err := pb.Wait(testContext(t), "it asks", func(h *Heard) bool { return slices.Equal(h.Refresh, []Family{IPv6}) })
	if err != nil {
		t.Error(err)
	}
}

// A message that is none ends the connection with the reason.
func TestPeer_garbage(t *testing.T) {
	for want, octets := range map[string][]byte{
		"marker": make([]byte, 19), "length 5": slices.Concat(slices.Repeat([]byte{255}, 16), []byte{0, 5, 4}),
		"type 9": Message(9, nil), "attribute 1": UpdateMessage(nil, Attribute(FlagTransitive, AttrOrigin, nil), nil),
	} {
		if want == "marker" {
			octets[17] = 19
		}
		pa, pb := couple(t, options(64500), options(64501), "127.0.0.1", Socket{})
		if err := pa.Send(octets); err != nil {
			t.Fatal(err)
		}
		if err := pb.WaitClosed(testContext(t)); err != nil || !strings.Contains(pb.Heard().Err.Error(), want) {
			t.Errorf("%s: %v, %v", want, err, pb.Heard().Err)
		}
	}
}

// Peers with the same password and TTL 255 find each other; others do not.
func TestSocket(t *testing.T) {
	for _, at := range []string{"127.0.0.1", "::1"} {
		s := Socket{Password: "secret", Peer: netip.MustParseAddr(at), TTL: 255, MinTTL: 255}
		couple(t, options(64500), options(64501), at, s)
		ctx := testContext(t)
		l := listen(ctx, t, at, s)
		for _, wrong := range []Socket{{Password: "secrets", TTL: 255}, {Password: "secret", TTL: 254}, {TTL: 255}} {
			short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			conn, err := wrong.Dial(netip.Addr{}, netip.MustParseAddrPort(l.Addr().String()))(short)
			cancel()
			if err == nil {
				t.Errorf("%s: connected with %+v", at, wrong)
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestConnect_gaveUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	l := listen(ctx, t, "127.0.0.1", Socket{})
	if _, err := Accept(ctx, l, options(64500)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Accept: %v", err)
	}
	// It accepts and says nothing.
	_, err := Connect(ctx, Socket{}.Dial(netip.Addr{}, netip.MustParseAddrPort(l.Addr().String())), options(64500))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Connect: %v", err)
	}
}
