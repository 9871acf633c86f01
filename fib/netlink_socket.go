package fib

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

// wire is a netlink socket as the exchanges see it.
type wire interface {
	// bound limits what follows to timeout (0: none) and to the life of ctx.
	// The caller calls release before the next bound.
	bound(ctx context.Context, timeout time.Duration) (release func())
	// send hands one datagram of messages to the kernel.
	send(datagram []byte) error
	// receive returns the length of the next datagram from the kernel.
	receive(buffer []byte) (int, error)
	close() error
}

// errTruncated is a datagram that did not fit the buffer: some of it is lost.
var errTruncated = errors.New("reply cut off")

// receiveBuffer holds the largest datagram: dumps come in parts of 32 KiB, and a
// single message ends where its longest attribute, 64 KiB, does.
const receiveBuffer = 128 << 10

// socketOptions says what kind of socket to open.
type socketOptions struct {
	// port is the wanted port id; 0 lets the kernel choose.
	port uint32
	// groups are multicast groups to join (RTNLGRP_*).
	groups []int
	// queue is the size of the receive queue, bytes.
	queue int
	// filter, if any, drops events before they are queued.
	filter []unix.SockFilter
}

// namespace is a network namespace that is kept open.
type namespace struct {
	file *os.File
	// inode tells namespaces apart.
	inode uint64
}

const threadNamespace = "/proc/thread-self/ns/net"

// openNamespace opens the network namespace of the calling thread.
func openNamespace() (*namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := os.Open(threadNamespace)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("identify network namespace: %w", err), file.Close())
	}
	return &namespace{file: file, inode: st.Ino}, nil
}

func (n *namespace) close() error { return n.file.Close() }

// do runs f on a thread inside the namespace. Where the thread at hand is
// outside, another one enters it, which needs CAP_SYS_ADMIN, and ends with f.
func (n *namespace) do(f func() error) error {
	runtime.LockOSThread()
	var st unix.Stat_t
	err := unix.Stat(threadNamespace, &st)
	if err == nil && st.Ino == n.inode {
		defer runtime.UnlockOSThread()
		return f()
	}
	runtime.UnlockOSThread()
	if err != nil {
		return fmt.Errorf("identify network namespace: %w", err)
	}
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread is in the wrong namespace for everybody
		// else and ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}

// socket opens a socket in the namespace and returns its port id.
func (n *namespace) socket(o socketOptions) (w wire, port uint32, err error) {
	err = n.do(func() error {
		var s *socket
		if s, port, err = openSocket(o); err == nil {
			w = s
		}
		return err
	})
	return w, port, err
}

// socket is a wire to the kernel of a network namespace.
type socket struct {
	file *os.File
	conn syscall.RawConn
}

func openSocket(o socketOptions) (*socket, uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, 0, fmt.Errorf("open netlink socket: %w", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "netlink")}
	port, err := s.prepare(fd, o)
	if err != nil {
		return nil, 0, errors.Join(err, s.file.Close())
	}
	return s, port, nil
}

func (s *socket) prepare(fd int, o socketOptions) (port uint32, err error) {
	// Each of these is a help that older kernels lack: explanations in errors,
	// errors without a copy of the request, and dumps that are filtered there.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK, unix.NETLINK_GET_STRICT_CHK} {
		err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
		if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return 0, fmt.Errorf("set netlink option %d: %w", option, err)
		}
	}
	if err := setQueue(fd, o.queue); err != nil {
		return 0, err
	}
	if len(o.filter) > 0 {
		// Before the groups, so that no event passes around it.
		program := unix.SockFprog{Len: uint16(len(o.filter)), Filter: &o.filter[0]}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
			return 0, fmt.Errorf("attach event filter: %w", err)
		}
	}
	if port, err = bindNetlink(fd, o.port); err != nil {
		return 0, err
	}
	for _, group := range o.groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return 0, fmt.Errorf("join netlink group %d: %w", group, err)
		}
	}
	s.conn, err = s.file.SyscallConn()
	return port, err
}

// setQueue makes room for size bytes, beyond net.core.rmem_max where we may.
func setQueue(fd, size int) error {
	if size == 0 {
		return nil
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
		return fmt.Errorf("set receive queue: %w", err)
	}
	return nil
}

// bindNetlink binds to the wanted port id, or to another if somebody has it.
func bindNetlink(fd int, port uint32) (uint32, error) {
	err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	if port != 0 && errors.Is(err, unix.EADDRINUSE) {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		return 0, fmt.Errorf("bind netlink socket: %w", err)
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("read netlink port: %w", err)
	}
	nl, ok := self.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("read netlink port: address of type %T", self)
	}
	return nl.Pid, nil
}

// past is a deadline that wakes up whoever waits.
var past = time.Unix(1, 0)

func (s *socket) bound(ctx context.Context, timeout time.Duration) func() {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	// A file that cannot have deadlines would fail in receive as well.
	_ = s.file.SetDeadline(deadline)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.file.SetDeadline(past)
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

func (s *socket) send(datagram []byte) error {
	var err error
	waited := s.conn.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return !again(err)
	})
	return errors.Join(waited, err)
}

func (s *socket) receive(buffer []byte) (n int, err error) {
	waited := s.conn.Read(func(fd uintptr) bool {
		var from unix.Sockaddr
		var flags int
		n, _, flags, from, err = unix.Recvmsg(int(fd), buffer, nil, 0)
		if again(err) {
			return false
		}
		if err != nil {
			return true
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			return false // Not from the kernel, so no word for us.
		}
		if flags&unix.MSG_TRUNC != 0 {
			err = errTruncated
		}
		return true
	})
	if waited != nil {
		return 0, waited
	}
	return n, err
}

// again reports whether a call has to be repeated once the socket is ready.
func again(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
}

func (s *socket) close() error { return s.file.Close() }
