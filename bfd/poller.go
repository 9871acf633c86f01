package bfd

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits for packets, for a moment, or for a call of the API.
type poller struct {
	epoll, event int
	events       []unix.EpollEvent
	members      int
	// coarse: the kernel has no epoll_pwait2 (before Linux 5.11).
	coarse bool
}

func newPoller() (*poller, error) {
	p := &poller{epoll: -1, event: -1}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	if p.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		p.close()
		return nil, fmt.Errorf("create event descriptor: %w", err)
	}
	if err := p.add(p.event); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	for _, fd := range []int{p.event, p.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// add watches a socket until it is closed.
func (p *poller) add(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)} //nolint:gosec // a descriptor
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	p.members++
	if p.members > len(p.events) {
		p.events = make([]unix.EpollEvent, 2*p.members)
	}
	return nil
}

// remove ends the watch of a socket, which is closed later.
func (p *poller) remove(fd int) {
	// It fails if the socket is not there, which is what is wanted.
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	p.members--
}

// wake ends the wait that is under way, or the next one. It may be called from any
// thread while the poller is open.
func (p *poller) wake() {
	one := [8]byte{1, 1}
	// It fails when the counter is full, and then the wait ends anyway.
	_, _ = unix.Write(p.event, one[:])
}

// quiet takes back the wake that ended a wait.
func (p *poller) quiet() {
	var count [8]byte
	_, _ = unix.Read(p.event, count[:])
}

// wait returns every socket that has something to read, after at most timeout. They
// are valid until the next call.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	timeout = max(timeout, 0)
	n, err := p.poll(timeout)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for packets: %w", err)
	}
	ready := p.events[:n]
	for i := range ready {
		if int(ready[i].Fd) == p.event {
			p.quiet()
			ready[i] = ready[n-1]
			return ready[:n-1], nil
		}
	}
	return ready, nil
}

func (p *poller) poll(timeout time.Duration) (int, error) {
	if timeout == 0 {
		// It does not block, so the scheduler need not know of it: a thread that
		// tells of a system call may lose its right to run to another.
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		return result(n, errno)
	}
	if !p.coarse {
		// struct __kernel_timespec, of 64 bits everywhere.
		ts := [2]int64{int64(timeout / time.Second), int64(timeout % time.Second)}
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		// A filter of system calls that does not know it may answer EPERM.
		if errno != unix.ENOSYS && errno != unix.EPERM {
			return result(n, errno)
		}
		p.coarse = true
	}
	return unix.EpollWait(p.epoll, p.events, milliseconds(timeout)) //nolint:wrapcheck // wait does
}

// milliseconds rounds up: to wake early would mean to wake again and again.
func milliseconds(d time.Duration) int {
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil //nolint:gosec // what a system call returned
}

// pause waits for a moment, or for a call of the API: packets do not end it.
func (p *poller) pause(timeout time.Duration) {
	if timeout <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(timeout))
	fds := [1]unix.PollFd{{Fd: int32(p.event), Events: unix.POLLIN}} //nolint:gosec // a descriptor
	// An error or signal ends it early, which does no harm.
	_, _ = unix.Ppoll(fds[:], &ts, nil)
}
