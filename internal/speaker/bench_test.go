package speaker

import (
	"context"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// BenchmarkRoutes is how long a million routes of both families take from one process
// to another, where they are read and thrown away.
//
//	go test -run '^$' -bench Routes -benchtime 3x ./internal/speaker
func BenchmarkRoutes(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		var first time.Time
		count := 0
		done := make(chan time.Duration, 1)
		r := newReal(b, childRoutes, Options{Routes: func(_ context.Context, batch bgp.Batch) {
			if count == 0 {
				first = time.Now()
			}
			if count += len(batch.Routes); batch.Synced {
				done <- time.Since(first)
			}
		}})
		ctx, stop := context.WithCancel(context.Background())
		over := make(chan struct{})
		go func() { r.Run(ctx); close(over) }()
		b.StartTimer()
		r.Set(config("a"))
		took := <-done
		b.StopTimer()
		b.ReportMetric(float64(count)/took.Seconds(), "routes/s")
		stop()
		<-over
		b.StartTimer()
	}
}

// BenchmarkCodec is the binary form of routes alone.
func BenchmarkCodec(b *testing.B) {
	batch := bgp.Batch{}
	for n := range maxRoutes {
		batch.Routes = append(batch.Routes, route(n))
	}
	wire := appendBatch(nil, batch)
	buf := make([]bgp.Route, 0, maxRoutes)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			wire = appendBatch(wire[:0], batch)
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := readBatch(wire, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(len(wire))/maxRoutes, "octets/route")
}
