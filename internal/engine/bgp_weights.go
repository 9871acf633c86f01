package engine

import (
	"maps"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// bandwidths remembers what peers announce, and the weights that follow.
type bandwidths struct {
	// heard in octets per second, by way. What a lost session said stays: that one
	// uplink dies must not change the shares among the others.
	heard map[uplink.Way]float64
	// drawn are the weights of all ways that were weighed last, weights those of them
	// that are not as configured.
	drawn, weights map[uplink.Way]int
}

func newBandwidths() bandwidths {
	return bandwidths{heard: map[uplink.Way]float64{}}
}

// hear notes what a session that stands says of a way.
func (b bandwidths) hear(w uplink.Way, p bgp.PeerStatus, f bgp.FamilyStatus) {
	if p.State == bgp.Established && f.Synced {
		b.heard[w] = f.Bandwidth
	}
}

// weigh draws the weights of a site. Only the uplinks of one tier share anything, so
// they are weighed tier by tier.
func (b *bandwidths) weigh(t *site) {
	drawn, weights := map[uplink.Way]int{}, map[uplink.Way]int{}
	type group struct {
		family fib.Family
		tier   int
	}
	static, said := map[group]map[uplink.Way]int{}, map[group]map[uplink.Way]float64{}
	for _, m := range t.members {
		g := group{m.Family, m.Tier}
		if static[g] == nil {
			static[g], said[g] = map[uplink.Way]int{}, map[uplink.Way]float64{}
		}
		static[g][m.Way] = m.Weight
		if m.conf.BGP != nil && m.conf.BGP.Weight == config.WeightBandwidth && b.heard[m.Way] != 0 {
			said[g][m.Way] = b.heard[m.Way]
		}
	}
	for g := range static {
		if len(said[g]) == 0 {
			continue
		}
		for w, n := range uplink.Bandwidths(said[g], static[g], b.drawn) {
			drawn[w] = n
			if n != static[g][w] {
				weights[w] = n
			}
		}
	}
	b.drawn, b.weights = drawn, weights
}

// into returns facts with the weights in use. It changes nothing that others read.
func (b *bandwidths) into(facts uplink.Facts) uplink.Facts {
	var out uplink.Facts
	for w, f := range facts {
		if n := b.weights[w]; f.Weight != n {
			if out == nil {
				out = maps.Clone(facts)
			}
			f.Weight = n
			out[w] = f
		}
	}
	if out == nil {
		return facts
	}
	return out
}
