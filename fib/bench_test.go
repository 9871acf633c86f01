package fib_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

var benchSizes = []int{1, 8, 64}

// BenchmarkPlan plans a failover: one way of n becomes a standby, in both
// families.
func BenchmarkPlan(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("uplinks=%d", n), func(b *testing.B) {
			s := evenSite(n)
			k := fibtest.New()
			bring(b, k, s.desired())
			actual := list(b, k)
			want, _ := fib.Lower(s.with(0, out).desired(), actual, owner, nil)
			b.ReportAllocs()
			for b.Loop() {
				if len(fib.Plan(want, actual, owner.Protocol)) == 0 {
					b.Fatal("nothing to do")
				}
			}
		})
	}
}

// BenchmarkSync fails over and back, one Sync per iteration.
func BenchmarkSync(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("uplinks=%d", n), func(b *testing.B) {
			k := fibtest.New()
			w := fib.NewWriter(k, owner)
			states := [2]fib.Desired{evenSite(n).desired(), evenSite(n).with(0, out).desired()}
			now := time.Unix(0, 0)
			w.Sync(context.Background(), states[0], now)
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				if rep := w.Sync(context.Background(), states[i%2], now); !rep.InSync || len(rep.Done) == 0 {
					b.Fatalf("report %+v", rep)
				}
			}
		})
	}
}

// BenchmarkSyncSame is what a poke costs that changes nothing.
func BenchmarkSyncSame(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("uplinks=%d", n), func(b *testing.B) {
			w := fib.NewWriter(fibtest.New(), owner)
			now := time.Unix(0, 0)
			w.Sync(context.Background(), evenSite(n).desired(), now)
			same := evenSite(n).desired()
			b.ReportAllocs()
			for b.Loop() {
				w.Sync(context.Background(), same, now)
			}
		})
	}
}
