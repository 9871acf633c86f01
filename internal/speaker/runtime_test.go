package speaker

import "testing"

// TestGCPercent: the pace falls as tables grow, in few steps, and never leaves its
// ends.
func TestGCPercent(t *testing.T) {
	for _, c := range []struct{ paths, want int }{{0, gcMost}, {500_000, 220}, {1_000_000, 130}, {2_000_000, 70}, {100_000_000, gcLeast}} {
		if got := gcPercent(c.paths); got != c.want {
			t.Errorf("%d paths: %d percent, want %d", c.paths, got, c.want)
		}
	}
	last := gcPercent(0)
	for n := range 2000 {
		now := gcPercent(1000 * n)
		if now > last || now%10 != 0 {
			t.Fatalf("%d paths: %d percent after %d", 1000*n, now, last)
		}
		last = now
	}
}
