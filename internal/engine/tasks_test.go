package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// supervised runs task under supervision in a bubble and returns the engine.
func supervised(t *testing.T, task func(context.Context), died func(error)) (*Engine, *journal, context.CancelFunc) {
	t.Helper()
	j := &journal{}
	e := &Engine{log: j.logger()}
	ctx, stop := context.WithCancel(t.Context())
	e.supervise(ctx, "part", task, died)
	return e, j, stop
}

// TestSupervise_restartsWithBackoff: a part that panics is started again after 250 ms,
// 500 ms and so on up to 30 s, and takes nobody with it.
func TestSupervise_restartsWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Time
		died := 0
		e, j, stop := supervised(t, func(context.Context) {
			starts = append(starts, time.Now())
			panic("boom")
		}, func(err error) {
			died++
			if err.Error() != "panic: boom" {
				t.Errorf("died of %q", err)
			}
		})
		time.Sleep(200 * time.Second)
		stop()
		e.tasks.Wait()
		want := restartFirst
		for i := 1; i < len(starts); i++ {
			if got := starts[i].Sub(starts[i-1]); got != want {
				t.Errorf("restart %d after %s, want %s", i, got, want)
			}
			want = min(2*want, restartMost)
		}
		if len(starts) < 10 || want != restartMost {
			t.Errorf("%d starts, the wait grew to %s", len(starts), want)
		}
		if died != len(starts) {
			t.Errorf("told of %d deaths, there were %d", died, len(starts))
		}
		if n := j.count("started again", "task=part", "boom", "tasks_test.go"); n != len(starts) {
			t.Errorf("%d deaths logged with their stack, want %d", n, len(starts))
		}
	})
}

// TestSupervise_patienceReturns: who ran for long is started again soon.
func TestSupervise_patienceReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended time.Time
		var waits []time.Duration
		e, _, stop := supervised(t, func(context.Context) {
			if !ended.IsZero() {
				waits = append(waits, time.Since(ended))
			}
			time.Sleep(restartMost + time.Second)
			ended = time.Now()
			panic("after a while")
		}, nil)
		time.Sleep(5 * time.Minute)
		stop()
		e.tasks.Wait()
		if len(waits) < 3 {
			t.Fatalf("%d restarts", len(waits))
		}
		for _, w := range waits {
			if w != restartFirst {
				t.Errorf("waited %s, want %s", w, restartFirst)
			}
		}
	})
}

// TestSupervise_end: a part that ends with its context is not started again, and an
// end during the wait is one too.
func TestSupervise_end(t *testing.T) {
	for name, task := range map[string]func(context.Context){
		"while it runs":  func(ctx context.Context) { <-ctx.Done() },
		"while it waits": func(context.Context) {}, // Returns early.
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var starts atomic.Int32
				e, j, stop := supervised(t, func(ctx context.Context) { starts.Add(1); task(ctx) }, nil)
				synctest.Wait()
				before := j.count("started again")
				stop()
				e.tasks.Wait()
				if starts.Load() != 1 || j.count("started again") != before {
					t.Errorf("%d starts, %d deaths", starts.Load(), j.count("started again"))
				}
			})
		})
	}
}

// TestSupervise_helpersEnd: what a part started ends with it, before the part runs a
// second time.
func TestSupervise_helpersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var helpers, most atomic.Int32
		e, _, stop := supervised(t, func(ctx context.Context) {
			go func() {
				most.Store(max(most.Load(), helpers.Add(1)))
				<-ctx.Done()
				helpers.Add(-1)
			}()
			synctest.Wait()
			panic("without its helper")
		}, nil)
		time.Sleep(time.Minute)
		stop()
		e.tasks.Wait()
		synctest.Wait()
		if most.Load() != 1 || helpers.Load() != 0 {
			t.Errorf("%d helpers at once, %d left", most.Load(), helpers.Load())
		}
	})
}
