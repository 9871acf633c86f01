package fib

import (
	"context"
	"maps"
	"slices"
)

// regroup writes d if it differs from the last desired state by nothing but the
// members of groups: that is a failover, and it must not wait until everything
// else has been lowered and compared for nothing. It reports false, having
// written nothing or not all, if d needs the whole way.
func (w *Writer) regroup(ctx context.Context, d Desired, rep *Report) bool {
	if w.lowered == nil || !w.synced || !d.equalButGroups(w.last) {
		return false
	}
	groups, ok := w.lowered.regroup(d.Groups)
	if !ok {
		return false
	}
	p := planner{want: w.lowered.want, actual: w.actual, protocol: w.owner.Protocol}
	p.want.Groups = groups
	p.groups(p.ready)
	if len(p.ops) != len(differing(groups, w.actual.Groups, Group.equal)) {
		return false // Some group needs more than its contents.
	}
	if len(w.apply(ctx, p.ops, rep)) > 0 {
		rep.Failed = nil // The whole way tries again.
		return false
	}
	w.lowered.want.Groups = groups
	return true
}

// regroup lowers groups over the next hops of l. It reports false unless exactly
// the groups of l can be had from them, without any problem.
func (l *lowering) regroup(groups []Group) (map[uint32]Group, bool) {
	r := &lowering{
		desired: Desired{Groups: groups}, actual: l.actual, owner: l.owner,
		ids: make(map[uint32]string, len(groups)), hops: l.hops,
		groups: make(map[uint32]Group, len(groups)), kernelID: maps.Clone(l.kernelID),
		want: NewState(),
	}
	r.lowerGroups()
	r.assignGroups()
	if len(r.problems) > 0 || !slices.Equal(slices.Sorted(maps.Keys(r.want.Groups)), slices.Sorted(maps.Keys(l.want.Groups))) {
		return nil, false
	}
	return r.want.Groups, true
}

// equalButGroups compares everything but groups.
func (d Desired) equalButGroups(o Desired) bool {
	return slices.Equal(d.NextHops, o.NextHops) && slices.Equal(d.Rules, o.Rules) &&
		slices.EqualFunc(d.Routes, o.Routes, Route.equal)
}
