package bgp

import (
	"sync/atomic"
	"time"
)

// brake keeps the library from reading faster than we judge. Its queue of events has
// no bound: two peers that send a table at once fill the memory with paths that wait,
// because they have two goroutines and those who hear them one. A session that reads
// an UPDATE asks the log whether that is worth a line; there it is made to wait for a
// moment, as long as what we hear is old, and TCP slows down the peer.
type brake struct{ on atomic.Bool }

// When the brake is put on and taken off, by the age of what is heard; and for how long
// each UPDATE waits then. Locks of the library are held meanwhile, which nobody who is
// in a hurry needs: what is urgent has a stream of its own.
const (
	brakeOn   = 100 * time.Millisecond
	brakeOff  = 10 * time.Millisecond
	brakeWait = 2 * time.Millisecond
)

// heard notes the age of what was just heard.
func (b *brake) heard(age time.Duration) {
	switch {
	case age > brakeOn:
		b.on.Store(true)
	case age < brakeOff:
		b.on.Store(false)
	}
}

// wait waits for a moment if the brake is on.
func (b *brake) wait() {
	if b.on.Load() {
		time.Sleep(brakeWait)
	}
}
