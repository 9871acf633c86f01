package netmon

import (
	"slices"
	"time"
)

type defaultsResult struct {
	read       defaultsRead
	took       time.Duration
	err        error
	generation int
}

// startDefaults reads default routes on another goroutine; one at a time.
func (l *loop) startDefaults() {
	if l.reading {
		// What is being read may be too old already.
		l.again = true
		return
	}
	if !l.linksDone {
		return
	}
	var indices []int
	for _, name := range l.cfg.LearnFrom {
		if link, ok := l.links[name]; ok && !slices.Contains(indices, link.Index) {
			indices = append(indices, link.Index)
		}
	}
	if len(indices) == 0 {
		l.useDefaults(defaultsResult{}, time.Now())
		return
	}
	l.reading = true
	l.setInterest()
	own, generation := l.cfg.OwnProtocol, l.generation
	go func() {
		began := time.Now()
		read, err := l.m.kernel.defaults(indices, own)
		l.results <- defaultsResult{read: read, took: time.Since(began), err: err, generation: generation}
	}()
}

// takeDefaults takes what the other goroutine has read.
func (l *loop) takeDefaults(r defaultsResult, now time.Time) {
	l.reading = false
	l.count(r.err)
	if l.again {
		l.again = false
		l.m.mark(partDefaults)
	}
	switch {
	case r.generation != l.generation:
		// It was read for another configuration; the right one follows.
	case r.err != nil:
		l.holding = false
		l.failed(partDefaults, r.err)
	default:
		l.recovered(partDefaults)
		l.useDefaults(r, now)
	}
}

// useDefaults makes a reading of default routes the current one.
func (l *loop) useDefaults(r defaultsResult, now time.Time) {
	l.holding = false
	if !r.read.expires.IsZero() {
		r.read.expires = r.read.expires.Add(expiryGrace)
	}
	l.changed = l.changed || !l.defaultsDone || !slices.Equal(l.defaults.defaults, r.read.defaults)
	l.defaults, l.defaultsDone = r.read, true
	l.nextDefaults = now.Add(max(fullEvery, defaultsShare*r.took))
	l.setInterest()
}
