package bfd

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"
)

// journal writes the log on a goroutine of its own, because who reads it may be slow.
type journal struct {
	log   *slog.Logger
	lines chan func()
	lost  atomic.Uint64
	ended chan struct{}
	// troubled: the last wait failed. Only the loop uses it.
	troubled bool
}

// journalLines may wait to be written; what comes then is counted.
const journalLines = 1024

func newJournal(log *slog.Logger) *journal {
	return &journal{log: log, lines: make(chan func(), journalLines), ended: make(chan struct{})}
}

// run writes until close.
func (j *journal) run() {
	defer close(j.ended)
	for line := range j.lines {
		line()
		if n := j.lost.Swap(0); n > 0 {
			j.log.Warn("bfd log lines were lost, because writing them took too long", "count", n)
		}
	}
}

// close waits until everything is written. Only the loop writes, which has ended.
func (j *journal) close() {
	close(j.lines)
	<-j.ended
}

func (j *journal) put(line func()) {
	select {
	case j.lines <- line:
	default:
		j.lost.Add(1)
	}
}

func (j *journal) event(e Event) {
	j.put(func() {
		j.log.Info("bfd session changed", "peer", e.Peer, "interface", e.Interface, "old", e.Old, "new", e.New,
			"diag", e.Diag, "remote_state", e.RemoteState, "remote_diag", e.RemoteDiag)
	})
}

func (j *journal) problem(c Config, problem string) {
	j.put(func() {
		if problem == "" {
			j.log.Info("bfd session has what it needs", "peer", c.Peer, "interface", c.Interface)
			return
		}
		j.log.Warn("bfd session cannot work, it is tried again", "peer", c.Peer, "interface", c.Interface, "reason", problem)
	})
}

// trouble tells of an error of the loop, once until well.
func (j *journal) trouble(err error) {
	if j.troubled {
		return
	}
	j.troubled = true
	j.put(func() { j.log.Error("bfd has trouble with its sockets, and goes on", "reason", err) })
}

func (j *journal) well() { j.troubled = false }

// dropLog tells of packets that were not taken: a line for each reason, and not more
// than one in a while (RFC 5880 section 9).
type dropLog struct {
	// told is what was counted when it was told of, at saidAt.
	told   [drops]uint64
	saidAt [drops]instant
	// noted is what was counted at the last packet, whose origin is in latest.
	noted  [drops]uint64
	latest [drops]netip.Addr
}

// dropsEvery is the least time between two lines about the same reason.
const dropsEvery = time.Minute

func newDropLog() dropLog {
	var l dropLog
	for i := range l.saidAt {
		l.saidAt[i] = -dropsEvery
	}
	return l
}

// note remembers where a packet came from that was not taken.
func (l *dropLog) note(t *table, d *datagram) {
	for i := range t.dropped {
		if t.dropped[i] != l.noted[i] {
			l.noted[i], l.latest[i] = t.dropped[i], d.src
		}
	}
}

// look logs what is new.
func (l *dropLog) look(t *table, j *journal, now instant) {
	for i, n := range t.dropped {
		if n == l.told[i] || now-l.saidAt[i] < dropsEvery {
			continue
		}
		count, from, reason := n-l.told[i], l.latest[i], Drop(i) //nolint:gosec // below drops
		l.told[i], l.saidAt[i] = n, now
		j.put(func() {
			j.log.Info("bfd packets were dropped", "reason", reason, "count", count, "latest_from", from)
		})
	}
}
