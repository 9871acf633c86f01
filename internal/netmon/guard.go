package netmon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

const (
	// restartMin and restartMax bound the time until a part of the monitor that
	// panicked is started again.
	restartMin = 100 * time.Millisecond
	restartMax = 5 * time.Second
)

// panicError is a panic that was contained.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// contain runs f and turns a panic into a *panicError: a panic in a goroutine of ours
// would end the process, and with it the forwarding, whatever our caller does about
// panics of its own.
func contain(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value, debug.Stack()}
		}
	}()
	return f()
}

// guard runs task until ctx ends, and again with backoff after a panic. A task reads
// everything when it starts, so that nothing is lost with its former life.
func (m *Monitor) guard(ctx context.Context, name string, task func(context.Context)) {
	var said said
	for pause := restartMin; ; pause = min(2*pause, restartMax) {
		began := time.Now()
		err := contain(func() error {
			task(ctx)
			return nil
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began) > restartMax {
			pause, said = restartMin, ""
		}
		m.report(name, err, &said)
		waitContext(ctx, pause)
	}
}

// said is the panic that was logged last; "" for none.
type said string

// report counts a panic, and logs it unless it is the one that was logged last. It
// tells whether err is one.
func (m *Monitor) report(name string, err error, last *said) bool {
	var p *panicError
	if !errors.As(err, &p) {
		return false
	}
	m.counters.panics.Add(1)
	if text := said(p.Error()); text != *last {
		*last = text
		m.log.Error("a part of the network monitor failed and is started again; report this as a defect", "part", name, "reason", err, "stack", string(p.stack))
	}
	return true
}
