package fib_test

import (
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

func TestBackoffDoubles(t *testing.T) {
	var b fib.Backoff
	now := time.Unix(0, 0)
	if !b.Due(now) {
		t.Error("a fresh backoff waits")
	}
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		want *= time.Millisecond
		if got := b.Fail(now); got != want {
			t.Errorf("wait %d is %s, want %s", i, got, want)
		}
		if b.Due(now.Add(want - 1)) {
			t.Errorf("due before %s", want)
		}
		if !b.Due(now.Add(want)) {
			t.Errorf("not due after %s", want)
		}
	}
}

func TestLimiter(t *testing.T) {
	var l fib.Limiter
	now := time.Unix(1000, 0)
	for i := range fib.RepairBurst {
		if l.Next().After(now) {
			t.Fatalf("repair %d of a burst must wait until %s", i, l.Next())
		}
		l.Spend(now)
	}
	for i := 1; i < 5; i++ {
		if want := now.Add(fib.RepairEvery); !l.Next().Equal(want) {
			t.Fatalf("repair %d after the burst at %s, want %s", i, l.Next(), want)
		}
		now = l.Next()
		l.Spend(now)
	}
	// After a long peace there is one burst, not more.
	now = now.Add(time.Hour)
	for range fib.RepairBurst {
		if l.Next().After(now) {
			t.Fatal("no burst after an hour of peace")
		}
		l.Spend(now)
	}
	if !l.Next().After(now) {
		t.Error("peace was saved up for more than one burst")
	}
}
