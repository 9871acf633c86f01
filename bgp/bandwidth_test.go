package bgp

import (
	"math"
	"testing"
)

// offered puts a path that is accepted and announces a bandwidth.
func offered(r *rib, f Family, n int, b float32) {
	r.put(0, numbered(f, n), grade{}, Accepted)
	r.offer(0, numbered(f, n), b)
}

// TestB_LBW_03_BandwidthThatIsNoneDoesNotCount shows that a rib keeps no bandwidth that
// is not equal to itself.
func TestB_LBW_03_BandwidthThatIsNoneDoesNotCount(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		r := newRIB(f, ASPathStrict)
		for i, b := range []float32{float32(math.NaN()), float32(math.Inf(1)), -1, 0} {
			offered(r, f, i, b)
			if n := r.counts(0); n.accepted != i+1 || n.bandwidth != 0 {
				t.Errorf("%v: %+v", b, n)
			}
		}
		emptied(t, r)
	})
}

// TestB_LBW_02_BandwidthOfAPeer shows that the one counts that was accepted last, none
// included, and that of the default route before all.
func TestB_LBW_02_BandwidthOfAPeer(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		r := newRIB(f, ASPathStrict)
		is := func(want float32, when string) {
			t.Helper()
			if got := r.counts(0).bandwidth; got != want {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		for i, b := range []float32{0, 3e6, 2e6, 0, 4e6} {
			offered(r, f, i, b)
			is(b, "the last one")
		}
		r.put(0, fallbackOf(f), grade{}, Accepted)
		r.offer(0, fallbackOf(f), 9e6)
		offered(r, f, 1, 5e6)
		is(9e6, "with that of a default route")
		r.put(0, fallbackOf(f), grade{}, NotAsked)
		is(5e6, "with a default route that is refused")
		r.put(0, fallbackOf(f), grade{}, Accepted)
		r.offer(0, fallbackOf(f), 0)
		offered(r, f, 1, 5e6)
		is(5e6, "with a default route that has none")
		for i := range 5 {
			r.put(0, numbered(f, i), grade{}, Bogon)
		}
		r.withdraw(0, fallbackOf(f))
		is(0, "with nothing that is accepted")
		r.offer(-1, numbered(f, 1), 1)
		r.offer(maxColumns, numbered(f, 1), 1)
		emptied(t, r)
	})
}

// TestBandwidthIsNoGrade shows that paths that differ in bandwidth only share a grade,
// however many there are.
func TestBandwidthIsNoGrade(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		c, p := testConfig(f, func(_ *Config, p *Peer) { p.Import.Bandwidth = true })
		var x tables
		x.init()
		d := x.join(p, newJudge(c, p, nil, nil))
		for i := range 1000 {
			x.scratch = good(f)
			x.scratch.bandwidth = float32(1 + i)
			x.put(d, f, numbered(f, i))
		}
		n := x.counts(d)[f]
		if n.accepted != 1000 || n.bandwidth != 1000 || len(x.ribs[f].grades.ids) != 1 {
			t.Errorf("%d accepted, bandwidth %v, %d grades", n.accepted, n.bandwidth, len(x.ribs[f].grades.ids))
		}
	})
}
