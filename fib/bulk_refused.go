package fib

import (
	"fmt"
	"time"
)

// maxReasons is how many refusals are kept in words; the others are only counted.
const maxReasons = 64

// bulkRefused is what the kernel would not take.
type bulkRefused struct {
	// n counts the refused; keys are they, and some that are no more.
	n    int
	keys []bulkKey
	// at is when they are tried again, wait the last backoff. pause is when anything
	// is written again to a kernel that did not answer at all.
	at, pause time.Time
	wait      time.Duration
	// reasons are those of some of them; last is the prefix of the last one.
	reasons map[bulkKey]refusal
	last    bulkKey
}

type refusal struct {
	words string
	// foreign says that a stranger's route was seen in the place.
	foreign bool
}

func newBulkRefused() bulkRefused { return bulkRefused{reasons: map[bulkKey]refusal{}} }

// add notes why k is refused.
func (r *bulkRefused) add(k bulkKey, why string) {
	r.keys = append(r.keys, k)
	if have, ok := r.reasons[k]; ok && have.foreign {
		return // The better reason.
	}
	r.note(k, refusal{words: why})
}

func (r *bulkRefused) note(k bulkKey, why refusal) {
	if _, ok := r.reasons[k]; ok || len(r.reasons) < maxReasons {
		r.reasons[k] = why
		r.last = k
	}
}

// forget is told when k was taken, or is wanted no more.
func (r *bulkRefused) forget(k bulkKey) {
	if len(r.reasons) > 0 {
		delete(r.reasons, k)
	}
}

// foreign reports whether a stranger is known to be in the place of k.
func (r *bulkRefused) foreign(k bulkKey) bool { return r.reasons[k].foreign }

// later sets when to try again.
func (r *bulkRefused) later(now time.Time) {
	if now.Before(r.at) {
		return
	}
	r.wait = min(max(2*r.wait, bulkRetryFirst), bulkRetryMost)
	r.at = now.Add(r.wait)
}

// hurry tries again at once: the reason may have gone.
func (r *bulkRefused) hurry() { r.at, r.wait = time.Time{}, 0 }

// words returns the last refusal that stands and is known in words.
func (r *bulkRefused) words() string {
	if r.n == 0 {
		return ""
	}
	why, ok := r.reasons[r.last]
	if !ok {
		for r.last, why = range r.reasons {
			break
		}
	}
	words := why.words
	if r.n > 1 {
		words += fmt.Sprintf(" (and %d more)", r.n-1)
	}
	return words
}
