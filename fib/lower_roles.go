package fib

import "slices"

// members splits the members of g that can be had by role. Where no active one is
// left those that drain are, and without them the standbys.
func (l *lowering) members(g Group) (active, draining, standby []Member) {
	for _, m := range g.Members {
		if m.Weight < 1 || m.Weight > MaxWeight {
			l.problem("weight %d of member %d of group %d is not in 1..%d", m.Weight, m.NextHop, g.ID, MaxWeight)
			m.Weight = min(max(m.Weight, 1), MaxWeight)
		}
		if _, ok := l.hops[m.NextHop]; !ok {
			continue
		}
		role := &active
		switch {
		case m.Standby:
			role = &standby
		case m.Draining:
			role = &draining
		}
		m.Standby, m.Draining = false, false
		*role = append(*role, m)
	}
	if len(active) == 0 {
		active, draining = draining, nil
	}
	if len(active) == 0 {
		active, standby = standby, nil
	}
	return active, draining, standby
}

// maxKernelWeight is the largest weight in a group: the kernel's field holds
// weight-1 in a byte and refuses 255 (net/ipv4/nexthop.c nh_check_attr_group,
// before Linux 6.12).
const maxKernelWeight = 255

// scaled returns members with their weights stretched so that the largest is
// top: the larger the weights, the smaller the share of a standby of weight 1.
func scaled(members []Member, top int) []Member {
	largest := 0
	for _, m := range members {
		largest = max(largest, m.Weight)
	}
	out := slices.Clone(members)
	for i := range out {
		out[i].Weight = max(1, (out[i].Weight*top+largest/2)/largest)
	}
	return out
}

// capped returns members as they are if the kernel takes their weights, and
// scaled down otherwise.
func capped(members []Member) []Member {
	for _, m := range members {
		if m.Weight > maxKernelWeight {
			return scaled(members, maxKernelWeight)
		}
	}
	return members
}

// withoutBuckets appends to the active members of a resilient group those that are
// to get no bucket, as many as that holds for. The kernel gives the first members, of
// weight W together, DIV_ROUND_CLOSEST(buckets*W, W+k) buckets if k members of weight
// 1 follow (nh_res_group_rebalance), which is all of them exactly if (W+k)/2 >=
// buckets*k, in integers.
//
// A member that drains may get a bucket if active ones vanish, because it can carry
// traffic; so W is that of all active members. It stays under its active id, because
// removing that would move its buckets at once. A standby must get none whichever
// of the active members survive; the smallest of them alone is the worst case.
func withoutBuckets(active, draining, standby []Member, buckets int) []Member {
	total, smallest := 0, active[0].Weight
	for _, m := range active {
		total += m.Weight
		smallest = min(smallest, m.Weight)
	}
	fits := func(weight, k int) bool { return (weight+k)/2 >= buckets*k }
	out, k := active, 0
	for _, m := range draining {
		if fits(total, k+1) {
			k++
			m.Weight = 1
			out = append(out, m)
		}
	}
	for _, m := range standby {
		if fits(smallest, k+1) {
			k++
			m.NextHop += twin
			m.Weight = 1
			out = append(out, m)
		}
	}
	return out
}
