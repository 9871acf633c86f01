package fib_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/fib"
)

// bucketSplit is nh_res_group_rebalance of net/ipv4/nexthop.c: the upper bounds
// are DIV_ROUND_CLOSEST of the cumulative weights.
func bucketSplit(buckets int, weights []int) []int {
	total := 0
	for _, w := range weights {
		total += w
	}
	out := make([]int, len(weights))
	sum, lower := 0, 0
	for i, w := range weights {
		sum += w
		upper := (buckets*sum + total/2) / total
		out[i] = upper - lower
		lower = upper
	}
	return out
}

func weightsOf(members []fib.Member) []int {
	var out []int
	for _, m := range members {
		out = append(out, m.Weight)
	}
	return out
}

func TestLowerScalesWeights(t *testing.T) {
	for _, tt := range []struct {
		name          string
		kind          fib.GroupType
		weights, want []int
	}{
		{"largest becomes 255", fib.GroupResilient, []int{2, 3}, []int{170, 255}},
		{"equal", fib.GroupResilient, []int{7, 7, 7}, []int{255, 255, 255}},
		{"small ones stay above zero", fib.GroupResilient, []int{1, 256}, []int{1, 255}},
		{"rounds to the nearest", fib.GroupResilient, []int{1, 7}, []int{36, 255}},
		{"single", fib.GroupResilient, []int{256}, []int{255}},
		{"plain groups keep what fits", fib.GroupHashThreshold, []int{2, 3}, []int{2, 3}},
		{"plain groups are capped", fib.GroupHashThreshold, []int{128, 256}, []int{128, 255}},
		{"wrong weights are put in range", fib.GroupHashThreshold, []int{0, -3, 255}, []int{1, 1, 255}},
		{"nothing but wrong weights", fib.GroupResilient, []int{0, 0}, []int{255, 255}},
		{"too large", fib.GroupResilient, []int{1000, 128}, []int{255, 128}},
	} {
		for _, f := range fib.Families {
			t.Run(fmt.Sprintf("%s/%s", tt.name, f), func(t *testing.T) {
				want, problems := fib.Lower(groupOf(f, tt.kind, 60, members(f, 0, tt.weights...)...), able(), owner, nil)
				if diff := cmp.Diff(tt.want, weightsOf(want.Groups[groupID(f)].Members)); diff != "" {
					t.Errorf("weights (-want +got):\n%s", diff)
				}
				wrong := slices.ContainsFunc(tt.weights, func(w int) bool { return w < 1 || w > fib.MaxWeight })
				if wrong != (len(problems) > 0) {
					t.Errorf("weights %v gave the problems %q", tt.weights, problems)
				}
			})
		}
	}
}

// subsets calls each with every subset of members, in order.
func subsets(members []fib.Member, each func([]fib.Member)) {
	for bits := range 1 << len(members) {
		var sub []fib.Member
		for i, m := range members {
			if bits&(1<<i) != 0 {
				sub = append(sub, m)
			}
		}
		each(sub)
	}
}

// standbyBuckets returns the buckets of the standbys of a group that consists of
// these members.
func standbyBuckets(buckets int, actives, standbys []fib.Member) int {
	sum := 0
	for _, n := range bucketSplit(buckets, weightsOf(slices.Concat(actives, standbys)))[len(actives):] {
		sum += n
	}
	return sum
}

func TestLowerStandbysOwnNoBucket(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := []uint16{1, 8, 32, 60, 64, 120, 127, 128, 129, 255, 1024}
	some := 0
	for range 3000 {
		f := fib.Families[rnd.IntN(2)]
		nActive, nStandby := 1+rnd.IntN(4), rnd.IntN(4)
		weights := make([]int, nActive+nStandby)
		for i := range weights {
			weights[i] = 1 + rnd.IntN(1<<rnd.IntN(9))
		}
		buckets := sizes[rnd.IntN(len(sizes))]
		want, problems := fib.Lower(groupOf(f, fib.GroupResilient, buckets, members(f, nStandby, weights...)...), able(), owner, nil)
		if len(problems) > 0 {
			t.Fatalf("weights %v: %q", weights, problems)
		}
		got := want.Groups[groupID(f)].Members
		actives, standbys := got[:nActive], got[nActive:]
		some += len(standbys)
		subsets(actives, func(live []fib.Member) {
			subsets(standbys, func(behind []fib.Member) {
				n := standbyBuckets(int(buckets), live, behind)
				switch {
				case len(behind) == 0:
				case len(live) > 0 && n != 0:
					t.Fatalf("weights %v, %d buckets: %d buckets for the standbys %v behind %v", weights, buckets, n, behind, live)
				case len(live) == 0 && n != int(buckets):
					t.Fatalf("weights %v, %d buckets: standbys %v alone get %d", weights, buckets, behind, n)
				}
			})
		})
		if len(standbys) == nStandby {
			continue
		}
		more := append(slices.Clone(standbys), fib.Member{Weight: 1})
		smallest := slices.MinFunc(actives, func(a, b fib.Member) int { return a.Weight - b.Weight })
		if standbyBuckets(int(buckets), []fib.Member{smallest}, more) == 0 {
			t.Fatalf("weights %v, %d buckets: only %d of %d standbys, although one more would have no bucket", weights, buckets, len(standbys), nStandby)
		}
	}
	if some == 0 {
		t.Fatal("no group had a standby: the test shows nothing")
	}
}

func TestLowerStandbysOfUsualSites(t *testing.T) {
	for _, tt := range []struct {
		name     string
		buckets  uint16
		weights  []int
		standbys int
		want     int // standbys in the kernel
	}{
		{"one active, one standby, small site", 60, []int{1, 1}, 1, 1},
		{"one active, one standby, large site", 120, []int{1, 1}, 1, 1},
		{"one active, two standbys, small site", 60, []int{1, 1, 1}, 2, 2},
		{"one active, two standbys, large site", 120, []int{1, 1, 1}, 2, 1},
		{"2:3 and a standby, small site", 60, []int{2, 3, 1}, 1, 1},
		{"2:3 and a standby, large site", 120, []int{2, 3, 1}, 1, 0},
		{"1:10 and a standby: the two protect each other", 60, []int{1, 10, 1}, 1, 0},
	} {
		for _, f := range fib.Families {
			t.Run(fmt.Sprintf("%s/%s", tt.name, f), func(t *testing.T) {
				want, _ := fib.Lower(groupOf(f, fib.GroupResilient, tt.buckets, members(f, tt.standbys, tt.weights...)...), able(), owner, nil)
				got := want.Groups[groupID(f)].Members
				if n := len(got) - (len(tt.weights) - tt.standbys); n != tt.want {
					t.Errorf("%d standbys, want %d: %v", n, tt.want, got)
				}
				for i := range tt.want {
					if m := got[len(got)-tt.want+i]; m.NextHop != hopID(len(tt.weights)-tt.standbys+i, f)+1 || m.Weight != 1 || m.Standby {
						t.Errorf("standby %d is %+v, want the twin with weight 1", i, m)
					}
				}
			})
		}
	}
}

func TestLNX_NH_15_WeightsFitEveryKernel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		f := fib.Families[rnd.IntN(2)]
		weights := []int{1 + rnd.IntN(fib.MaxWeight), 1 + rnd.IntN(fib.MaxWeight), fib.MaxWeight}
		for _, kind := range []fib.GroupType{fib.GroupResilient, fib.GroupHashThreshold} {
			d := groupOf(f, kind, 60, members(f, 0, weights...)...)
			want, _ := fib.Lower(d, able(), owner, nil)
			for _, w := range weightsOf(want.Groups[groupID(f)].Members) {
				if w < 1 || w > 255 {
					t.Fatalf("%v became weight %d in a %s group", weights, w, kind)
				}
			}
			want, _ = fib.Lower(d, fib.NewState(), owner, nil)
			for _, r := range want.Routes {
				for i, h := range r.Hops {
					if h.Weight != weights[i] {
						t.Fatalf("%v became weight %d in an inline route", weights, h.Weight)
					}
				}
			}
		}
	}
}

// TestLNX_RES_04_SharesOfBuckets shows what 60 and 120 buckets carry. The row asks
// for eight buckets per unit of the reduced weights; a table of fixed size gives
// that only up to a sum of 7 (60 buckets) and 15 (120). Up to there a share is
// exact where the sum divides the table, and less than a bucket off otherwise.
// Beyond, the rounding of weights to 255 adds to it: with weights up to 8 a share
// is off by less than a bucket and a half.
func TestLNX_RES_04_SharesOfBuckets(t *testing.T) {
	for _, buckets := range []int{60, 120} {
		for a := 1; a <= 8; a++ {
			for b := 1; b <= 8; b++ {
				for c := range 9 { // 0: no third member
					checkShares(t, buckets, slices.DeleteFunc([]int{a, b, c}, func(w int) bool { return w == 0 }))
				}
			}
		}
	}
}

func checkShares(t *testing.T, buckets int, weights []int) {
	t.Helper()
	sum := 0
	for _, w := range weights {
		sum += w
	}
	want, _ := fib.Lower(groupOf(fib.IPv4, fib.GroupResilient, uint16(buckets), members(fib.IPv4, 0, weights...)...), able(), owner, nil)
	for i, n := range bucketSplit(buckets, weightsOf(want.Groups[groupID(fib.IPv4)].Members)) {
		exact := float64(buckets*weights[i]) / float64(sum)
		off := max(float64(n)-exact, exact-float64(n))
		enough := 8*sum <= buckets
		if enough && (buckets%sum == 0 && off != 0 || off >= 1) || off >= 1.5 {
			t.Errorf("weights %v of %d buckets: member %d has %d, want %.2f", weights, buckets, i, n, exact)
		}
	}
}
