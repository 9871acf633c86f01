package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Pace of restarts of a part that died.
const (
	restartFirst = 250 * time.Millisecond
	restartMost  = 30 * time.Second
)

// supervise runs task in its own goroutine until ctx ends. A task that panics or
// returns early is logged and started again with backoff: no part may take the
// daemon, and with it the forwarding, down.
func (e *Engine) supervise(ctx context.Context, name string, task func(context.Context)) {
	e.tasks.Go(func() {
		wait := restartFirst
		for {
			started := time.Now()
			err := contain(ctx, task)
			if ctx.Err() != nil {
				return
			}
			if time.Since(started) > restartMost {
				wait = restartFirst
			}
			e.log.Error("a part of the daemon stopped and is started again", "task", name, "error", err, "wait", wait)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, restartMost)
		}
	})
}

// contain runs task and turns a panic into an error.
func contain(ctx context.Context, task func(context.Context)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	task(ctx)
	return fmt.Errorf("returned early")
}
