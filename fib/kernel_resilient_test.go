package fib

import (
	"fmt"
	"strings"
	"testing"
)

// Resilient groups (Documentation/networking/nexthop-group-resilient.rst).

// buckets returns how many buckets of group id lead to the next hop nh.
func (s *site) buckets(id, nh int) int {
	s.t.Helper()
	return strings.Count(s.ip(FamilyUnknown, "nexthop bucket show id %d", id), fmt.Sprintf("nhid %d ", nh))
}

func (s *site) wantBuckets(when string, id, first, second int) {
	s.t.Helper()
	if a, b := s.buckets(id, id+1), s.buckets(id, id+2); a != first || b != second {
		s.differs("%s the buckets are %d/%d, not %d/%d", when, a, b, first, second)
	}
}

func TestLNX_RES_01_BucketsByWeight(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		base := s.groupDefault(f, "type resilient buckets 32 idle_timer 0")
		s.wantBuckets("with equal weights", base, 16, 16)
		s.ip(FamilyUnknown, "nexthop replace id %d group %d,3/%d,1 type resilient", base, base+1, base+2)
		eventually(t, "24 of 32 buckets at weights 3:1", func() bool { return s.buckets(base, base+1) == 24 })
		s.ip(FamilyUnknown, "nexthop replace id %d group %d,255/%d,1 type resilient", base, base+1, base+2)
		eventually(t, "no bucket for a share below a half", func() bool { return s.buckets(base, base+2) == 0 })
		s.wantShare("with weights 255 and 1", f, everything)
	}
}

// A standby that owns no bucket inherits all of them, with nobody's help.
func TestLNX_RES_02_RemovalMovesBucketsAtOnce(t *testing.T) {
	s := newSite(t)
	bases := map[Family]int{}
	for _, f := range Families {
		bases[f] = s.groupDefault(f, "type resilient buckets 32 idle_timer 1000")
		s.ip(FamilyUnknown, "nexthop add id %d group %d,255/%d,1 type resilient buckets 32 idle_timer 1000", bases[f]+10, bases[f]+1, bases[f]+2)
		if got := s.buckets(bases[f]+10, bases[f]+1); got != 32 {
			s.differs("a standby of weight 1 owns %d of 32 buckets", 32-got)
		}
	}
	l := s.listen()
	s.carrier(1, false)
	for _, f := range Families {
		s.wantBuckets("after carrier loss", bases[f], 0, 32)
		if got := s.buckets(bases[f]+10, bases[f]+2); got != 32 {
			s.differs("after carrier loss the standby owns %d of 32 buckets", got)
		}
		s.wantShare("after carrier loss", f, nothing)
	}
	l.wantHeard("on carrier loss", "")
}

// A bucket that no packet has used since it moved counts as idle, and so does one
// used within the same tick; so time passes first, and then there is traffic. Of
// a group with one member IPv4 does not look at the buckets at all
// (net/ipv4/fib_semantics.c, fib_select_path), so there are two from the start.
func TestLNX_RES_03_AddingMovesIdleBucketsOnly(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		base := s.groupDefault(f, "type resilient buckets 32 idle_timer 1000")
		s.ip(f, "nexthop add id %d via %s dev eth2", base+3, s.addr(f, 2, 3))
		s.ip(FamilyUnknown, "nexthop add id %d group %d,255/%d,1 type resilient buckets 32 idle_timer 1000", base+10, base+1, base+2)
		s.ip(f, "route replace default nhid %d metric 1", base+10)
		eventually(t, "a later tick", func() bool {
			out := s.ip(FamilyUnknown, "nexthop bucket show id %d", base+10)
			return !strings.Contains(out, "idle_time 0 ") && !strings.Contains(out, "idle_time 0.0")
		})
		s.wantShare("with one member in use", f, everything) // 200 destinations hit almost every bucket.
		s.ip(FamilyUnknown, "nexthop replace id %d group %d/%d/%d type resilient", base+10, base+1, base+2, base+3)
		if stayed := s.buckets(base+10, base+1); stayed < 28 {
			s.differs("%s: after adding a member to a busy table %d of 32 buckets moved", f, 32-stayed)
		}
		s.ip(FamilyUnknown, "nexthop replace id %d group %d/%d/%d type resilient idle_timer 0", base+10, base+1, base+2, base+3)
		eventually(t, "idle buckets move", func() bool { return s.buckets(base+10, base+3) >= 10 })
	}
}
