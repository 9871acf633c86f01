package fib

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// line is a socket that is opened when it is needed and dropped when its answers
// can no longer be trusted.
type line struct {
	wire   wire
	port   uint32
	seq    uint32
	buffer []byte
}

// requestQueue holds the answers to a batch of maxBatch, in the kernel's
// accounting of almost 1 KiB for the smallest datagram, many times over.
const requestQueue = 1 << 20

// open makes sure that l has a socket. It asks for the same port id as before,
// by which Watch tells our own writes.
func (k *Netlink) open(l *line) error {
	if l.wire != nil {
		return nil
	}
	w, port, err := k.connect(socketOptions{port: l.port, queue: requestQueue})
	if err != nil {
		return err
	}
	l.wire, l.port = w, port
	if l.buffer == nil {
		l.buffer = make([]byte, receiveBuffer)
	}
	k.shared.Lock()
	defer k.shared.Unlock()
	switch l {
	case &k.writer:
		k.port = port
	case &k.bulk.writer:
		k.bulkPort = port
	}
	return nil
}

// close drops the socket; the next open gets another.
func (l *line) close() error {
	if l.wire == nil {
		return nil
	}
	err := l.wire.close()
	l.wire = nil
	return err
}

// reset is close where nobody cares why closing failed: what broke the socket is
// already being reported.
func (l *line) reset() { _ = l.close() }

// next returns the first of n sequence numbers in a row, and with n = 0 the one
// that the next call will return. 0 is never used: events carry it.
func (l *line) next(n int) uint32 {
	if l.seq > 1<<31 {
		l.seq = 0
	}
	first := l.seq + 1
	l.seq += uint32(n)
	return first
}

// request is a message without its header.
type request struct {
	kind, flags uint16
	body        []byte
}

func (r request) encode(dst []byte, seq uint32) []byte {
	w := &builder{b: dst}
	start := w.begin(r.kind, r.flags, seq)
	w.raw(r.body...)
	w.end(start)
	return w.b
}

// ask sends requests, each of which is answered by one message, and calls
// answer with each. An error of ask means that some are unanswered.
func (k *Netlink) ask(ctx context.Context, l *line, requests []request, answer func(i int, h header, body []byte, err error)) error {
	if err := k.open(l); err != nil {
		return err
	}
	first := l.next(len(requests))
	var batch []byte
	for i, r := range requests {
		batch = r.encode(batch, first+uint32(i))
	}
	return k.exchange(ctx, l, batch, first, len(requests), answer)
}

// exchange sends batch, whose n messages are numbered from first, and calls
// answer once for each that the kernel answers. Answers to anything else are
// left over from an exchange that was given up, and are ignored. On error l is
// reset, so that nothing of this exchange is left over in its queue.
func (k *Netlink) exchange(ctx context.Context, l *line, batch []byte, first uint32, n int,
	answer func(i int, h header, body []byte, err error),
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	release := l.wire.bound(ctx, k.timeout)
	defer release()
	if err := l.wire.send(batch); err != nil {
		l.reset()
		return fmt.Errorf("send request: %w", reason(ctx, err))
	}
	answered := make([]bool, n)
	for left := n; left > 0; {
		err := l.receive(func(h header, body []byte) error {
			i := h.seq - first
			if i >= uint32(n) || answered[i] {
				return nil
			}
			answered[i] = true
			left--
			var verdict error
			if h.kind == unix.NLMSG_ERROR {
				verdict = decodeVerdict(h, body)
			}
			answer(int(i), h, body, verdict)
			return nil
		})
		if err != nil {
			l.reset()
			return fmt.Errorf("receive %d of %d replies: %w", left, n, reason(ctx, err))
		}
	}
	return nil
}

// reason prefers the end of ctx to the deadline by which it woke us up, and says
// in words what an expired deadline means.
func reason(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the kernel does not answer: %w", err)
	default:
		return err
	}
}

// receive reads one datagram and calls each with its messages.
func (l *line) receive(each func(h header, body []byte) error) error {
	n, err := l.wire.receive(l.buffer)
	if err != nil {
		return err
	}
	for rest := l.buffer[:n]; len(rest) > 0; {
		var h header
		var body []byte
		if h, body, rest, err = nextMessage(rest); err != nil {
			return err
		}
		if err := each(h, body); err != nil {
			return err
		}
	}
	return nil
}

// errInterrupted is a dump during which the kernel's list changed
// (NLM_F_DUMP_INTR): what was read is a mixture of before and after.
var errInterrupted = errors.New("the list changed while it was read")

// errEnough ends a dump whose rest is of no interest.
var errEnough = errors.New("enough")

// dumpTries is how often a dump is started. One that is interrupted this often
// runs against somebody who never stops writing.
const dumpTries = 10

// dump asks for a list and calls each with every object of it. Where the list
// changed meanwhile, or a part of it was lost, it calls restart, if that is not
// nil, and begins anew: each never sees a list with holes unless an error is
// returned.
func (k *Netlink) dump(ctx context.Context, l *line, r request, restart func(), each func(h header, body []byte) error) error {
	var err error
	for range dumpTries {
		if err = k.dumpOnce(ctx, l, r, each); !worthAnother(err) {
			return err
		}
		if restart != nil {
			restart()
		}
	}
	return fmt.Errorf("%d tries: %w", dumpTries, err)
}

func worthAnother(err error) bool {
	return errors.Is(err, errInterrupted) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, errTruncated) ||
		errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EBUSY)
}

func (k *Netlink) dumpOnce(ctx context.Context, l *line, r request, each func(h header, body []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := k.open(l); err != nil {
		return err
	}
	seq := l.next(1)
	r.flags |= unix.NLM_F_DUMP
	err := k.oneBound(ctx, l, func() error { return l.wire.send(r.encode(nil, seq)) })
	interrupted, done := false, false
	for err == nil && !done {
		err = k.oneBound(ctx, l, func() error {
			return l.receive(func(h header, body []byte) error {
				if h.seq != seq || done {
					return nil // Left over from a dump that was given up.
				}
				interrupted = interrupted || h.flags&unix.NLM_F_DUMP_INTR != 0
				switch h.kind {
				case unix.NLMSG_DONE, unix.NLMSG_ERROR:
					done = true
					return decodeVerdict(h, body)
				case unix.NLMSG_OVERRUN:
					return unix.ENOBUFS
				case unix.NLMSG_NOOP:
					return nil
				default:
					return each(h, body)
				}
			})
		})
	}
	if err != nil {
		if !done {
			l.reset()
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		return reason(ctx, err)
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

// oneBound runs f, one send or receive, within the timeout: a dump may take as
// long as it needs while its parts keep coming.
func (k *Netlink) oneBound(ctx context.Context, l *line, f func() error) error {
	release := l.wire.bound(ctx, k.timeout)
	defer release()
	return f()
}
