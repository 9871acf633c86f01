package speaker

import (
	"context"
	"fmt"
	"time"
)

// probe asks the speaker for signs of life, and ends the child whose speaker gives
// none, so that a new one takes its place.
func (s *server) probe(ctx context.Context) error {
	tick := time.NewTicker(s.step)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var err error
		s.bounded(ctx, "it did not answer", func() { err = s.voice.Alive(ctx) })
		if ended(ctx) {
			return ctx.Err()
		}
		// One error is no death: the speaker may not have begun yet, on a busy machine.
		if failed++; err == nil {
			failed = 0
		}
		if failed >= hangSteps {
			return fmt.Errorf("the speaker is of no use: %w", err)
		}
	}
}

// bounded calls f, which calls the speaker, and ends the child if that does not return:
// what says what it did not do. The child then ends without f.
func (s *server) bounded(ctx context.Context, what string, f func()) {
	returned := make(chan struct{})
	defer close(returned)
	go func() {
		tick := time.NewTicker(s.step)
		defer tick.Stop()
		for range hangSteps {
			select {
			case <-ctx.Done():
				return
			case <-returned:
				return
			case <-tick.C:
			}
		}
		select {
		case <-returned:
			return
		default:
		}
		s.stop(fmt.Errorf("the speaker hangs: %s for %v", what, hangSteps*s.step))
	}()
	f()
}
