package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bfdStatus describes the session of m; nil if none is wanted. It may be called from
// any goroutine.
func (p *sessions) bfdStatus(m member) (*status.BFD, bfd.Status) {
	p.mu.Lock()
	s := p.all[m.Way]
	if s == nil {
		p.mu.Unlock()
		return nil, bfd.Status{}
	}
	handle, conf := p.handle(s), s.conf
	p.mu.Unlock()
	out := &status.BFD{
		Mode: conf.Mode.String(), State: status.BFDClosed, Auth: conf.Auth.Type.String(), Multiplier: conf.Multiplier,
		Peer: addressWord(conf.Peer), Local: addressWord(conf.Local), EchoSource: addressWord(conf.EchoSource), Multihop: conf.Multihop,
	}
	if handle == nil {
		s.mu.Lock()
		out.Problem = s.heard.trouble
		s.mu.Unlock()
		return out, bfd.Status{}
	}
	var st bfd.Status
	if err := safely(func() error { st = handle.Status(); return nil }); err != nil {
		out.Problem = err.Error()
		return out, bfd.Status{}
	}
	out.State, out.Since, out.Problem = st.State.String(), st.Since, st.Problem
	out.Diagnostic = st.Diag.String()
	if st.Received > 0 && conf.Mode == bfd.Async {
		out.RemoteState, out.RemoteDiagnostic, out.RemoteMultiplier = st.RemoteState.String(), st.RemoteDiag.String(), st.RemoteMultiplier
	}
	out.LocalDiscriminator, out.RemoteDiscriminator = st.LocalDiscriminator, st.RemoteDiscriminator
	out.TxInterval, out.RxInterval, out.DetectionTime = st.TxInterval.Seconds(), st.RxInterval.Seconds(), st.DetectionTime.Seconds()
	out.Polling, out.RemoteDemand, out.Backoff = st.Polling, st.RemoteDemand, st.Backoff
	out.Sent, out.Received, out.LastReceived = st.Sent, st.Received, st.LastReceived
	out.Ups, out.Failures = st.Ups, st.Failures
	out.RTT, out.WorstLateness = st.RTT.Seconds(), st.WorstLateness.Seconds()
	for why, n := range st.Dropped {
		if n > 0 {
			if out.Dropped == nil {
				out.Dropped = map[string]uint64{}
			}
			out.Dropped[why.String()] = n
		}
	}
	return out, st
}

// bfdWarnings are what an operator should look at: of the session of m, and of its
// keys. worst is how late packets were sent of late.
func (t *site) bfdWarnings(m member, st bfd.Status, worst time.Duration) []string {
	var out []string
	if worst > 0 && st.TxInterval > 0 && worst > st.TxInterval/2 {
		out = append(out, fmt.Sprintf("bfd of %s: packets were sent up to %s late in the last minutes, more than half of the interval of %s: "+
			"the neighbour may take that for a failure; take a longer interval, or give this machine more CPU", m.Way, worst.Round(100*time.Microsecond), st.TxInterval))
	}
	if peerAdminDown(st) && st.Config.Mode == bfd.Async {
		out = append(out, fmt.Sprintf("bfd of %s: %s says that it is administratively down; ask its operator, or take bfd out of the configuration", m.Way, st.Config.Peer))
	}
	if ring := t.keys[m.Uplink]; m.bfd.Auth != nil && ring.err != nil && ring.auth.Type != bfd.AuthNone {
		out = append(out, fmt.Sprintf("bfd of %s: the old keys stay in use: %v", m.Uplink, ring.err))
	}
	return out
}

// worstLateness is how late packets were sent in the last one or two windows.
func (p *sessions) worstLateness() time.Duration {
	p.mu.Lock()
	before := p.lateBefore
	p.mu.Unlock()
	speaker := p.voice()
	if speaker == nil {
		return 0
	}
	var now time.Duration
	if err := safely(func() error { now = speaker.Stats().WorstLateness; return nil }); err != nil {
		return before
	}
	return max(before, now)
}

// addBFD adds to s what the sessions say.
func (e *Engine) addBFD(v *shown, s *status.Status) {
	worst := e.sessions.worstLateness()
	for _, m := range v.site.members {
		if m.bfd == nil || v.hidden(m) {
			continue
		}
		b, st := e.sessions.bfdStatus(m)
		if w := findWay(s, m.Way); w != nil {
			w.BFD = b
		}
		for _, warning := range v.site.bfdWarnings(m, st, worst) {
			if !slices.Contains(s.Warnings, warning) {
				s.Warnings = append(s.Warnings, warning)
			}
		}
	}
}

func findWay(s *status.Status, way uplink.Way) *status.Way {
	for i := range s.Uplinks {
		for k := range s.Uplinks[i].Ways {
			if w := &s.Uplinks[i].Ways[k]; s.Uplinks[i].Name == way.Uplink && w.Family == way.Family.String() {
				return w
			}
		}
	}
	return nil
}

// addressWord prints an address, "" if there is none.
func addressWord(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// dropWords prints what was not taken by reason, "ttl (3), auth-digest (1)".
func dropWords(dropped map[bfd.Drop]uint64) string {
	var words []string
	for why, n := range dropped {
		if n > 0 {
			words = append(words, fmt.Sprintf("%s (%d)", why, n))
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
