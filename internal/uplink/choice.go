package uplink

import (
	"slices"

	"github.com/multihomed/multihomed/fib"
)

// Choice is a group that prefixes point at: which uplinks offer them, and in what
// order. It does not depend on who is alive; what its group holds does.
type Choice struct {
	Family fib.Family
	// Code names the choice within its family, 1..65535, and gives the group its id.
	Code uint16
	// Ranks has one entry for each uplink of the layout: 0 if it does not offer the
	// prefixes, 1 for those that share the traffic, 2 for those that take over, 3 for
	// all others.
	Ranks []uint8
}

// choiceIDs is where the ids of choices begin, behind those of uplinks and the
// groups of the families; each family has 65536.
const choiceIDs = 1 << 16

// choiceBuckets is the size of the bucket table of a choice. Routes point at the
// id of the group, so that the size must not even depend on how many uplinks
// there are.
const choiceBuckets = 120

// ChoiceID returns the id of the group of a choice.
func (l Layout) ChoiceID(f fib.Family, code uint16) uint32 {
	return l.NextHopBase + choiceIDs + familyIndex(f)<<16 + uint32(code)
}

// ChoiceOf returns the choice that the group with this id stands for, and false if it
// is none.
func (l Layout) ChoiceOf(id uint32) (fib.Family, uint16, bool) {
	offset := id - l.NextHopBase - choiceIDs
	if id < l.NextHopBase+choiceIDs || offset >= 2<<16 || offset&0xffff == 0 {
		return fib.FamilyUnknown, 0, false
	}
	return fib.Families[offset>>16], uint16(offset), true
}

// quality is how far a way can be trusted with the prefixes of a choice.
type quality uint8

const (
	// useless: the kernel cannot send by it.
	useless quality = iota
	// fitting: live, of whatever tier, or in use although it waits after an outage.
	fitting
	// waiting: nothing bad is said of it.
	waiting
	// draining: it gets no new flows.
	draining
	// doubtful: dead, or not looked at yet.
	doubtful
)

// offer is what one uplink can do for a choice. It is worked out once for all of
// them.
type offer struct {
	quality quality
	// listed says that the way is in the default group.
	listed bool
	member fib.Member
}

func offerOf(v Verdict, m fib.Member) offer {
	o := offer{quality: doubtful, listed: v.Role != RoleNone, member: m}
	switch {
	case v.Role == Draining:
		o.quality = draining
	case v.State == Live || v.State == Held && v.Role == Active:
		o.quality = fitting
	case v.State == Held:
		o.quality = waiting
	}
	return o
}

// choices draws the group of each choice that has a member. It stands in the way of
// a failover, so it asks no map and takes memory once for all.
func (p *painter) choices(all []Choice) {
	count, width := 0, 0
	for _, c := range all {
		if c.Family == p.family {
			count++
		}
	}
	for n := range p.offers {
		if p.offers[n].quality != useless {
			width++
		}
	}
	if count == 0 || width == 0 {
		return
	}
	room := make([]fib.Member, 0, count*width)
	scratch := make([]uint16, 0, width)
	for _, c := range all {
		if c.Family != p.family {
			continue
		}
		members := p.group
		if top := p.topRank(c.Ranks); top != 0 {
			begin := len(room)
			room = p.choose(room, c.Ranks, top, scratch)
			members = room[begin:len(room):len(room)]
		}
		if len(members) > 0 {
			p.d.Groups = append(p.d.Groups, fib.Group{
				ID: p.ChoiceID(p.family, c.Code), Type: fib.GroupResilient, Members: members,
				Buckets: choiceBuckets, IdleTimer: p.IdleTimer, UnbalancedTimer: p.patience(members),
			})
		}
	}
}

// topRank returns the first rank that has a fit way, 0 if none has. Then the
// prefixes are no worse off than everything else: they follow the default.
func (p *painter) topRank(ranks []uint8) uint8 {
	top := uint8(0)
	for n, rank := range ranks[:min(len(ranks), len(p.offers))] {
		if rank != 0 && p.offers[n].quality == fitting && (top == 0 || rank < top) {
			top = rank
		}
	}
	return top
}

// choose appends the members of a choice whose rank top carries the traffic: the
// fit ways of that rank, active; the draining ones that it, or one before it, had
// before; then the standbys, best first, because the kernel has room for few.
// order is scratch.
func (p *painter) choose(out []fib.Member, ranks []uint8, top uint8, order []uint16) []fib.Member {
	for n := range p.offers {
		o, rank := &p.offers[n], uint8(0)
		if n < len(ranks) {
			rank = ranks[n]
		}
		switch {
		case o.quality == fitting && rank == top:
			out = append(out, o.member)
		case o.quality == draining && rank != 0 && rank <= top:
			out = append(out, o.member)
			out[len(out)-1].Draining = true
		default:
			if turn := o.standby(rank, top); turn != 0 {
				order = append(order, uint16(turn)<<8|uint16(n)) // MaxUplinks fit.
			}
		}
	}
	slices.Sort(order)
	for _, turn := range order {
		out = append(out, p.offers[turn&0xff].member)
		out[len(out)-1].Standby = true
	}
	return out
}

// standby returns when it is the turn of the way as a standby, the best first, or 0
// if it is none: first by what it can be trusted with, then by rank, those that
// only the default group has behind. A way of which something bad is said stands
// by only where it does so for the default.
func (o *offer) standby(rank, top uint8) uint8 {
	const behind = 3 // No rank is higher.
	if rank <= top {
		rank = 0
	}
	switch {
	case o.quality == useless:
		return 0
	case rank != 0 && o.quality != doubtful:
		return uint8(o.quality)<<2 | (min(rank, behind) - 1)
	case o.listed:
		return uint8(o.quality)<<2 | behind
	default:
		return 0
	}
}
