package bgp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

func TestB_4271_12_HoldTimes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		ours, theirs, want time.Duration
		refused            bool
	}{
		{90 * time.Second, 30 * time.Second, 30 * time.Second, false},
		{9 * time.Second, 30 * time.Second, 9 * time.Second, false},
		{90 * time.Second, 3 * time.Second, 3 * time.Second, false},
		{90 * time.Second, time.Second, 0, true},
		{90 * time.Second, 2 * time.Second, 0, true},
	} {
		s := pooled(t)
		a := s.peer(64501, 0, func(p *Peer) { p.HoldTime = x.ours })
		s.apply()
		if !x.refused {
			s.far(a, bgptest.Options{HoldTime: x.theirs})
			s.untilPeer("as64501", "has its hold time", func(p PeerStatus) bool { return p.HoldTime == x.want })
			continue
		}
		conn, err := bgptest.Socket{}.Dial(a, s.at)(testContext(t))
		must(t, err)
		f := bgptest.Start(conn, bgptest.Options{AS: 64501, ID: netip.MustParseAddr("10.9.9.9"), HoldTime: x.theirs})
		t.Cleanup(f.Close)
		n, err := f.WaitNotification(testContext(t))
		if err != nil || n.Code != 2 || n.Subcode != 6 {
			t.Errorf("%v: %+v %v", x.theirs, n, err)
		}
		p := s.untilPeer("as64501", "says why", func(p PeerStatus) bool { return p.Trouble != "" })
		if p.Trouble != "this side refuses the session: OPEN Message Error, Unacceptable Hold Time" {
			t.Errorf("%q", p.Trouble)
		}
	}
	// A hold time of 0 cannot be had (B-9687-05).
	p := Peer{Name: "a", Address: netip.MustParseAddr("192.0.2.1"), AS: 64501, Families: []Family{IPv4}, HoldTime: 2 * time.Second}
	c := Config{AS: ourAS, RouterID: netip.MustParseAddr("10.0.0.1"), Peers: []Peer{p}}
	if _, refused, _, err := normalise(c); err == nil || refused["a"] == "" {
		t.Error("a hold time of 2s is accepted")
	}
}

func TestB_4271_17_B_POL_10_TooManyPrefixes(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, func(p *Peer) { restartable(p); p.Import.Mode = ImportDefault; p.MaxPrefixes = 10 })
	b := s.peer(64502, 1, nil)
	s.apply()
	fa, fb := s.far(a, restarter(time.Minute, true, wireFamilies...)), s.far(b, bgptest.Options{})
	must(t, fb.Announce(hop(b, 64502), prefix("198.41.9.0/24")))
	var many []netip.Prefix
	for i := range 11 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 41, byte(i), 0}), 24))
	}
	must(t, fa.Announce(hop(a, 64501), many[:10]...))
	p := s.untilPeer("as64501", "has sent ten", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == 10 })
	if p.State != Established {
		t.Fatalf("%+v", p)
	}
	// The same ones once more are not more.
	must(t, fa.Announce(hop(a, 64501), many[:10]...))
	must(t, fa.Announce(hop(a, 64501), many[10:]...))
	n, err := fa.WaitNotification(testContext(t))
	if err != nil || n.Code != 6 || n.Subcode != 1 {
		t.Errorf("%+v %v", n, err)
	}
	p = s.untilPeer("as64501", "is ended", func(p PeerStatus) bool { return p.State != Established })
	if familyOf(p, IPv4).Retained || !strings.Contains(p.Trouble, "too many prefixes") || !strings.Contains(p.Trouble, "tried again at") {
		t.Errorf("%+v", p)
	}
	// It is not begun again meanwhile: connections are closed.
	conn, err := bgptest.Socket{}.Dial(a, s.at)(testContext(t))
	if err == nil {
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d octets from a speaker that is not to talk", n)
		}
		must(t, conn.Close())
	}
	if p := peerOf(s.Status(), "as64502"); p.Flaps != 0 || familyOf(p, IPv4).Accepted != 1 {
		t.Errorf("%+v", p)
	}
	// An operator who raises the limit does not have to wait.
	s.config.Peers[0].MaxPrefixes = 100
	s.apply()
	fa = s.far(a, restarter(time.Minute, true, wireFamilies...))
	must(t, fa.Announce(hop(a, 64501), many...))
	s.untilPeer("as64501", "has sent eleven", func(p PeerStatus) bool { return familyOf(p, IPv4).Received == 11 })
}

func TestSpeaker_shutdownAndReset(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	b := s.peer(64502, 1, nil)
	s.apply()
	fa, fb := s.far(a, bgptest.Options{}), s.far(b, bgptest.Options{})
	s.config.Peers[0].Shutdown = "drained by the operator"
	s.apply()
	n, err := fa.WaitNotification(testContext(t))
	if err != nil || n.Code != 6 || n.Subcode != 2 || string(n.Data[1:]) != "drained by the operator" {
		t.Errorf("%+v %v", n, err)
	}
	p := peerOf(s.Status(), "as64501")
	if p.State != Shut || p.Trouble != "drained by the operator" || !strings.HasPrefix(p.LastError, "this side ended the session: Cease, Administrative Shutdown") {
		t.Errorf("%+v", p)
	}
	fa.Close()
	s.config.Peers[0].Shutdown = ""
	s.apply()
	fa = s.far(a, bgptest.Options{})
	// B-9384-02: the reason can be seen.
	must(t, s.Reset("as64501", "BFD Down"))
	n, err = fa.WaitNotification(testContext(t))
	if err != nil || n.Code != 6 || n.Subcode != 4 || string(n.Data[1:]) != "BFD Down" {
		t.Errorf("%+v %v", n, err)
	}
	fa.Close()
	s.far(a, bgptest.Options{})
	if err := s.Reset("nobody", "x"); err == nil {
		t.Error("a session that does not exist was reset")
	}
	s.config.Peers = s.config.Peers[:1]
	s.apply()
	n, err = fb.WaitNotification(testContext(t))
	if err != nil || n.Code != 6 || n.Subcode != 3 {
		t.Errorf("%+v %v", n, err)
	}
	if st := s.Status(); len(st.Peers) != 1 || peerOf(st, "as64501").State != Established {
		t.Errorf("%+v", st)
	}
}

func TestB_9384_02_TheReasonOfAResetIsSeen(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	s.apply()
	s.far(a, bgptest.Options{})
	must(t, s.Reset("as64501", "BFD Down"))
	p := s.untilPeer("as64501", "is lost", func(p PeerStatus) bool { return p.Flaps == 1 })
	if p.LastError != `this side ended the session: Cease, Administrative Reset ("BFD Down")` {
		t.Errorf("%q", p.LastError)
	}
}

func TestB_9384_04_ReceivedBFDDownHasAName(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	s.apply()
	f := s.far(a, bgptest.Options{})
	must(t, f.Notify(6, 10, nil))
	p := s.untilPeer("as64501", "is lost", func(p PeerStatus) bool { return p.Flaps == 1 })
	if p.LastError != "the peer ended the session: Cease, BFD Down" || p.LastErrorAt.IsZero() {
		t.Errorf("%+v", p)
	}
}

// TestB_9687_01_B_9687_04_APeerThatTakesNothing is not parallel: it shortens a time of
// the package.
func TestB_9687_01_B_9687_04_APeerThatTakesNothing(t *testing.T) {
	was := sendHoldTime
	sendHoldTime = func(time.Duration) time.Duration { return 2 * time.Second }
	defer func() { sendHoldTime = was }()
	s := newSite(t)
	own := prefix("203.0.113.0/24")
	a := s.peer(64501, 0, func(p *Peer) {
		p.Announce = []Announcement{{Prefix: own, Communities: make([]uint32, 500)}}
	})
	s.apply()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)), Control: bgptest.Socket{}.Control}
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "tcp", s.at.String())
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(2048) //nolint:errcheck // It is one.
		}
		return conn, err
	}
	f, err := bgptest.Connect(testContext(t), dial, bgptest.Options{AS: 64501, ID: netip.MustParseAddr("10.9.9.9")})
	must(t, err)
	t.Cleanup(f.Close)
	s.established("as64501")
	f.Pause()
	began := time.Now()
	// Something has to be sent for it not to be taken.
	for i := 0; peerOf(s.Status(), "as64501").Flaps == 0; i++ {
		if time.Since(began) > patience {
			t.Fatal("the session goes on")
		}
		c := slices.Clone(s.config.Peers)
		c[0].Announce = []Announcement{{Prefix: own, MED: uint32(i), HasMED: true, Communities: communitiesUpTo(900)}}
		s.config.Peers = c
		s.apply()
	}
	t.Logf("ended after %v: %s", time.Since(began).Round(100*time.Millisecond), peerOf(s.Status(), "as64501").LastError)
	s.untilPeer("as64501", "says why", func(p PeerStatus) bool {
		// Which of the two it is depends on whether something is being written just then.
		return p.LastError == endWriteFailed.words(nil, nil) || p.LastError == endReadFailed.words(nil, nil)
	})
}

func communitiesUpTo(n int) []uint32 {
	c := make([]uint32, n)
	for i := range c {
		c[i] = uint32(i + 1)
	}
	return c
}

func TestB_SEC_05_B_SEC_06_B_SEC_11_Passwords(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery staple"
	var log strings.Builder
	s := pooled(t)
	lines := make(chan string, 10000)
	s.log = slog.New(slog.NewTextHandler(lineWriter(lines), &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := s.peer(64501, 0, func(p *Peer) { p.Password = secret })
	s.apply()
	wrong, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	o := bgptest.Options{AS: 64501, ID: netip.MustParseAddr("10.9.9.9")}
	if f, err := bgptest.Connect(wrong, bgptest.Socket{Password: "something else"}.Dial(a, s.at), o); err == nil {
		f.Close()
		t.Error("a session with the wrong password")
	}
	f, err := bgptest.Connect(testContext(t), bgptest.Socket{Password: secret}.Dial(a, s.at), o)
	must(t, err)
	s.established("as64501")
	status, err := json.Marshal(s.Status())
	must(t, err)
	f.Close()
	s.untilPeer("as64501", "is lost", func(p PeerStatus) bool { return p.State != Established })
	// The password is taken away, and the key with it.
	s.config.Peers[0].Password = ""
	s.apply()
	f = s.far(a, o)
	f.Close()
	// 80 octets are as many as there may be.
	s.config.Peers[0].Password = Secret(strings.Repeat("x", 80))
	s.apply()
	f, err = bgptest.Connect(testContext(t), bgptest.Socket{Password: strings.Repeat("x", 80)}.Dial(a, s.at), o)
	must(t, err)
	f.Close()
	s.config.Peers[0].Password = Secret(strings.Repeat("x", 81))
	if err := s.Set(s.config); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("81 octets: %v", err)
	}
	must(t, s.stop())
	for len(lines) > 0 {
		log.WriteString(<-lines)
	}
	for name, text := range map[string]string{"the log": log.String(), "the status": string(status), "the configuration": fmt.Sprintf("%+v", s.config)} {
		if strings.Contains(text, secret) || strings.Contains(text, "xxx") {
			t.Errorf("%s has the password", name)
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
}

type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	select {
	case w <- string(b):
	default:
	}
	return len(b), nil
}

// TestSpeaker_portIsTaken is not parallel: it starts the library again.
func TestSpeaker_portIsTaken(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", s.at.String())
	must(t, err)
	a := s.peer(64501, 0, func(p *Peer) { p.Passive = false })
	listener, err := bgptest.Socket{}.Listen(testContext(t), netip.AddrPortFrom(a, 0))
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s.config.Peers[0].Port = netip.MustParseAddrPort(listener.Addr().String()).Port()
	err = s.Set(s.config)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("listen on port %d", s.at.Port())) || !strings.Contains(err.Error(), "another BGP daemon") {
		t.Errorf("%v", err)
	}
	if st := s.Status(); !strings.Contains(st.Error, "address already in use") {
		t.Errorf("%q", st.Error)
	}
	// Sessions that are begun from here do not need it.
	f, err := bgptest.Accept(testContext(t), listener, bgptest.Options{AS: 64501, ID: netip.MustParseAddr("10.9.9.9")})
	must(t, err)
	s.established("as64501")
	must(t, l.Close())
	f.Close()
	must(t, listener.Close())
	s.until("the port is had", func(st Status) bool { return st.Error == "" })
	s.far(a, bgptest.Options{})
}

func TestSpeaker_troubleInWords(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	active := func(p *Peer) { p.Passive = false }
	a, b := s.peer(64501, 0, active), s.peer(64502, 1, active)
	s.config.Peers[0].Port = freePort(a)
	// The other one is there, and is somebody else.
	listener, err := bgptest.Socket{}.Listen(testContext(t), netip.AddrPortFrom(b, 0))
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s.config.Peers[1].Port = netip.MustParseAddrPort(listener.Addr().String()).Port()
	s.apply()
	conn, err := listener.Accept()
	must(t, err)
	f := bgptest.Start(conn, bgptest.Options{AS: 64999, ID: netip.MustParseAddr("10.9.9.9")})
	t.Cleanup(f.Close)
	s.untilPeer("as64502", "names the AS", func(p PeerStatus) bool {
		return p.Trouble == "the peer does not have AS 64502 (OPEN Message Error, Bad Peer AS)"
	})
	p := s.untilPeer("as64501", "says why", func(p PeerStatus) bool { return p.Trouble != "" })
	if want := fmt.Sprintf("cannot connect to port %d: connection refused", s.config.Peers[0].Port); p.Trouble != want {
		t.Errorf("%q", p.Trouble)
	}
}
