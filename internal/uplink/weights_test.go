package uplink

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// bandwidthsOf and weightsFor name the ways of family f a, b, c in order.
func bandwidthsOf(f fib.Family, values ...float64) map[Way]float64 {
	out := map[Way]float64{}
	for n, v := range values {
		out[Way{string(rune('a' + n)), f}] = v
	}
	return out
}

func weightsFor(f fib.Family, values ...int) map[Way]int {
	out := map[Way]int{}
	for n, v := range values {
		out[Way{string(rune('a' + n)), f}] = v
	}
	return out
}

// TestB_LBW_06_Ratios: weights are proportional to bandwidths, in the smallest
// integers that are, or else the largest is 255; none is less than 1.
func TestB_LBW_06_Ratios(t *testing.T) {
	tests := []struct {
		bandwidths []float64
		want       []int
	}{
		{[]float64{1.25e9}, []int{1}},
		{[]float64{1.25e9, 1.25e9}, []int{1, 1}},
		{[]float64{2, 1}, []int{2, 1}},
		{[]float64{1.25e9, 1.25e8}, []int{10, 1}},
		{[]float64{66, 33}, []int{2, 1}},
		{[]float64{1, 1.5}, []int{2, 3}},
		{[]float64{300e6 / 8, 200e6 / 8, 100e6 / 8}, []int{3, 2, 1}},
		{[]float64{1000, 1}, []int{255, 1}},
		{[]float64{255, 1}, []int{255, 1}},
		{[]float64{256, 1}, []int{255, 1}},
		{[]float64{1e9, 900e6, 1}, []int{255, 230, 1}},
		{[]float64{math.Pi, 1}, []int{255, 81}},
		{[]float64{math.Pi, math.E, 1}, []int{255, 221, 81}},
		{[]float64{1.25e9 * (1 + 1e-7), 1.25e8}, []int{10, 1}},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, []int{1, 1}},
		{[]float64{math.MaxFloat64, math.SmallestNonzeroFloat64}, []int{255, 1}},
		{[]float64{float64(float32(1e9) / 3), float64(float32(1e9))}, []int{1, 3}},
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(fmt.Sprint(tt.bandwidths), func(t *testing.T) {
				static := map[Way]int{}
				for w := range bandwidthsOf(f, tt.bandwidths...) {
					static[w] = 77
				}
				got := Bandwidths(bandwidthsOf(f, tt.bandwidths...), static, nil)
				if diff := cmp.Diff(weightsFor(f, tt.want...), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestB_LBW_02_B_LBW_03_AllOrNothing: where one way has no valid bandwidth, all of
// its family keep their weights of the configuration, whatever was before.
func TestB_LBW_02_B_LBW_03_AllOrNothing(t *testing.T) {
	missing := map[string]func(b map[Way]float64, w Way){
		"none":     func(b map[Way]float64, w Way) { delete(b, w) },
		"zero":     func(b map[Way]float64, w Way) { b[w] = 0 },
		"negative": func(b map[Way]float64, w Way) { b[w] = -1.25e9 },
		"NaN":      func(b map[Way]float64, w Way) { b[w] = math.NaN() },
		"+Inf":     func(b map[Way]float64, w Way) { b[w] = math.Inf(1) },
		"-Inf":     func(b map[Way]float64, w Way) { b[w] = math.Inf(-1) },
	}
	for name, spoil := range missing {
		for _, spoilt := range []string{"a", "b", "c"} {
			bothFamilies(t, func(t *testing.T, f fib.Family) {
				t.Run(name+" of "+spoilt, func(t *testing.T) {
					other := fib.IPv4 + fib.IPv6 - f
					b := bandwidthsOf(f, 30, 20, 10)
					maps.Copy(b, bandwidthsOf(other, 1, 2))
					static := weightsFor(f, 5, 1, 256)
					maps.Copy(static, weightsFor(other, 9, 9))
					spoil(b, Way{spoilt, f})
					want := weightsFor(f, 5, 1, 256)
					maps.Copy(want, weightsFor(other, 1, 2))
					if diff := cmp.Diff(want, Bandwidths(b, static, weightsFor(f, 3, 2, 1))); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
				})
			})
		}
	}
	if got := Bandwidths(nil, nil, nil); len(got) != 0 {
		t.Errorf("nothing gives %v", got)
	}
	if got := Bandwidths(bandwidthsOf(fib.IPv4, 1, 2), weightsFor(fib.IPv4, 7), nil); !maps.Equal(got, weightsFor(fib.IPv4, 1)) {
		t.Errorf("a way that is not asked for: %v", got)
	}
}

// TestB_LBW_06_Hysteresis: a change of a share by less than 5 % of it rewrites
// nothing, and a slow drift does in the end.
func TestB_LBW_06_Hysteresis(t *testing.T) {
	tests := []struct {
		previous   []int
		bandwidths []float64
		want       []int
	}{
		{[]int{2, 1}, []float64{2.1, 1}, []int{2, 1}},      // 33.3 % becomes 32.3 %
		{[]int{2, 1}, []float64{2.14, 1}, []int{2, 1}},     // 31.85 %: 4.5 % less
		{[]int{2, 1}, []float64{2.2, 1}, []int{11, 5}},     // 31.25 %: 6.25 % less
		{[]int{1, 1}, []float64{1, 1.08}, []int{1, 1}},     // 48.1 and 51.9 %
		{[]int{1, 1}, []float64{1, 1.2}, []int{5, 6}},      // 45.5 %
		{[]int{255, 1}, []float64{1000, 1}, []int{255, 1}}, // What cannot be had is not tried.
		{[]int{255, 253, 1}, []float64{1000, 999, 1}, []int{255, 253, 1}},
		{[]int{255, 3}, []float64{102.1, 1}, []int{255, 3}}, // Rounding does not swing: 2.498,
		{[]int{255, 2}, []float64{101.9, 1}, []int{255, 2}}, // and 2.502.
		{[]int{255, 3}, []float64{120, 1}, []int{120, 1}},
		{[]int{2, 1}, []float64{3, 2, 1}, []int{3, 2, 1}}, // Another way has come.
		{[]int{2, 0}, []float64{2.1, 1}, []int{21, 10}},   // What never was a weight.
		{[]int{3, 2, 1}, []float64{3, 2}, []int{3, 2}},    // One has gone: the shares of the others are the same.
	}
	for _, tt := range tests {
		bothFamilies(t, func(t *testing.T, f fib.Family) {
			t.Run(fmt.Sprint(tt.previous, tt.bandwidths), func(t *testing.T) {
				b, previous := bandwidthsOf(f, tt.bandwidths...), weightsFor(f, tt.previous...)
				static := weightsFor(f, 1, 1, 1)
				if len(tt.bandwidths) == 2 {
					delete(static, Way{"c", f})
				}
				saved := maps.Clone(previous)
				if diff := cmp.Diff(weightsFor(f, tt.want...), Bandwidths(b, static, previous)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if !maps.Equal(saved, previous) {
					t.Error("an argument was changed")
				}
			})
		})
	}
	t.Run("drift", func(t *testing.T) {
		weights, b, changes := weightsFor(fib.IPv4, 2, 1), bandwidthsOf(fib.IPv4, 2, 1), 0
		static := weightsFor(fib.IPv4, 1, 1)
		for range 100 { // Up to about 5.4:1, by 1 % at a time.
			b[Way{"a", fib.IPv4}] *= 1.01
			next := Bandwidths(b, static, weights)
			if !maps.Equal(next, weights) {
				changes++
			}
			weights = next
		}
		if share := float64(weights[Way{"b", fib.IPv4}]) / float64(weights[Way{"a", fib.IPv4}]+weights[Way{"b", fib.IPv4}]); share > 0.166 {
			t.Errorf("the share of b is still %.3f", share)
		}
		if changes < 5 || changes > 20 {
			t.Errorf("%d of 100 steps of 1 %% rewrote the weights", changes)
		}
	})
}

// TestB_LBW_06_RandomBandwidths: each share is what the bandwidths say, within 5 %
// of it and what rounding makes; weights lie in 1..255; said again, nothing
// changes; and what the arguments are in does not matter.
func TestB_LBW_06_RandomBandwidths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	for range 2000 {
		static, b, scaled := map[Way]int{}, map[Way]float64{}, map[Way]float64{}
		sum, largest := 0.0, 0.0
		for n := range 1 + r.IntN(8) {
			w := Way{string(rune('a' + n)), fib.IPv6}
			static[w], b[w] = 1+r.IntN(256), math.Exp(r.Float64()*12)
			scaled[w] = b[w] * 125000
			sum += b[w]
			largest = max(largest, b[w])
		}
		previous := map[Way]int{}
		for w := range static {
			previous[w] = 1 + r.IntN(255)
		}
		got := Bandwidths(b, static, previous)
		total := 0
		for _, weight := range got {
			total += weight
		}
		for w := range static {
			share, want := float64(got[w])/float64(total), b[w]/sum
			if got[w] < 1 || got[w] > 255 || math.Abs(share-want) > max(0.06*want, float64(len(static))*1.1/255*largest/sum) {
				t.Fatalf("%v gives %v: the share of %s is %.4f, should be %.4f", b, got, w, share, want)
			}
		}
		if again := Bandwidths(b, static, got); !maps.Equal(got, again) {
			t.Fatalf("%v gives %v, then %v", b, got, again)
		}
		if other := Bandwidths(scaled, static, previous); !maps.Equal(got, other) {
			t.Fatalf("%v gives %v, in another unit %v", b, got, other)
		}
	}
}
