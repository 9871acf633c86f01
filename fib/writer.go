package fib

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Pace of the writer. None of them delays a change of what is desired.
const (
	// readGap is the least time between two reads of the kernel: a burst of
	// events is read once or twice, not a thousand times.
	readGap = 10 * time.Millisecond
	// retryFirst and retryMost bound the backoff of what the kernel refuses.
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
	// repairBurst repairs may follow each other at once, then repairEvery is
	// the pace: whoever fights us must not cost us a core, and still loses
	// within 100 ms each time.
	repairBurst = 20
	repairEvery = 80 * time.Millisecond
)

// Writer keeps one kernel equal to one desired state. It is not safe for
// concurrent use: one goroutine decides and writes.
type Writer struct {
	kernel Kernel
	owner  Owner

	// actual is what the kernel holds as last read and acknowledged; known says
	// that it was read at least once.
	actual State
	known  bool
	readAt time.Time
	// stale names why the kernel may differ from actual; "" if it should not.
	stale string

	// last is the desired state of the last Sync; synced says that the kernel
	// took all of it.
	last   Desired
	synced bool
	// lowered is how last was lowered, if the kernel took all of it.
	lowered *lowering
	// drawn are the kernel ids that the desired groups were given by the last lowering,
	// groups those of them that the kernel holds, nil if that has to be found out.
	drawn, groups map[uint32]uint32
	// problems are those of last; they stay until it is written again.
	problems []string
	// looked holds the tables whose intruders are in actual.
	looked map[uint32]bool
	// begun says that there was a Sync before: the first one has to write even
	// an empty desired state.
	begun bool

	// retry paces what the kernel refused, reads what it would not tell.
	retry   backoff
	reads   backoff
	repairs limiter
}

// NewWriter returns a Writer that has not read k yet.
func NewWriter(k Kernel, o Owner) *Writer { return &Writer{kernel: k, owner: o} }

// Report is what one Sync did.
type Report struct {
	// Done and Failed are the ops that were tried, in order.
	Done   []Op
	Failed []Failure
	// Repairs are the ops among Done that brought back what had vanished or had
	// been changed, or removed what had appeared, although nobody here wanted
	// that.
	Repairs []Op
	// Cause is what Invalidate was told, if the kernel was read for it.
	Cause string
	// Problems are parts of the desired state that cannot be had at present, and
	// foreign defaults that win over ours, in words. They are repeated until they
	// are gone.
	Problems []string
	// Read says that the kernel was read; ReadErr is why it could not be.
	Read    bool
	ReadErr error
	// InSync says that the kernel holds what was desired, as far as is known. What
	// a stranger's route in front of it does is said in Problems.
	InSync bool
	// Wake is when Sync must be called again although nothing happens; the
	// zero Time if it need not.
	Wake time.Time
}

// Failure is an op that the kernel refused.
type Failure struct {
	Op  Op
	Err error
}

// Error returns "ip …: cause".
func (f Failure) Error() string { return f.Op.String() + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f Failure) Unwrap() error { return f.Err }

// Invalidate says that the kernel may differ from what the writer remembers, and
// why. The next Sync reads it again.
func (w *Writer) Invalidate(why string) {
	if w.stale == "" {
		w.stale = why
	}
}

// SetOwner changes what is recognised as ours. The kernel is read again before
// anything is written: what is known was picked by the other rule. What that rule
// owned and o does not is foreign from now on and stays; to remove it, sync an
// empty Desired first.
func (w *Writer) SetOwner(o Owner) {
	if o != w.owner {
		w.owner, w.known, w.begun = o, false, false
		w.drawn, w.groups = nil, nil
		w.Invalidate("another owner")
	}
}

// Actual returns the kernel state as last read and acknowledged, and whether it
// was ever read under the present owner. The caller must not change it.
func (w *Writer) Actual() (State, bool) { return w.actual, w.known }

// GroupIDs returns the kernel ids of the groups of the last Sync that the kernel
// holds, as far as is known, by their ids as Desired names them. The map is the same
// until something changed, and is never changed.
func (w *Writer) GroupIDs() map[uint32]uint32 {
	if w.groups == nil {
		w.groups = make(map[uint32]uint32, len(w.last.Groups))
		for _, g := range w.last.Groups {
			id, drawn := w.drawn[g.ID]
			if _, ok := w.actual.Groups[id]; ok && drawn {
				w.groups[g.ID] = id
			}
		}
	}
	return w.groups
}

// Read makes sure that the kernel was read once.
func (w *Writer) Read(ctx context.Context, now time.Time) error {
	if w.known {
		return nil
	}
	return w.read(ctx, now)
}

// Sync makes the kernel equal to d as far as it can be. A change of d is written
// at once, from memory; only then is the kernel read, if it may differ, and
// repaired. Sync never gives up: what failed is in the report and is tried again
// by the Sync at Report.Wake, or by an earlier one that has something to do. The
// caller must not change what d refers to afterwards.
func (w *Writer) Sync(ctx context.Context, d Desired, now time.Time) Report {
	var rep Report
	if !w.known && !w.firstRead(ctx, now, &rep) {
		return rep
	}
	if !w.begun || !d.equal(w.last) {
		if !w.regroup(ctx, d, &rep) {
			w.write(ctx, d, &rep)
		}
		w.last, w.begun = d, true
		if !w.synced {
			w.Invalidate("a write failed")
		}
	} else if !w.synced && w.retry.due(now) {
		w.Invalidate("retry of what failed")
	}
	if w.stale != "" && w.mayRead(now, &rep) {
		w.reread(ctx, d, now, &rep)
	}
	rep.InSync, rep.Problems = w.synced && w.stale == "", w.problems
	switch {
	case w.synced:
		w.retry = backoff{}
	case w.retry.due(now):
		rep.wake(now.Add(w.retry.fail(now)))
	default:
		rep.wake(w.retry.at)
	}
	return rep
}

// firstRead reads the kernel before anything is written, and reports whether it
// is known now.
func (w *Writer) firstRead(ctx context.Context, now time.Time, rep *Report) bool {
	if w.reads.due(now) {
		rep.ReadErr = w.read(ctx, now)
		rep.Read = rep.ReadErr == nil
	}
	if !w.known {
		rep.wake(w.reads.at)
	}
	return w.known
}

// mayRead applies the pace of reading and repairing.
func (w *Writer) mayRead(now time.Time, rep *Report) bool {
	at := w.readAt.Add(readGap)
	for _, t := range []time.Time{w.reads.at, w.repairs.next()} {
		if t.After(at) {
			at = t
		}
	}
	if now.Before(at) {
		rep.wake(at)
		return false
	}
	return true
}

// reread reads the kernel and writes what differs.
func (w *Writer) reread(ctx context.Context, d Desired, now time.Time, rep *Report) {
	rep.Cause = w.stale
	before := w.actual
	if err := w.read(ctx, now); err != nil {
		rep.ReadErr = err
		rep.wake(w.reads.at)
		return
	}
	rep.Read = true
	n := len(rep.Done)
	rep.Failed = nil // What failed on old knowledge may succeed on new.
	w.write(ctx, d, rep)
	for _, op := range rep.Done[n:] {
		if before.agrees(op) {
			rep.Repairs = append(rep.Repairs, op)
		}
	}
	if len(rep.Repairs) > 0 {
		w.repairs.spend(now)
	}
}

func (w *Writer) read(ctx context.Context, now time.Time) error {
	s, err := w.kernel.List(ctx, w.owner)
	if err != nil {
		w.reads.fail(now)
		return fmt.Errorf("read kernel: %w", err)
	}
	w.actual, w.known, w.readAt, w.stale, w.reads = s, true, now, "", backoff{}
	w.looked = tablesOf(s.Routes)
	return nil
}

// write brings the kernel from actual to d. Next hops go first in their own
// right: one that is refused is left out and the rest is planned again, so that
// a bad member costs nothing but itself. Deletions go last and only as far as
// nothing that failed before may still need what they remove.
func (w *Writer) write(ctx context.Context, d Desired, rep *Report) {
	w.synced = true
	skip := map[uint32]bool{}
	for {
		l := lowered(d, w.actual, w.owner, skip)
		ops := Plan(l.want, w.actual, w.owner.Protocol)
		n, deletions := leading(ops), firstDeletion(ops)
		failed := w.apply(ctx, ops[:n], rep)
		if !leaveOut(skip, failed, d, w.owner) {
			failed = append(failed, w.apply(ctx, ops[n:deletions], rep)...)
			w.apply(ctx, harmless(ops[deletions:], failed, w.actual), rep)
			w.lowered, w.drawn, w.groups = nil, l.kernelID, nil
			if len(skip)+len(l.problems) == 0 && w.synced {
				w.lowered = l
			}
			w.lookInto(ctx, l.want)
			w.problems = l.inWords(w.actual)
			return
		}
	}
}

// leading returns how many ops at the front are next hops, and the contents of
// groups that need no new one.
func leading(ops []Op) int {
	n := 0
	for i, op := range ops {
		if _, ok := op.Object.(NextHop); ok && op.Verb != Delete {
			n = i + 1
		}
	}
	return n
}

// apply writes ops and records what the kernel acknowledged.
func (w *Writer) apply(ctx context.Context, ops []Op, rep *Report) []Failure {
	if len(ops) == 0 {
		return nil
	}
	var failed []Failure
	for i, err := range w.kernel.Apply(ctx, ops) {
		if err != nil {
			failed = append(failed, Failure{ops[i], err})
			continue
		}
		w.actual.acknowledge(ops[i])
		rep.Done = append(rep.Done, ops[i])
	}
	if len(failed) > 0 {
		w.synced = false
		rep.Failed = append(rep.Failed, failed...)
	}
	return failed
}

// leaveOut adds the desired next hops that failed to skip, and reports whether
// there was one.
func leaveOut(skip map[uint32]bool, failed []Failure, d Desired, o Owner) bool {
	found := false
	for _, f := range failed {
		hop, ok := f.Op.Object.(NextHop)
		if !ok {
			continue
		}
		for _, n := range d.NextHops {
			if !skip[n.ID] && o.sameObject(n.ID, hop.ID) {
				skip[n.ID] = true
				found = true
			}
		}
	}
	return found
}

// wake moves the time of the next call forward to t.
func (r *Report) wake(t time.Time) {
	if r.Wake.IsZero() || t.Before(r.Wake) {
		r.Wake = t
	}
}

// equal compares two desired states as written: another order is another state,
// which costs a plan and no more.
func (d Desired) equal(o Desired) bool {
	return slices.EqualFunc(d.Groups, o.Groups, func(a, b Group) bool {
		return a.ID == b.ID && a.equal(b) && slices.Equal(a.Members, b.Members)
	}) && d.equalButGroups(o)
}

// NotReady reports whether err only says that a link is not there or not up, so
// that the op will succeed once it is.
func NotReady(err error) bool {
	for _, e := range []error{unix.ENETDOWN, unix.ENODEV, unix.ENETUNREACH, unix.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
