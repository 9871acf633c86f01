package fib

import "time"

// backoff doubles the time between tries, from retryFirst to retryMost.
type backoff struct {
	wait time.Duration
	at   time.Time
}

// fail counts a failure and returns how long to wait.
func (b *backoff) fail(now time.Time) time.Duration {
	b.wait = min(max(2*b.wait, retryFirst), retryMost)
	b.at = now.Add(b.wait)
	return b.wait
}

// due reports whether the wait is over.
func (b *backoff) due(now time.Time) bool { return !now.Before(b.at) }

// limiter lets repairBurst repairs pass at once and one each repairEvery after.
type limiter struct {
	// full is when the bucket will be full again.
	full time.Time
}

// next returns the earliest time at which a repair may run.
func (l *limiter) next() time.Time {
	return l.full.Add(-(repairBurst - 1) * repairEvery)
}

// spend takes one repair from the bucket.
func (l *limiter) spend(now time.Time) {
	if l.full.Before(now) {
		l.full = now
	}
	l.full = l.full.Add(repairEvery)
}
