package fib

import "context"

// Desired is the whole state that a caller wants, in its own terms. It is a
// value: set again, it means the same.
type Desired struct {
	// NextHops must have even ids: id+1 is the standby twin of id. All ids, those
	// of groups too, must differ and lie in the first quarter of Owner.NextHops;
	// the other quarters are for objects that cannot have their first choice.
	NextHops []NextHop
	// Groups list their members by the ids of NextHops.
	Groups []Group
	Routes []Route
	Rules  []Rule
}

// State is what a kernel holds, or is to hold, of what is ours, by the kernel's
// own keys.
type State struct {
	NextHops map[uint32]NextHop
	Groups   map[uint32]Group
	Routes   map[RouteKey]Route
	// Rules counts equal rules: the kernel accepts duplicates on some paths.
	Rules map[Rule]int
	// Strays are objects with our mark that none of the types above can
	// express. They can only be deleted.
	Strays []Stray
	// Taken holds the ids of our range that foreign next hops and groups
	// occupy, with their route protocol. They are not ours and not listed above.
	Taken map[uint32]uint8
	// Intruders are foreign default routes in the tables that hold routes of ours
	// or that a policy rule, whoever's, looks up; but not in main, local and
	// default. They are never written. Which of them win over a default that is
	// wanted is said by [Preview] and in Report.Problems.
	Intruders []Intruder
	// Capabilities is what the kernel that was read can hold.
	Capabilities Capabilities
}

// NewState returns a State without objects, its maps ready to be written.
func NewState() State {
	return State{
		NextHops: map[uint32]NextHop{},
		Groups:   map[uint32]Group{},
		Routes:   map[RouteKey]Route{},
		Rules:    map[Rule]int{},
		Taken:    map[uint32]uint8{},
	}
}

// Capabilities says what a kernel can hold. It is probed, never derived from a
// version.
type Capabilities struct {
	// NextHops: next-hop objects and groups (Linux 5.3).
	NextHops bool
	// Resilient: groups of type [GroupResilient] (Linux 5.12).
	Resilient bool
}

// Range is a closed interval. The zero Range is empty.
type Range struct{ First, Last uint32 }

// Contains reports whether n lies in r.
func (r Range) Contains(n uint32) bool { return r.First != 0 && r.First <= n && n <= r.Last }

// Owner is the rule by which a kernel object is recognised as ours, from the
// kernel alone.
type Owner struct {
	// Protocol is the route protocol number (rtm_protocol, nh_protocol,
	// FRA_PROTOCOL) that marks what is ours, 5..255.
	Protocol uint8
	// NextHops is the range of ids for next hops and groups, four times as long as
	// what Desired uses.
	NextHops Range
	// Rules is the range of rule priorities.
	Rules Range
}

// Kernel is the seam to the operating system. [Netlink] is the real one;
// package fibtest has one in memory.
type Kernel interface {
	// List reads what is ours under o. An interrupted or partial read is an
	// error, never a shorter list.
	List(ctx context.Context, o Owner) (State, error)
	// Apply executes ops in order and returns one error per op, nil where it
	// succeeded. A failing op does not stop the ones behind it. Deleting what
	// is not there, and adding what is there with equal content, succeed.
	Apply(ctx context.Context, ops []Op) []error
}
