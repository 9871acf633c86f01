package fib

import "time"

// Privates for the tests of package fib_test.

// Paces of the writer.
const (
	ReadGap     = readGap
	RetryFirst  = retryFirst
	RetryMost   = retryMost
	RepairBurst = repairBurst
	RepairEvery = repairEvery
)

// Lower is lower.
func Lower(d Desired, actual State, o Owner, skip map[uint32]bool) (State, []string) {
	return lower(d, actual, o, skip)
}

// Harmless is harmless.
func Harmless(deletions []Op, failed []Failure, actual State) []Op {
	return harmless(deletions, failed, actual)
}

// Backoff is a backoff.
type Backoff struct{ b backoff }

// Fail is fail.
func (b *Backoff) Fail(now time.Time) time.Duration { return b.b.fail(now) }

// Due is due.
func (b *Backoff) Due(now time.Time) bool { return b.b.due(now) }

// Limiter is a limiter.
type Limiter struct{ l limiter }

// Next is next.
func (l *Limiter) Next() time.Time { return l.l.next() }

// Spend is spend.
func (l *Limiter) Spend(now time.Time) { l.l.spend(now) }

// ParkedKeys returns how many keys are kept for prefixes that wait for a group.
func (b *Bulk) ParkedKeys(group uint32) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, _ := b.groups.offset(group)
	return len(b.groups.get(i).parked)
}

// Entries returns how many prefixes are remembered.
func (b *Bulk) Entries() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.routes.v4) + len(b.routes.v6)
}
