package speaker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxRecords is how many records wait for a log that is slow. More are counted and
	// lost: a log must not stop a speaker, nor whoever starts the next one.
	maxRecords = 512
	// maxUrgent is how many more there may be of those that one will look for.
	maxUrgent = 4
	// logLimit is how long the end of a Supervisor waits until everything is logged.
	logLimit = time.Second
)

// logQueue hands records on in their order, on a goroutine of its own that exists while
// there are any.
type logQueue struct {
	mu      sync.Mutex
	records []queued
	lost    int
	// idle is closed when everything was handed on; nil if nothing was put yet.
	idle    chan struct{}
	writing bool
}

// queued is a record and the handler that it is for.
type queued struct {
	slog.Handler
	slog.Record
}

// put never blocks.
func (q *logQueue) put(r queued, urgent bool) {
	room := maxRecords
	if urgent {
		room += maxUrgent
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) >= room {
		q.lost++
		return
	}
	q.records = append(q.records, r)
	if !q.writing {
		q.writing, q.idle = true, make(chan struct{})
		go q.write(q.idle)
	}
}

// write hands on what there is, and closes idle.
func (q *logQueue) write(idle chan<- struct{}) {
	ctx := context.Background()
	for {
		q.mu.Lock()
		if len(q.records) == 0 {
			q.records, q.writing = nil, false
			close(idle)
			q.mu.Unlock()
			return
		}
		r, lost := q.records[0], q.lost
		q.records[0] = queued{}
		q.records, q.lost = q.records[1:], 0
		q.mu.Unlock()
		if lost > 0 {
			w := slog.NewRecord(time.Now(), slog.LevelWarn, "the log was too slow for the BGP speaker; records are lost", 0)
			w.AddAttrs(slog.Int("count", lost))
			hand(ctx, r.Handler, w)
		}
		hand(ctx, r.Handler, r.Record)
	}
}

// hand gives a record to a handler that wants it.
func hand(ctx context.Context, h slog.Handler, r slog.Record) {
	if h.Enabled(ctx, r.Level) {
		_ = h.Handle(ctx, r) // As slog.Logger does: there is nobody to tell.
	}
}

// flush waits until everything that was put is handed on, but not longer than limit: a
// log that hangs is left behind.
func (q *logQueue) flush(limit time.Duration) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle != nil {
		await(limit, idle, nil)
	}
}

// queueHandler is a handler that never blocks: it puts records into a queue.
type queueHandler struct {
	queue *logQueue
	slog.Handler
}

// Handle puts a record into the queue.
func (h *queueHandler) Handle(_ context.Context, r slog.Record) error {
	h.queue.put(queued{h.Handler, r.Clone()}, false)
	return nil
}

// WithAttrs returns a handler with the same queue.
func (h *queueHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &queueHandler{h.queue, h.Handler.WithAttrs(attrs)}
}

// WithGroup returns a handler with the same queue.
func (h *queueHandler) WithGroup(name string) slog.Handler {
	return &queueHandler{h.queue, h.Handler.WithGroup(name)}
}
