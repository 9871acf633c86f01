package netmon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bufferBytes holds any datagram of the kernel: it fills dumps up to 32 KiB,
	// and to more only for a single message that does not fit.
	bufferBytes = 64 << 10
	// answerWithin is how long a request may take. The kernel answers within the
	// system calls, so that only a machine that is stuck runs into it.
	answerWithin = 10 * time.Second
)

var (
	// errInterrupted is NLM_F_DUMP_INTR: the list changed while it was read and
	// may lack entries. It is to be read again, never to be used.
	errInterrupted = errors.New("dump interrupted by a change")
	// errTruncated means that a datagram was longer than bufferBytes.
	errTruncated = errors.New("netlink datagram truncated")
)

// conn is an rtnetlink socket. It is used by one goroutine, except for close.
type conn struct {
	file *os.File
	raw  syscall.RawConn
	buf  []byte
	seq  uint32
	// events is true for a socket that is only listened to.
	events bool
	// idle is called when there is nothing to receive, before waiting; it may be
	// nil.
	idle func()
	// receiveOnce is made once, so that receiving allocates nothing.
	receiveOnce func(fd uintptr) bool
	n           int
	err         error
}

// dial opens a socket in the namespace ns (nil: that of the thread). prepare may
// set options before the socket is used.
func dial(ns *os.File, prepare func(fd int) error) (*conn, error) {
	var c *conn
	err := inNamespace(ns, func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink socket: %w", err)
		}
		// Bound first: bind(2) takes a socket out of the groups that it joined.
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err == nil {
			err = prepare(fd)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("set up netlink socket: %w", err), unix.Close(fd))
		}
		c, err = newConn(os.NewFile(uintptr(fd), "rtnetlink"))
		return err
	})
	return c, err
}

func newConn(file *os.File) (*conn, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use netlink socket: %w", err), file.Close())
	}
	c := &conn{file: file, raw: raw, buf: make([]byte, bufferBytes)}
	c.receiveOnce = func(fd uintptr) bool {
		for {
			c.n, c.err = c.receiveFrom(int(fd))
			if errors.Is(c.err, unix.EINTR) {
				continue
			}
			if errors.Is(c.err, unix.EAGAIN) && c.idle != nil {
				c.idle()
			}
			return !errors.Is(c.err, unix.EAGAIN)
		}
	}
	return c, nil
}

// receiveFrom reads one datagram. Of events only the head matters, and read(2)
// avoids the allocation of a sender's address.
func (c *conn) receiveFrom(fd int) (int, error) {
	if c.events {
		return unix.Read(fd, c.buf)
	}
	n, _, err := unix.Recvfrom(fd, c.buf, unix.MSG_TRUNC)
	return n, err
}

// receive waits for a datagram. The slice is valid until the next call.
func (c *conn) receive() ([]byte, error) {
	if err := c.raw.Read(c.receiveOnce); err != nil {
		return nil, fmt.Errorf("receive from netlink: %w", err)
	}
	switch {
	case c.err != nil:
		return nil, fmt.Errorf("receive from netlink: %w", c.err)
	case c.n > len(c.buf):
		return nil, errTruncated
	}
	return c.buf[:c.n], nil
}

func (c *conn) close() { _ = c.file.Close() }

// refusal is the kernel's own answer to a request, as opposed to a socket that
// does not work.
type refusal struct{ errno unix.Errno }

func (r refusal) Error() string { return r.errno.Error() }
func (r refusal) Unwrap() error { return r.errno }

// request sends a request and gives each message of the answer to each, which may
// be nil. An error of each is returned at the end: the answer is always read to
// its end, so that the socket stays in step. Flags are NLM_F_*.
func (c *conn) request(kind uint16, flags int, body []byte, each func(message) error) error {
	c.seq++
	flags |= unix.NLM_F_REQUEST
	if flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP {
		flags |= unix.NLM_F_ACK
	}
	b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, uint16(flags))
	b = native.AppendUint32(b, c.seq)
	b = native.AppendUint32(b, 0)
	b = append(b, body...)
	if err := c.send(b); err != nil {
		return err
	}
	if err := c.file.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return fmt.Errorf("limit netlink request: %w", err)
	}
	a := answer{seq: c.seq, each: each}
	for !a.done {
		b, err := c.receive()
		if err != nil {
			return err
		}
		if err := a.take(b); err != nil {
			return err
		}
	}
	switch {
	case a.refused != 0:
		return refusal{a.refused}
	case a.interrupted:
		return errInterrupted
	}
	return a.err
}

func (c *conn) send(b []byte) error {
	var sendErr error
	err := c.raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		for sendErr == unix.EINTR {
			sendErr = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}
		return sendErr != unix.EAGAIN
	})
	if err := errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	return nil
}

// answer collects what the kernel replies to one request.
type answer struct {
	seq         uint32
	each        func(message) error
	done        bool
	interrupted bool
	refused     unix.Errno
	err         error
}

// take reads one datagram; its error means that the socket is out of step.
func (a *answer) take(b []byte) error {
	for len(b) > 0 {
		m, rest, ok := nextMessage(b)
		if !ok {
			return errMalformed
		}
		b = rest
		if m.seq != a.seq {
			// The rest of an earlier request that was given up.
			continue
		}
		if m.flags&unix.NLM_F_DUMP_INTR != 0 {
			a.interrupted = true
		}
		switch m.kind {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			if len(m.body) < 4 {
				return errMalformed
			}
			a.done = true
			if code := int32(native.Uint32(m.body)); code < 0 {
				a.refused = unix.Errno(-code)
			}
		default:
			if a.each == nil {
				continue
			}
			if err := a.each(m); err != nil && a.err == nil {
				a.err = err
			}
		}
	}
	return nil
}

// currentNamespace is the network namespace of the calling thread.
func currentNamespace() (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return f, nil
}

// inNamespace runs f on a thread that is in the network namespace ns. In the
// normal case, the whole process in one namespace, it calls no setns(2), which
// would need CAP_SYS_ADMIN.
func inNamespace(ns *os.File, f func() error) error {
	if ns == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// A thread that cannot go home stays locked and ends with the
		// goroutine, so that nobody else ever runs in the wrong namespace.
		home, err := visit(ns, f)
		if home {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// visit tells whether the thread is back in the namespace it came from, which it is
// after a panic of f too: the main thread of a process cannot end, and would stay
// where it is.
func visit(ns *os.File, f func() error) (home bool, err error) {
	own, err := currentNamespace()
	if err != nil {
		return true, err
	}
	defer func() { _ = own.Close() }()
	ours, err := own.Stat()
	if err != nil {
		return true, fmt.Errorf("identify network namespace: %w", err)
	}
	wanted, err := ns.Stat()
	if err != nil {
		return true, fmt.Errorf("identify network namespace: %w", err)
	}
	if os.SameFile(ours, wanted) {
		return true, contain(f)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return true, fmt.Errorf("enter network namespace: %w", err)
	}
	err = contain(f)
	return unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil, err
}

// waitContext waits for d or the end of ctx.
func waitContext(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
