package probe

import (
	"math"
	"time"
)

const (
	// minWindow is the least number of probes that shares are drawn from: one
	// probe is then worth 5 %.
	minWindow = 20
	// maxWindow bounds the memory of a target to 8 kB, and the time that a
	// window looks back.
	maxWindow = 1000
	// minEvents keeps a threshold from being crossed by one probe alone: an
	// isolated error is treated with scepticism (RFC 816 section 3).
	minEvents = 2
)

// windowSize returns how many probes a window must hold for a limit on the
// share of lost ones. It is counted in probes and not in time, so that a share
// means the same at every interval; it grows where the limit is finer than 10 %,
// so that minEvents losses in a full window do not exceed the limit.
func windowSize(lossEnter float64) int {
	if lossEnter <= 0 {
		return minWindow
	}
	wanted := math.Ceil(minEvents / lossEnter)
	return int(min(max(wanted, minWindow), maxWindow))
}

// window is a ring of the last finished probes.
type window struct {
	samples []time.Duration // round trips; lostSample marks a lost probe
	next    int
	count   int
	lost    int
	sum     time.Duration // of the round trips
}

const lostSample = time.Duration(-1)

func newWindow(size int) window {
	return window{samples: make([]time.Duration, size)}
}

// add records a finished probe: its round trip, or lostSample.
func (w *window) add(sample time.Duration) {
	if w.count == len(w.samples) {
		w.account(w.samples[w.next], -1)
	} else {
		w.count++
	}
	w.samples[w.next] = sample
	w.account(sample, 1)
	w.next = (w.next + 1) % len(w.samples)
}

func (w *window) account(sample time.Duration, sign int) {
	if sample == lostSample {
		w.lost += sign
		return
	}
	w.sum += sample * time.Duration(sign)
}

func (w *window) reset() {
	w.next, w.count, w.lost, w.sum = 0, 0, 0, 0
}

// full reports whether there are enough samples to judge by: half the window.
func (w *window) full() bool { return w.count*2 >= len(w.samples) }

func (w *window) answered() int { return w.count - w.lost }

// loss is the share of lost probes, 0 if there are no samples.
func (w *window) loss() float64 {
	if w.count == 0 {
		return 0
	}
	return float64(w.lost) / float64(w.count)
}

// mean is the mean round trip, 0 if nothing was answered.
func (w *window) mean() time.Duration {
	if w.answered() == 0 {
		return 0
	}
	return w.sum / time.Duration(w.answered())
}
