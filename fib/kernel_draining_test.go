package fib

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBuckets(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		base := map[Family]uint32{IPv4: 1000, IPv6: 1100}[f]
		s.apply(Add, s.hop(base+2, f, 1), s.hop(base+4, f, 2),
			Group{ID: base + 50, Type: GroupResilient, Buckets: 60, Members: []Member{{NextHop: base + 2, Weight: 2}, {NextHop: base + 4, Weight: 1}}},
			Group{ID: base + 51, Type: GroupHashThreshold, Members: []Member{{NextHop: base + 2, Weight: 1}}},
			s.rankedGroup(base+52, base+2, base+4))
		for group, want := range map[uint32]map[uint32]int{
			base + 50: {base + 2: 40, base + 4: 20},
			base + 52: {base + 2: 60},
		} {
			got, err := s.k.Buckets(t.Context(), group)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("group %d: %v, %v, want %v", group, got, err, want)
			}
		}
		if _, err := s.k.Buckets(t.Context(), base+60); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a group that is not there: %v", err)
		}
		if _, err := s.k.Buckets(t.Context(), base+51); !errors.Is(err, unix.EINVAL) {
			t.Errorf("a plain group: %v", err)
		}
	}
}

func TestBucketsThatCannotBeRead(t *testing.T) {
	for name, body := range map[string][]byte{
		"short":           {1},
		"no attributes":   make([]byte, nextHopHeaderLen),
		"torn attributes": append(make([]byte, nextHopHeaderLen), 9, 0, 13, 0),
	} {
		k, _ := fakeKernel(func(h header, _ []byte) []delivery {
			return []delivery{message(unix.RTM_NEWNEXTHOPBUCKET, 0, h.seq, body)}
		})
		if got, err := k.Buckets(t.Context(), 1); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A way that drains keeps the buckets that are in use and loses the others once they
// have been idle for long enough; new flows on those leave by the other way.
func TestLNX_RES_05_DrainingMovesIdleBucketsOnly(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		base := map[Family]uint32{IPv4: 1000, IPv6: 1100}[f]
		owner := testOwner
		d := Desired{
			NextHops: []NextHop{s.hop(base+2, f, 1), s.hop(base+4, f, 2)},
			Groups: []Group{{
				ID: base + 50, Type: GroupResilient, Buckets: 32, IdleTimer: time.Hour,
				Members: []Member{{NextHop: base + 2, Weight: 1}, {NextHop: base + 4, Weight: 1}},
			}},
			Routes: []Route{{Table: 254, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: base + 50}},
		}
		w := NewWriter(s.k, owner)
		sync := func(draining bool, idle time.Duration) {
			t.Helper()
			next := d
			g := d.Groups[0]
			g.IdleTimer = idle
			g.Members = []Member{{NextHop: base + 2, Weight: 1, Draining: draining}, {NextHop: base + 4, Weight: 1}}
			next.Groups = []Group{g}
			if rep := w.Sync(t.Context(), next, time.Now()); !rep.InSync || len(rep.Failed)+len(rep.Problems) > 0 {
				t.Fatalf("%s: %+v", f, rep)
			}
		}
		at := func() (drains, stays int) {
			t.Helper()
			got, err := s.k.Buckets(context.Background(), w.GroupIDs()[base+50])
			s.must(err)
			return got[base+2], got[base+4]
		}
		sync(false, time.Hour)
		if a, b := at(); a != 16 || b != 16 {
			t.Fatalf("%s: at first the buckets are %d/%d", f, a, b)
		}
		eventually(t, "a later tick", func() bool {
			out := s.ip(FamilyUnknown, "nexthop bucket show id %d", base+50)
			return !strings.Contains(out, "idle_time 0 ") && !strings.Contains(out, "idle_time 0.0")
		})
		s.shareOf(f, "") // 200 destinations hit almost every bucket.
		sync(true, time.Hour)
		if a, _ := at(); a < 12 {
			t.Errorf("%s: of 16 busy buckets %d stayed with the way that drains", f, a)
		}
		if busy := s.shareOf(f, ""); busy < 60 {
			t.Errorf("%s: of established flows %d of 200 stayed", f, busy)
		}
		sync(true, 0) // all of them are idle for long enough now
		eventually(t, "idle buckets move", func() bool { a, b := at(); return a == 0 && b == 32 })
		if new := s.shareOf(f, ""); new != 0 {
			t.Errorf("%s: %d of 200 new flows leave by the way that drains", f, new)
		}
		sync(false, 0)
		eventually(t, "the share comes back", func() bool { a, b := at(); return a == 16 && b == 16 })
	}
}
