package engine

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/uplink"
)

// startLimit is how long a session that has to be up may take to come up before its
// ways count as down. Three packets make the handshake (RFC 5880 section 6.2), and one
// more may wait for a neighbour to be resolved; they are a second apart until then, or
// an interval that is longer (section 6.8.3).
func startLimit(interval time.Duration) time.Duration { return max(10*time.Second, 4*interval) }

// bfdRules is what the configuration makes of a session's state.
type bfdRules struct {
	// require: the way is not used unless the session is up.
	require bool
	// otherLiveness: something else that is configured tells whether the way works
	// (RFC 5882 section 3.2).
	otherLiveness bool
}

// phase is what a path has come to since BFD watches it.
type phase uint8

const (
	// phaseNew: its session was not up yet.
	phaseNew phase = iota
	phaseUp
	// phaseFailed: it was up and failed, and has not been up since.
	phaseFailed
	// phaseAdmin: it left Up because a side is administratively down.
	phaseAdmin
)

// heard is what is known of a session. Its phase follows from the events alone;
// the rest is words.
type heard struct {
	phase phase
	// cause says in words what made it fail, or who is administratively down.
	cause string
	// peer and mode are those of the session.
	peer netip.Addr
	mode bfd.Mode
	// detection is the detection time as last read; 0 is not known.
	detection time.Duration
	// trouble is what keeps the session from coming up, or why it is not open.
	trouble string
	// closed: it is not open. dead: because the speaker died, which is nobody's
	// fault.
	closed, dead bool
	// inherited: the phase is that of a session before.
	inherited bool
	// failures counts what take saw fail, here and in the sessions before.
	failures uint64
}

// take draws the phase from an event.
func (h *heard) take(e bfd.Event) {
	switch {
	case e.New == bfd.Up:
		h.phase, h.cause, h.inherited = phaseUp, "", false
	case e.Failure():
		h.phase, h.cause = phaseFailed, h.failure(e)
		h.failures++
	case e.New == bfd.AdminDown && h.phase != phaseFailed:
		h.phase, h.cause = phaseAdmin, "administratively down here"
	case e.Old == bfd.Up:
		h.phase, h.cause = phaseAdmin, adminDownWords(h.peer)
	}
}

// inherit takes over how the session before left Up. Only a session that is up proves
// that the path works again; another mode, another address of ours or another speaker
// do not.
func (h *heard) inherit(old heard) {
	h.failures = old.failures
	if h.peer.IsValid() && old.peer != h.peer {
		return // That is another path.
	}
	if old.phase == phaseFailed || old.phase == phaseAdmin {
		h.phase, h.cause, h.peer, h.inherited = old.phase, old.cause, old.peer, true
	}
}

// read takes over what a session says of itself beside its events. A neighbour that
// says after a failure that it is administratively down is heard, so that the
// failure is over; only when it says so it is no news for the session, which is down
// already.
func (h *heard) read(s bfd.Status) {
	h.detection = s.DetectionTime
	h.trouble = troubleOf(h.peer, s)
	if h.phase == phaseFailed && peerAdminDown(s) {
		h.phase, h.cause, h.inherited = phaseAdmin, adminDownWords(h.peer), false
	}
}

func adminDownWords(peer netip.Addr) string {
	return peer.String() + " says that it is administratively down"
}

// peerAdminDown reports whether the peer has said so: AdminDown is the zero value.
func peerAdminDown(s bfd.Status) bool { return s.Received > 0 && s.RemoteState == bfd.AdminDown }

// troubleOf says why a session is not up yet.
func troubleOf(peer netip.Addr, s bfd.Status) string {
	switch {
	case s.Problem != "":
		return s.Problem
	case s.Received == 0 && len(s.Dropped) > 0:
		return fmt.Sprintf("packets from %s are not taken: %s", peer, dropWords(s.Dropped))
	case s.Received == 0 && s.Config.Mode == bfd.Echo:
		return fmt.Sprintf("%s has not sent an echo back", peer)
	case s.Received == 0:
		return "nothing heard from " + peer.String()
	case peerAdminDown(s):
		return adminDownWords(peer)
	default:
		return fmt.Sprintf("%s says that it is %s", peer, s.RemoteState)
	}
}

// bfdEvidence is what a session means to its way (RFC 5882). It is pure. deadline is
// the end of the start limit.
func bfdEvidence(r bfdRules, h heard, now, deadline time.Time) (uplink.Opinion, string) {
	switch h.phase {
	case phaseUp:
		if h.detection == 0 {
			return uplink.Up, "up with " + h.peer.String()
		}
		return uplink.Up, fmt.Sprintf("up with %s, silence is noticed after %s", h.peer, h.detection)
	case phaseFailed:
		return uplink.Down, h.cause + h.aftermath()
	case phaseAdmin:
		o, words := r.adminDown()
		return o, h.cause + words + h.aftermath()
	case phaseNew:
		return r.neverUp(h, r.require && !now.Before(deadline))
	default:
		panic(fmt.Sprintf("engine: unhandled phase %d", uint8(h.phase)))
	}
}

// neverUp is no evidence against a way, unless the session is required and late: a
// neighbour without BFD is no failure (RFC 5882 sections 4.1 and 5).
func (r bfdRules) neverUp(h heard, late bool) (uplink.Opinion, string) {
	switch {
	case h.closed && (h.dead || !late):
		return uplink.Unknown, h.trouble
	case h.closed:
		return uplink.Down, "required, and there is no session: " + h.trouble
	case late:
		return uplink.Down, "required, and not up yet: " + h.trouble
	default:
		return uplink.Unknown, "not up yet: " + h.trouble
	}
}

// adminDown is no failure (RFC 5882 sections 3.2 and 4.2): who has other evidence
// goes by that; who has none has lost the only one.
func (r bfdRules) adminDown() (uplink.Opinion, string) {
	switch {
	case r.require:
		return uplink.Down, ", and the session is required"
	case r.otherLiveness:
		return uplink.Unknown, ", which is no failure: other evidence decides"
	default:
		return uplink.Down, ", and nothing else tells whether the way works"
	}
}

// aftermath says why a session that left Up cannot come up again, where that is not
// the cause.
func (h heard) aftermath() string {
	switch {
	case h.closed:
		return "; since then: " + h.trouble
	case h.inherited:
		return "; opened anew since then and not up yet: " + h.trouble
	default:
		return ""
	}
}

// failure is an event in words, with the diagnostics of both ends.
func (h heard) failure(e bfd.Event) string {
	peer := h.peer.String()
	words := "failed: " + e.Diag.String()
	switch {
	case e.Diag == bfd.DiagTimeExpired && h.mode == bfd.Echo, e.Diag == bfd.DiagEchoFailed:
		words = fmt.Sprintf("%s does not send our echoes back (%s)", peer, e.Diag)
	case e.Diag == bfd.DiagTimeExpired:
		words = fmt.Sprintf("nothing heard from %s any more (%s)", peer, e.Diag)
	case e.Diag == bfd.DiagNeighborSignaledDown:
		words = fmt.Sprintf("%s says that it is %s (%s)", peer, e.RemoteState, e.Diag)
	}
	if e.RemoteDiag != bfd.DiagNone {
		words += "; its reason: " + e.RemoteDiag.String()
	}
	return words
}
