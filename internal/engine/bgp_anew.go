package engine

import (
	"reflect"
	"slices"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/uplink"
)

// excuse awaits the sessions that stand, vouch for their ways, and end because c says
// another thing of them than the speaker was told last: it is us who end them, and
// nothing is known against the uplink.
func (p *peering) excuse(c bgp.Config, now time.Time) {
	before := map[string]bgp.Peer{}
	for _, peer := range p.set.Peers {
		before[peer.Name] = peer
	}
	anew := map[string]bool{}
	for _, peer := range c.Peers {
		was, there := before[peer.Name]
		anew[peer.Name] = there && peer.Shutdown == "" && (allAnew(p.set, c) || beginsAnew(was, peer))
	}
	for _, w := range p.wishes {
		have, told := peerStatus(p.said, w.conf)
		if !anew[w.conf.Name] || !told || have.State != bgp.Established {
			continue
		}
		for _, way := range w.ways {
			if m := p.ways[way]; m.before.opinion == uplink.Up {
				m.anew, m.stood = now.Add(returnLimit), have.Since
			}
		}
	}
}

// allAnew reports whether all sessions begin anew where after follows before; see
// [bgp.Speaker.Set].
func allAnew(before, after bgp.Config) bool {
	return before.AS != after.AS || before.RouterID != after.RouterID || before.Port != after.Port || !slices.Equal(before.Listen, after.Listen)
}

// beginsAnew reports whether a session does.
func beginsAnew(before, after bgp.Peer) bool {
	// What a session outlives may differ.
	before.Name, before.Slot, before.Import, before.MaxPrefixes = after.Name, after.Slot, after.Import, after.MaxPrefixes
	before.Tier, before.Preference, before.Drained = after.Tier, after.Preference, after.Drained
	before.Announce, before.Shutdown = after.Announce, after.Shutdown
	before.GracefulRestart.StaleTime = after.GracefulRestart.StaleTime
	return !reflect.DeepEqual(before, after)
}

// returned notes that a session is back that was to begin anew.
func (m *wayMemory) returned(v bgpView) {
	if v.told && v.peer.State == bgp.Established && v.family.Synced && !v.peer.Since.Equal(m.stood) {
		m.anew = time.Time{}
	}
}
