package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// patience is how long tests wait for what must come.
const patience = 60 * time.Second

// block gives each test addresses of its own in 127.0.0.0/8.
var block atomic.Uint32

// nextHost returns an address that no other test has.
func nextHost() netip.Addr {
	n := block.Add(1)
	return netip.AddrFrom4([4]byte{127, 99, byte(n >> 8), byte(n)})
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// running is a Speaker that runs until the test ends.
type running struct {
	*Speaker
	t       *testing.T
	changed chan struct{}
	stop    func() error
}

func start(t *testing.T) *running {
	t.Helper()
	r := launch()
	r.t = t
	t.Cleanup(r.end)
	return r
}

// end is for when a test ends.
func (r *running) end() {
	if err := r.stop(); err != nil {
		r.t.Error(err)
	}
}

// launch starts a Speaker and waits until it runs: before, Set would not wait for what
// it sets.
func launch() *running {
	r := &running{changed: make(chan struct{}, 1)}
	r.Speaker = NewSpeaker(Options{Log: slog.New(slog.DiscardHandler), Changed: func() {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}})
	r.Speaker.steady = 0
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for errors.Is(r.do(ctx, func(*manager) {}), errNotRunning) {
		runtime.Gosched()
	}
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("Run did not end")
		}
	})
	return r
}

// pool has Speakers for tests that run at the same time. GoBGP has options in
// variables of its package, which it writes when it starts and reads whenever it does
// anything. So all start before the first one has a session. Tests that start it
// again must not run beside others. There are some of another AS.
var pool = sync.OnceValue(func() map[uint32]chan *site {
	all := map[uint32]chan *site{}
	for as, n := range map[uint32]int{ourAS: 80 + collisions(), ourAS + 1: 4 + collisions()} {
		all[as] = make(chan *site, n)
		for range n {
			s := makeSite(launch(), as)
			c := s.config
			c.Peers = []Peer{{Name: "none", Slot: NoSlot, Address: nextHost(), AS: 64999, Families: []Family{IPv4}, Shutdown: "none"}}
			if err := s.Set(c); err != nil {
				panic(err)
			}
			all[as] <- s
		}
	}
	return all
})

// pooled is newSite for a test that runs beside others.
func pooled(t *testing.T) *site {
	t.Helper()
	return pooledAS(t, ourAS)
}

func pooledAS(t *testing.T, as uint32) *site {
	t.Helper()
	select {
	case s := <-pool()[as]:
		s.t = t
		t.Cleanup(s.end)
		return s
	default:
		// Only if tests are repeated; the race detector may see what the pool avoids.
		return makeSite(start(t), as)
	}
}

// until waits until the status pleases ok.
func (r *running) until(what string, ok func(s Status) bool) Status {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		s := r.Status()
		if ok(s) {
			return s
		}
		select {
		case <-r.changed:
		case <-deadline.C:
			r.t.Fatalf("waited in vain until %s: %+v", what, r.Status())
		}
	}
}

// peer is the status of one peer.
func peerOf(s Status, name string) PeerStatus {
	for _, p := range s.Peers {
		if p.Name == name {
			return p
		}
	}
	return PeerStatus{}
}

func familyOf(p PeerStatus, f Family) FamilyStatus {
	for _, x := range p.Families {
		if x.Family == f {
			return x
		}
	}
	return FamilyStatus{}
}

func (r *running) untilPeer(name, what string, ok func(p PeerStatus) bool) PeerStatus {
	r.t.Helper()
	return peerOf(r.until(name+" "+what, func(s Status) bool { return ok(peerOf(s, name)) }), name)
}

func (r *running) established(name string) PeerStatus {
	r.t.Helper()
	return r.untilPeer(name, "is established", func(p PeerStatus) bool { return p.State == Established })
}

func (r *running) set(c Config) {
	r.t.Helper()
	if err := r.Set(c); err != nil {
		r.t.Fatal(err)
	}
}

// freePort is one that nobody has at the moment.
func freePort(a netip.Addr) uint16 {
	l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		panic(err)
	}
	defer func() { _ = l.Close() }()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

const ourAS = 64500

// site is a Speaker and far ends that connect to it.
type site struct {
	*running
	config Config
	at     netip.AddrPort
}

// newSite starts a Speaker that listens once it has peers.
func newSite(t *testing.T) *site {
	t.Helper()
	return makeSite(start(t), ourAS)
}

func makeSite(r *running, as uint32) *site {
	a := nextHost()
	s := &site{running: r, at: netip.AddrPortFrom(a, freePort(a))}
	id := a.As4()
	s.config = Config{
		AS: as, RouterID: netip.AddrFrom4([4]byte{10, 0, id[2], id[3]}), Listen: []netip.Addr{a}, Port: s.at.Port(),
		Own: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	}
	return s
}

// peer adds a peer that waits for the far end; more changes it.
func (s *site) peer(as uint32, slot Slot, more func(p *Peer)) netip.Addr {
	s.t.Helper()
	p := Peer{
		Name: fmt.Sprintf("as%d", as), Slot: slot, Address: nextHost(), Local: s.at.Addr(), AS: as, Families: []Family{IPv4},
		Import: Import{Mode: ImportFull, PrivateAS: true}, Passive: true,
	}
	if more != nil {
		more(&p)
	}
	s.config.Peers = append(slices.Clip(s.config.Peers), p)
	return p.Address
}

func (s *site) apply() {
	s.t.Helper()
	s.set(s.config)
}

// far connects a far end, and waits for the session at both ends.
func (s *site) far(address netip.Addr, o bgptest.Options) *bgptest.Peer {
	s.t.Helper()
	p := s.dial(address, o)
	s.established(s.name(address))
	return p
}

func (s *site) name(address netip.Addr) string {
	for _, p := range s.config.Peers {
		if p.Address == address {
			return p.Name
		}
	}
	return ""
}

func (s *site) dial(address netip.Addr, o bgptest.Options) *bgptest.Peer {
	s.t.Helper()
	if !o.ID.IsValid() {
		o.ID = netip.MustParseAddr("10.9.9.9")
	}
	for _, p := range s.config.Peers {
		if p.Address == address && o.AS == 0 {
			o.AS = p.AS
		}
	}
	p, err := bgptest.Connect(testContext(s.t), bgptest.Socket{}.Dial(address, s.at), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Close)
	return p
}

// routes reads what Next tells, until it pleases ok.
type routes struct {
	t      *testing.T
	s      *Speaker
	known  map[netip.Prefix]Choice
	synced bool
}

func (s *site) routes() *routes {
	return &routes{t: s.t, s: s.Speaker, known: map[netip.Prefix]Choice{}}
}

func (r *routes) until(what string, ok func(r *routes) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !ok(r) {
		b, err := r.s.Next(ctx, make([]Route, 0, 64))
		if err != nil {
			r.t.Fatalf("waited in vain until %s: %v; known are %v", what, err, r.known)
		}
		for _, x := range b.Routes {
			if r.known[x.Prefix] = x.Choice; x.Choice == 0 {
				delete(r.known, x.Prefix)
			}
		}
		r.synced = r.synced || b.Synced
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// hop is the attributes of a path from a far end.
func hop(address netip.Addr, as ...uint32) bgptest.Attributes {
	return bgptest.Attributes{NextHop: address, ASPath: as}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSpeaker_learns(t *testing.T) {
	t.Parallel()
	s := pooled(t)
	a := s.peer(64501, 0, nil)
	b := s.peer(64502, 1, nil)
	s.apply()
	fa, fb := s.far(a, bgptest.Options{}), s.far(b, bgptest.Options{})
	must(t, fa.Announce(hop(a, 64501), prefix("198.41.0.0/24"), prefix("0.0.0.0/0")))
	must(t, fb.Announce(hop(b, 64502, 64510), prefix("198.41.0.0/24")))
	r := s.routes()
	r.until("both are ranked", func(r *routes) bool {
		return r.known[prefix("198.41.0.0/24")] == Choice(0).With(0, First).With(1, Second)
	})
	p := s.untilPeer("as64501", "has a default", func(p PeerStatus) bool { return familyOf(p, IPv4).Default.Accepted })
	if !strings.HasPrefix(p.Name, "as") {
		t.Error(p)
	}
	must(t, fa.Withdraw(prefix("198.41.0.0/24")))
	r.until("one is left", func(r *routes) bool { return r.known[prefix("198.41.0.0/24")] == Choice(0).With(1, First) })
}
