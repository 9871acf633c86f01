package main

import (
	"testing"
	"time"
)

// The load is what it says: live heap, rate and collections are measured by the
// runtime.
func TestLoad(t *testing.T) {
	ctx := testContext(t)
	const live, rate = 32 << 20, 20 << 20
	g := load{LiveBytes: live, BytesPerSecond: rate, Spinners: 1}.start()
	defer g.stop()
	g.begin()
	begin := time.Now()
	var r loadReport
	eventually(ctx, t, "there were some collections", func() (bool, error) {
		r = g.report()
		return r.Cycles >= 2 && r.Allocated > rate, nil
	})
	if got := float64(r.Allocated) / time.Since(begin).Seconds(); got > 2*rate {
		t.Errorf("%.0f octets per second, want about %d", got, rate)
	}
	if r.LiveBytes < live || r.LiveBytes > 3*live {
		t.Errorf("%d octets are live, want about %d", r.LiveBytes, live)
	}
	if r.WorstPause <= 0 || r.Procs < 1 {
		t.Errorf("%+v", r)
	}
}
