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
		r := defaultsResult{generation: generation}
		// A panic is a reading that failed: the loop waits for a result.
		r.err = contain(func() (err error) {
			r.read, err = l.m.kernel.defaults(indices, own)
			return err
		})
		r.took = time.Since(began)
		l.results <- r
	}()
}

// takeDefaults takes what the other goroutine has read.
func (l *loop) takeDefaults(r defaultsResult, now time.Time) {
	l.reading = false
	l.count(r.err)
	panicked := l.m.report("default routes", r.err, &l.said)
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
		if panicked {
			// What else it has spoilt is not known.
			l.retry |= partAll
		}
	default:
		l.useDefaults(r, now)
	}
}

// useDefaults makes a reading of default routes the current one.
func (l *loop) useDefaults(r defaultsResult, now time.Time) {
	l.holding = false
	l.said = ""
	l.recovered(partDefaults)
	if !r.read.expires.IsZero() {
		r.read.expires = r.read.expires.Add(expiryGrace)
	}
	l.changed = l.changed || !l.defaultsDone || !slices.Equal(l.defaults.defaults, r.read.defaults)
	l.defaults, l.defaultsDone = r.read, true
	l.nextDefaults = now.Add(max(fullEvery, defaultsShare*r.took))
	l.setInterest()
}
