package speaker

import "testing"

// TestGCPercent: the pace falls as tables grow, in few steps, and never leaves its
// ends.
func TestGCPercent(t *testing.T) {
	for _, c := range []struct{ paths, want int }{
		{0, gcSmall}, {pathsSmall, gcSmall}, {(pathsSmall + pathsFull) / 2, 250}, {pathsFull, gcFull}, {10 * pathsFull, gcFull},
	} {
		if got := gcPercent(c.paths); got != c.want {
			t.Errorf("%d paths: %d percent, want %d", c.paths, got, c.want)
		}
	}
	steps := map[int]bool{}
	for n := 0; n <= pathsFull; n += 1000 {
		steps[gcPercent(n)] = true
	}
	if len(steps) > 32 {
		t.Errorf("%d steps between the ends", len(steps))
	}
}
