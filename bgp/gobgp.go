package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/config/oc"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// Times of the library.
const (
	// connectRetry is between attempts to connect, in seconds, less a quarter at most.
	// The first one comes after two seconds, less a quarter at most: the library has
	// a constant for that.
	connectRetry = 5
	// idleHold is how long a session stays idle after this side reset it, in seconds.
	// The library has a constant for all other reasons, which is the same.
	idleHold = 5
	// allowOwnAS is how often our own AS may be in an AS path. The library would
	// swallow such a path and leave the one it replaces; we refuse it ourselves.
	allowOwnAS = 255
)

// library is one life of the library's speaker.
type library struct {
	server *server.BgpServer
	// stopWatching ends the goroutines that hear its events.
	stopWatching context.CancelFunc
	// listening says that connections are accepted.
	listening bool
	// fails says of each call whether it fails; nil but in tests.
	fails func(call string) error
}

// startLock keeps two speakers of one process from starting at once: the library
// has options in package variables.
var startLock sync.Mutex

// wire returns f as the library names it.
func (f Family) wire() bgp.Family {
	switch f {
	case IPv4:
		return bgp.RF_IPv4_UC
	case IPv6:
		return bgp.RF_IPv6_UC
	case FamilyUnknown:
		return 0
	default:
		panic(fmt.Sprintf("bgp: unhandled family %d", uint8(f)))
	}
}

// family is the reverse of Family.wire; FamilyUnknown for what is not ours.
func family(f bgp.Family) Family {
	for _, ours := range Families {
		if ours.wire() == f {
			return ours
		}
	}
	return FamilyUnknown
}

// portTaken is the error for a port that cannot be listened on.
type portTaken struct {
	port uint16
	err  error
}

func (e *portTaken) Error() string {
	words := fmt.Sprintf("listen on port %d: %v", e.port, e.err)
	if errors.Is(e.err, syscall.EADDRINUSE) {
		words += fmt.Sprintf("; another BGP daemon may have it (ask: ss -ltnp sport = :%d)", e.port)
	}
	if errors.Is(e.err, syscall.EADDRNOTAVAIL) {
		words += "; the address is not on this host yet"
	}
	return words
}

func (e *portTaken) Unwrap() error { return e.err }

// startLibrary starts a speaker that has no peers yet, and policies by which nothing
// of a peer is accepted and nothing is told. With listen false it accepts no
// connections.
func startLibrary(c *Config, log *slog.Logger, events server.WatchEventMessageCallbacks, states func(*apiutil.WatchEventMessage_PeerEvent, time.Time), listen bool) (*library, error) {
	startLock.Lock()
	defer startLock.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	l := &library{server: server.NewBgpServer(server.LoggerOption(log, nil)), stopWatching: cancel}
	go l.server.Serve()
	global := &api.Global{
		Asn: c.AS, RouterId: c.RouterID.String(), ListenPort: -1,
		// These are places in a list of the library's, not families as on the wire.
		Families: []uint32{uint32(oc.AfiSafiTypeToIntMap[oc.AFI_SAFI_TYPE_IPV4_UNICAST]), uint32(oc.AfiSafiTypeToIntMap[oc.AFI_SAFI_TYPE_IPV6_UNICAST])},
	}
	if listen && c.Port != 0 {
		l.listening = true
		global.ListenPort = int32(c.Port)
		for _, a := range c.Listen {
			global.ListenAddresses = append(global.ListenAddresses, a.String())
		}
	}
	if err := l.server.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		l.stop()
		return nil, &portTaken{c.Port, err}
	}
	err := l.secure(ctx)
	if err == nil && l.listening {
		err = raiseHopLimit(c.Port)
	}
	if err == nil {
		// First the states of sessions, then everything in one stream, in order.
		err = l.server.WatchEvent(ctx, server.WatchEventMessageCallbacks{OnPeerUpdate: states}, server.WatchPeer())
	}
	if err == nil {
		err = l.server.WatchEvent(ctx, events, server.WatchPeer(), server.WatchUpdate(false, "", ""), server.WatchEor(false))
	}
	if err != nil {
		l.stop()
		return nil, fmt.Errorf("start BGP: %w", err)
	}
	return l, nil
}

// secure makes the policies that hold before there is any peer.
func (l *library) secure(ctx context.Context) error {
	if err := l.server.SetPolicies(ctx, exports{}.request()); err != nil {
		return fmt.Errorf("set policies: %w", err)
	}
	for name, direction := range map[string]api.PolicyDirection{
		importPolicy: api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		exportPolicy: api.PolicyDirection_POLICY_DIRECTION_EXPORT,
	} {
		if err := l.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: globalTable, Direction: direction, Policies: []*api.Policy{{Name: name}},
			DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}}); err != nil {
			return fmt.Errorf("set %s policy: %w", name, err)
		}
	}
	return nil
}

// stop ends all sessions, those with graceful restart without a word.
func (l *library) stop() {
	l.stopWatching()
	// An error says that it is not running, which is what is wanted. Stop ends what
	// StopBgp leaves.
	_ = l.server.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true})
	l.server.Stop()
}

// policies replaces what peers are told, at once. Peers are told of it by softOut.
func (l *library) policies(e exports) error {
	if err := l.call("set policies", func() error { return l.server.SetPolicies(context.Background(), e.request()) }); err != nil {
		return fmt.Errorf("set policies: %w", err)
	}
	return nil
}

// call makes a call of the library.
func (l *library) call(name string, f func() error) error {
	if l.fails != nil {
		if err := l.fails(name); err != nil {
			return err
		}
	}
	return f()
}

// own puts prefixes of ours into the local table. They are never removed from
// there: what is told of them is a matter of policies, and a removal would be told
// to peers that never heard of them.
func (l *library) own(prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return nil
	}
	paths := make([]*apiutil.Path, 0, len(prefixes))
	for _, p := range prefixes {
		path, err := ownPath(p)
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if err := l.call("add path", func() error {
		_, err := l.server.AddPath(apiutil.AddPathRequest{Paths: paths})
		return err
	}); err != nil {
		return fmt.Errorf("add our prefixes: %w", err)
	}
	return nil
}

// softOut tells a peer everything once more, and withdraws what it was told and is
// not to be any more.
func (l *library) softOut(address netip.Addr) error {
	err := l.call("soft reset", func() error {
		return l.server.ResetPeer(context.Background(), &api.ResetPeerRequest{
			Address: address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
		})
	})
	if err != nil {
		return fmt.Errorf("tell peer %v: %w", address, err)
	}
	return nil
}

// apiPeer is a peer as the library wants it. limit is the number of prefixes with
// which the library ends the session, 0 for none.
func apiPeer(p *Peer, restarting bool, deferral time.Duration, limit uint32) *api.Peer {
	a := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: p.Address.String(), PeerAsn: p.AS, LocalAsn: p.LocalAS,
			AuthPassword: string(p.Password), AllowOwnAsn: allowOwnAS, Type: api.PeerType_PEER_TYPE_EXTERNAL,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: seconds(p.HoldTime), ConnectRetry: connectRetry, IdleHoldTimeAfterReset: idleHold,
		}},
		Transport: &api.Transport{
			RemotePort: uint32(p.Port), PassiveMode: p.Passive, BindInterface: p.Interface,
		},
		TtlSecurity:  &api.TtlSecurity{Enabled: p.TTLSecurity, TtlMin: 255},
		EbgpMultihop: &api.EbgpMultihop{Enabled: p.Multihop > 1, MultihopTtl: uint32(p.Multihop)},
		GracefulRestart: &api.GracefulRestart{
			Enabled: p.GracefulRestart.Enabled, NotificationEnabled: p.GracefulRestart.Enabled,
			RestartTime:     uint32(seconds(p.GracefulRestart.RestartTime)), //nolint:gosec // 1..4095.
			DeferralTime:    uint32(seconds(max(deferral, time.Second))),    //nolint:gosec // At most an hour.
			LocalRestarting: restarting && p.GracefulRestart.Enabled,
		},
	}
	if p.Local.IsValid() {
		a.Transport.LocalAddress = p.Local.WithZone(p.Address.Zone()).String()
	}
	for _, f := range p.Families {
		w := f.wire()
		name := &api.Family{Afi: api.Family_Afi(w.Afi()), Safi: api.Family_Safi(w.Safi())}
		a.AfiSafis = append(a.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: name, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: p.GracefulRestart.Enabled}},
			PrefixLimits:      &api.PrefixLimit{Family: name, MaxPrefixes: limit},
		})
	}
	return a
}

func seconds(d time.Duration) uint64 { return uint64(d / time.Second) } //nolint:gosec // Never negative.

func (l *library) add(a *addition) error {
	if err := l.call("add peer", func() error {
		return l.server.AddPeer(context.Background(), &api.AddPeerRequest{Peer: apiPeer(&a.peer, a.restarting, a.deferral, 0)})
	}); err != nil {
		return fmt.Errorf("add peer %v: %w", a.peer.Address, err)
	}
	return nil
}

// remove ends the session of p, if there is one, with Cease, Peer De-configured. Where
// it fails, p may be there all the same, or be gone: ask has.
func (l *library) remove(p *Peer) error {
	ctx := context.Background()
	var bared error
	if p.Password != "" && l.listening {
		// DeletePeer would leave the key on the listening socket, which then refused
		// the peer without it. An update without a key takes it off, and says the same
		// to the peer because another AS is a peer that is gone.
		bare := *p
		bare.Password, bare.AS = "", otherAS(p)
		bared = l.update(&bare, false, 0, 0)
	}
	err := errors.Join(bared, l.call("delete peer", func() error {
		return l.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: p.Address.String()})
	}))
	if err != nil {
		return fmt.Errorf("remove peer %v: %w", p.Address, err)
	}
	return nil
}

// update changes a peer.
func (l *library) update(p *Peer, restarting bool, deferral time.Duration, limit uint32) error {
	return l.call("update peer", func() error {
		_, err := l.server.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: apiPeer(p, restarting, deferral, limit)})
		return err
	})
}

// has says whether the library has a peer with this address.
func (l *library) has(address netip.Addr) bool {
	found := false
	// An error says that the library has ended.
	_ = l.server.ListPeer(context.Background(), &api.ListPeerRequest{Address: address.String()}, func(*api.Peer) { found = true })
	return found
}

// otherAS is a number that p cannot have.
func otherAS(p *Peer) uint32 {
	if p.AS == 64496 || p.LocalAS == 64496 {
		return 64497 // RFC 5398: for documents, and nobody's.
	}
	return 64496
}

// shut ends the session of a peer with Cease, Administrative Shutdown, and words.
func (l *library) shut(address netip.Addr, words string) error {
	if err := l.server.DisablePeer(context.Background(), &api.DisablePeerRequest{Address: address.String(), Communication: words}); err != nil {
		return fmt.Errorf("shut peer %v: %w", address, err)
	}
	return nil
}

// overflow ends the session of a peer with Cease, Maximum Number of Prefixes
// Reached: the library says that only of its own accord, so it is given a limit
// that is passed.
func (l *library) overflow(a *addition) error {
	if err := l.update(&a.peer, a.restarting, a.deferral, 1); err != nil {
		return fmt.Errorf("end session with peer %v: %w", a.peer.Address, err)
	}
	return nil
}

// reset ends the session of a peer with Cease, Administrative Reset, and words.
func (l *library) reset(address netip.Addr, words string) error {
	if err := l.call("reset peer", func() error {
		return l.server.ResetPeer(context.Background(), &api.ResetPeerRequest{Address: address.String(), Communication: words})
	}); err != nil {
		return fmt.Errorf("reset peer %v: %w", address, err)
	}
	return nil
}

// alive returns once the library's management has answered. It looks at nothing.
func (l *library) alive() error {
	if _, err := l.server.GetBgp(context.Background(), &api.GetBgpRequest{}); err != nil {
		return fmt.Errorf("ask BGP: %w", err)
	}
	return nil
}

// standing returns the hold time that was negotiated, and whether the library has come
// so far that it tells the peer what changes: its event of a session comes a moment
// before that. It walks the table of the peer, so it is for a session that has just
// begun.
func (l *library) standing(address netip.Addr) (hold time.Duration, ready bool) {
	// An error says that the library has ended.
	_ = l.server.ListPeer(context.Background(), &api.ListPeerRequest{Address: address.String()}, func(p *api.Peer) {
		hold = time.Duration(p.GetTimers().GetState().GetNegotiatedHoldTime()) * time.Second //nolint:gosec // 16 bits.
		ready = p.GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED
	})
	return hold, ready
}
