package bgp

import (
	"net/netip"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// peerState is what an event of the library says of a session.
type peerState struct {
	address  netip.Addr
	state    State
	at       time.Time
	ending   ending
	routerID netip.Addr
	// The rest is what the peer said of itself, while Established.
	families [len(Families) + 1]bool
	// restart: there is a capability for graceful restart; restartTime is in it, and
	// the families that it names, and those whose forwarding state is kept (F bit).
	// notify is the N bit (RFC 8538 section 2).
	restart, notify bool
	// restarting is the R bit: the peer has just started, and waits itself.
	restarting      bool
	restartTime     time.Duration
	restarts, keeps [len(Families) + 1]bool
	nextHop6        bool
	local, remote   uint16
}

// readPeerState translates an event; false if it is none of a session.
func readPeerState(e *apiutil.WatchEventMessage_PeerEvent, at time.Time) (peerState, bool) {
	s := &e.Peer.State
	if e.Type != apiutil.PEER_EVENT_STATE || !s.NeighborAddress.IsValid() {
		return peerState{}, false
	}
	p := peerState{
		address: s.NeighborAddress, state: stateOf(s.SessionState), at: at, routerID: s.RouterID,
		ending: endingOf(s.DisconnectReason), local: uint16(e.Peer.Transport.LocalPort), remote: uint16(e.Peer.Transport.RemotePort), //nolint:gosec // Ports.
	}
	multiprotocol := false
	for _, c := range s.RemoteCap {
		switch c := c.(type) {
		case *bgp.CapMultiProtocol:
			multiprotocol = true
			p.families[family(c.CapValue)] = true
		case *bgp.CapGracefulRestart:
			// With several the last one counts (RFC 4724 section 3).
			p.restart, p.notify, p.restartTime = true, c.Flags&0x04 != 0, time.Duration(c.Time)*time.Second
			p.restarting = c.Flags&0x08 != 0
			p.restarts, p.keeps = [len(Families) + 1]bool{}, [len(Families) + 1]bool{}
			for _, t := range c.Tuples {
				f := family(bgp.NewFamily(t.AFI, t.SAFI))
				p.restarts[f] = true
				p.keeps[f] = t.Flags&0x80 != 0
			}
		case *bgp.CapExtendedNexthop:
			for _, t := range c.Tuples {
				p.nextHop6 = p.nextHop6 || t.NLRIAFI == bgp.AFI_IP && t.NLRISAFI == bgp.SAFI_UNICAST && t.NexthopAFI == bgp.AFI_IP6
			}
		}
	}
	if !multiprotocol {
		// Without the capability a session is for IPv4 (RFC 4760 section 8).
		p.families[IPv4] = true
	}
	return p, true
}

func stateOf(s bgp.FSMState) State {
	switch s {
	case bgp.BGP_FSM_IDLE:
		return Idle
	case bgp.BGP_FSM_CONNECT:
		return Connect
	case bgp.BGP_FSM_ACTIVE:
		return Active
	case bgp.BGP_FSM_OPENSENT:
		return OpenSent
	case bgp.BGP_FSM_OPENCONFIRM:
		return OpenConfirm
	case bgp.BGP_FSM_ESTABLISHED:
		return Established
	default:
		return StateUnknown
	}
}

func endingOf(r api.PeerState_DisconnectReason) ending {
	switch r {
	case api.PeerState_DISCONNECT_REASON_ADMIN_DOWN:
		return endShut
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return endHoldTimer
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT:
		return endSent
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED:
		return endReceived
	case api.PeerState_DISCONNECT_REASON_READ_FAILED:
		return endReadFailed
	case api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		return endWriteFailed
	case api.PeerState_DISCONNECT_REASON_RESTART_TIMER_EXPIRED:
		return endRestartTimer
	case api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART:
		return endGraceful
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG, api.PeerState_DISCONNECT_REASON_BAD_PEER_AS:
		return endInvalid
	case api.PeerState_DISCONNECT_REASON_HARD_RESET:
		return endHardReset
	case api.PeerState_DISCONNECT_REASON_DECONFIGURED:
		return endDeconfigured
	case api.PeerState_DISCONNECT_REASON_UNSPECIFIED, api.PeerState_DISCONNECT_REASON_IDLE_TIMER_EXPIRED:
		return endUnknown
	default:
		return endUnknown
	}
}

// dialWords shortens what the library says of an attempt to connect.
func dialWords(err string) string {
	if _, after, ok := strings.Cut(err, ": connect: "); ok {
		return after
	}
	if i := strings.LastIndex(err, ": "); i >= 0 {
		return err[i+2:]
	}
	return err
}
