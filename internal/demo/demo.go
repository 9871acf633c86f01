package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// Options of the demo.
type Options struct {
	// Out gets the timeline and the closing table.
	Out io.Writer
	// Exe is the path of the multihomed binary.
	Exe string
	// Quick leaves out the second failure of the first ISP.
	Quick bool
	// Limit is how long a failover or a return may take; 0 means 30 s.
	Limit time.Duration
	// Color forces colour on or off; nil means on for a terminal, unless
	// NO_COLOR is set (https://no-color.org).
	Color *bool
}

// defaultLimit is far more than what the demo's configuration needs (0.6 s to
// notice, 2.6 s to return), because it must also hold on a busy machine.
const defaultLimit = 30 * time.Second

// ExitError is the end of a demo that had to run in a user namespace of its own,
// in another process, which has already said why it failed.
type ExitError struct {
	// Code is its exit code, not 0.
	Code int
}

// Error tells the exit code.
func (e *ExitError) Error() string {
	return fmt.Sprintf("run demo in a user namespace: exit code %d, see above", e.Code)
}

// Run runs the demo. The error says which failover or return did not really
// happen. An ordinary user gets the rights for it by lab.Enter: then the program
// runs again with the same arguments, so Run must come before any output; the
// error of a demo that failed there is an [ExitError].
func Run(ctx context.Context, o Options) error {
	outer, code, err := lab.Enter()
	switch {
	case err != nil:
		return fmt.Errorf("run demo: %w", err)
	case outer && code != 0:
		return &ExitError{Code: code}
	case outer:
		return nil
	}
	if o.Limit == 0 {
		o.Limit = defaultLimit
	}
	p := newPrinter(o.Out, useColor(o.Out, o.Color))
	p.title("multihomed demo: a LAN behind an edge with two ISPs, all of it in network namespaces")
	s, err := newStage(ctx, o.Exe, p)
	if err != nil {
		return fmt.Errorf("run demo: %w", err)
	}
	played := play(ctx, s, s.trials(o.Quick), o.Limit, p)
	// Who stopped the demo has no trouble to look into.
	trouble := played != nil && ctx.Err() == nil
	closed := s.close(!trouble)
	if trouble {
		p.note("trouble", "%s", s.trouble())
	}
	if err := errors.Join(played, closed); err != nil {
		return fmt.Errorf("run demo: %w", err)
	}
	return nil
}
