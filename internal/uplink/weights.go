package uplink

import (
	"maps"
	"math"

	"github.com/multihomed/multihomed/fib"
)

const (
	// maxBandwidthWeight is the largest weight that every kernel takes in a group
	// (net/ipv4/nexthop.c before Linux 6.12).
	maxBandwidthWeight = 255
	// sameRatio is how far from an integer, relatively, a ratio is still taken for
	// it: bandwidths come as numbers with 24 bits of precision.
	sameRatio = 1e-6
	// smallChange is by how much the share of a way must change, relatively, before
	// the weights are worked out anew.
	smallChange = 0.05
	// smallStep is the change that rounding to a weight alone can make, in weights of
	// maxBandwidthWeight, with a margin so that nothing swings about the half.
	smallStep = 0.6
)

// Bandwidths returns the weights of ways that share traffic by their bandwidths, of
// whatever unit, 1..255. Each family is weighed by itself; of the ways of one tier
// only, since those of another have no part in their shares. static has the ways
// and the weights that they have otherwise: all of a family keep those if one
// has no bandwidth, which one that is zero, negative, infinite or no number is not.
// The smallest integers in the ratio of the bandwidths are preferred; where there
// are none the largest is 255. previous is what was returned before: it stays while
// no share differs from it by 5 % or more. No argument is changed.
func Bandwidths(bandwidths map[Way]float64, static, previous map[Way]int) map[Way]int {
	out := make(map[Way]int, len(static))
	for _, f := range fib.Families {
		var ways []Way
		for w := range static {
			if w.Family == f {
				ways = append(ways, w)
			}
		}
		maps.Copy(out, weightsOf(ways, bandwidths, static, previous))
	}
	return out
}

// weightsOf returns the weights of the ways of one family.
func weightsOf(ways []Way, bandwidths map[Way]float64, static, previous map[Way]int) map[Way]int {
	out := make(map[Way]int, len(ways))
	largest := 0.0
	for _, w := range ways {
		out[w] = static[w]
		largest = max(largest, bandwidths[w])
	}
	for _, w := range ways {
		if b := bandwidths[w]; !(b > 0) || math.IsInf(largest, 0) || math.IsNaN(largest) {
			return out
		}
	}
	for _, w := range ways {
		// What is less than the smallest weight gets that.
		out[w] = max(1, int(math.Round(bandwidths[w]/largest*maxBandwidthWeight)))
	}
	if unit := smallest(ways, bandwidths, largest); unit > 0 {
		for _, w := range ways {
			out[w] = int(math.Round(bandwidths[w] / largest * float64(unit)))
		}
	}
	if near(ways, bandwidths, largest, previous) {
		for _, w := range ways {
			out[w] = previous[w]
		}
	}
	return out
}

// smallest returns the least weight of the largest bandwidth with which all weights
// are integers; 0 if none in 1..255 is.
func smallest(ways []Way, bandwidths map[Way]float64, largest float64) int {
	for unit := 1; unit <= maxBandwidthWeight; unit++ {
		exact := true
		for _, w := range ways {
			weight := bandwidths[w] / largest * float64(unit)
			nearest := math.Round(weight)
			exact = exact && nearest >= 1 && math.Abs(weight-nearest) <= sameRatio*nearest
		}
		if exact {
			return unit
		}
	}
	return 0
}

// near reports whether the shares by previous are about those by bandwidths.
func near(ways []Way, bandwidths map[Way]float64, largest float64, previous map[Way]int) bool {
	now, before, top := 0.0, 0.0, 0
	weight := func(w Way) float64 { return max(1, bandwidths[w]/largest*maxBandwidthWeight) }
	for _, w := range ways {
		if previous[w] < 1 {
			return false
		}
		now += weight(w)
		before += float64(previous[w])
		top = max(top, previous[w])
	}
	step := smallStep / (before * maxBandwidthWeight / float64(top))
	for _, w := range ways {
		share, was := weight(w)/now, float64(previous[w])/before
		if math.Abs(share-was) >= max(smallChange*was, step) {
			return false
		}
	}
	return true
}
