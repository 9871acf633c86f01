package bgp

import (
	"testing"
	"time"
)

func TestRetention(t *testing.T) {
	t.Parallel()
	t0 := time.Unix(1_000_000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	type step struct {
		what func(r *retention) cut
		cut  cut
		kept bool
	}
	lost := func(s int, graceful time.Duration) func(*retention) cut {
		return func(r *retention) cut { return r.lost(at(s), graceful) }
	}
	back := func(s int, preserved bool) func(*retention) cut {
		return func(r *retention) cut { return r.back(at(s), preserved, 180*time.Second) }
	}
	synced := func(r *retention) cut { return r.synced() }
	expire := func(s int) func(*retention) cut { return func(r *retention) cut { return r.expire(at(s)) } }
	tests := map[string][]step{
		"a peer that restarts": {
			{lost(0, time.Minute), cutNothing, true}, {expire(59), cutNothing, true}, {back(59, true), cutNothing, true},
			{expire(100), cutNothing, true}, {synced, cutMarked, false}, {expire(1000), cutNothing, false},
		},
		"one that does not come back": {{lost(0, time.Minute), cutNothing, true}, {expire(60), cutAll, false}},
		"one that comes back without what it had": {
			{lost(0, time.Minute), cutNothing, true}, {back(1, false), cutMarked, false}, {synced, cutNothing, false},
		},
		"one that never finishes": {
			{lost(0, time.Minute), cutNothing, true}, {back(10, true), cutNothing, true}, {expire(189), cutNothing, true}, {expire(190), cutMarked, false},
		},
		"one that restarts again": {
			{lost(0, time.Minute), cutNothing, true}, {back(1, true), cutNothing, true}, {lost(2, time.Minute), cutMarked, true},
			{expire(61), cutNothing, true}, {expire(62), cutAll, false},
		},
		"a loss without graceful restart": {
			{lost(0, 0), cutNothing, false}, {expire(29), cutNothing, false}, {expire(30), cutAll, false},
		},
		"a flap without graceful restart": {
			{lost(0, 0), cutNothing, false}, {back(5, false), cutNothing, false}, {expire(35), cutNothing, false}, {synced, cutMarked, false},
		},
		"one that flaps and never finishes": {
			{lost(0, 0), cutNothing, false}, {back(5, false), cutNothing, false}, {lost(6, 0), cutNothing, false}, {expire(35), cutNothing, false}, {expire(36), cutAll, false},
		},
		"a restart that ends with an error": {
			{lost(0, time.Minute), cutNothing, true}, {back(1, true), cutNothing, true}, {lost(2, 0), cutNothing, false}, {expire(32), cutAll, false},
		},
	}
	for name, steps := range tests {
		var r retention
		for i, s := range steps {
			if got := s.what(&r); got != s.cut || r.retained() != s.kept {
				t.Errorf("%s, step %d: cut %d, retained %v; want %d, %v", name, i, got, r.retained(), s.cut, s.kept)
			}
		}
	}
}
