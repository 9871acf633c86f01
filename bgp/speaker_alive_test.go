package bgp

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// soon is how long tests wait for what must not come.
const soon = 50 * time.Millisecond

// TestSpeaker_Alive hangs what Alive asks, one after the other.
func TestSpeaker_Alive(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	if err := NewSpeaker(Options{Log: slog.New(slog.DiscardHandler)}).Alive(ctx); !errors.Is(err, errNotRunning) {
		t.Errorf("before Run: %v", err)
	}
	s := pooled(t)
	must(t, s.Alive(ctx))
	silent := func(what string) {
		t.Helper()
		short, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		if err := s.Alive(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.tables.mu.Lock()
	silent("the tables are locked")
	s.tables.mu.Unlock()
	must(t, s.Alive(ctx))

	free, hangs := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- s.do(ctx, func(*manager) { close(hangs); <-free }) }()
	<-hangs
	silent("the manager hangs")
	close(free)
	must(t, <-ended)
	must(t, s.Alive(ctx))
}

// TestSpeaker_AliveLibrary hangs the library within its management. It is not parallel:
// it starts the library.
func TestSpeaker_AliveLibrary(t *testing.T) {
	s := newSite(t)
	free, hangs := make(chan struct{}), make(chan struct{})
	s.log = slog.New(&blocker{Handler: slog.DiscardHandler, at: "Send operation notification", hangs: hangs, free: free})
	s.peer(64501, 0, func(p *Peer) { p.Shutdown = "none" })
	s.apply()
	ctx := testContext(t)
	must(t, s.Alive(ctx))
	var lib *library
	must(t, s.do(ctx, func(m *manager) { lib = m.lib }))
	ended := make(chan error, 1)
	go func() { ended <- lib.reset(nextHost(), "") }()
	<-hangs
	short, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := s.Alive(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the library hangs: %v", err)
	}
	close(free)
	if err := <-ended; err == nil {
		t.Error("there is no such peer, but it was reset")
	}
	must(t, s.Alive(ctx))
}

// blocker is a log that hangs at one message until it is free.
type blocker struct {
	slog.Handler
	at          string
	hangs, free chan struct{}
}

func (b *blocker) Enabled(context.Context, slog.Level) bool { return true }

func (b *blocker) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, b.at) {
		close(b.hangs)
		<-b.free
	}
	return nil
}

func (b *blocker) WithAttrs([]slog.Attr) slog.Handler { return b }

func (b *blocker) WithGroup(string) slog.Handler { return b }
