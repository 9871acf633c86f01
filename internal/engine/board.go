package engine

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/multihomed/multihomed/internal/uplink"
)

// Board holds the latest word of every source. Sources put, the engine looks;
// nobody waits for anybody.
type Board struct {
	poke chan struct{}

	mu       sync.Mutex // guards evidence
	evidence uplink.Snapshot
}

// NewBoard returns an empty board.
func NewBoard() *Board {
	return &Board{poke: make(chan struct{}, 1), evidence: uplink.Snapshot{}}
}

// Put replaces what e's source said before, and pokes the engine if that changes
// anything that a decision could depend on. Since is kept while the opinions stay
// the same, those of targets too, and is now where e has none. The caller must not
// change the targets afterwards.
func (b *Board) Put(e uplink.Evidence) {
	b.mu.Lock()
	old, known := b.evidence[e.Source]
	if e.Since.IsZero() {
		e.Since = time.Now()
	}
	agrees := known && sameOpinions(old, e)
	if agrees {
		e.Since = old.Since
	}
	b.evidence[e.Source] = e
	b.mu.Unlock()
	if !agrees || old.Reason != e.Reason {
		b.Poke()
	}
}

// Drop removes what a source said: it does not exist any more.
func (b *Board) Drop(src uplink.Source) {
	b.mu.Lock()
	_, known := b.evidence[src]
	delete(b.evidence, src)
	b.mu.Unlock()
	if known {
		b.Poke()
	}
}

// Snapshot returns a copy of everything on the board.
func (b *Board) Snapshot() uplink.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.evidence)
}

// Poke makes the engine look. It never blocks.
func (b *Board) Poke() {
	select {
	case b.poke <- struct{}{}:
	default:
	}
}

// C has a value when the engine should look.
func (b *Board) C() <-chan struct{} { return b.poke }

// sameOpinions reports whether two words of one source agree. Fresh figures with
// the same opinions are for the status only.
func sameOpinions(a, b uplink.Evidence) bool {
	return a.Opinion == b.Opinion && slices.EqualFunc(a.Targets, b.Targets, func(x, y uplink.Target) bool {
		return x.Address == y.Address && x.Opinion == y.Opinion
	})
}
