package engine

import (
	"context"
	"errors"
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
// daemon, and with it the forwarding, down. died, if not nil, is called before the
// wait: what the task said last is not to be believed meanwhile.
func (e *Engine) supervise(ctx context.Context, name string, task func(context.Context), died func(error)) {
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
			if died != nil {
				died(err)
			}
			e.log.Error("a part of the daemon stopped and is started again", "task", name, "error", err, "wait", wait, "stack", stackOf(err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, restartMost)
		}
	})
}

// errReturned is what a task did that should have run until its context ended.
var errReturned = errors.New("returned early")

// panicError is the panic of a task.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// contain runs task and turns a panic into an error. The context of the task ends
// with it, so that nothing that it started goes on beside its successor.
func contain(ctx context.Context, task func(context.Context)) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	task(ctx)
	return errReturned
}

// stackOf returns where a task panicked, "" if it did not.
func stackOf(err error) string {
	var p *panicError
	if errors.As(err, &p) {
		return string(p.stack)
	}
	return ""
}
