package probe

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery is how often a socket that waits looks whether its device is still
// the one of that name.
const lookEvery = time.Second

// poll makes the epoll set, which does not listen yet. An epoll set can itself be
// polled, which is how the runtime waits for it (epoll(7)).
func (s *socket) poll() error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	s.event = unix.EpollEvent{Fd: int32(s.fd)}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, s.fd, &s.event); err != nil {
		return errors.Join(err, closeFD(set))
	}
	// Without this os.NewFile takes it for a file that cannot be polled.
	if err := unix.SetNonblock(set, true); err != nil {
		return errors.Join(err, closeFD(set))
	}
	s.file = os.NewFile(uintptr(set), "icmp")
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return errors.Join(err, s.file.Close())
	}
	return nil
}

// arm makes the set listen, for one packet or burst of packets, or not.
func (s *socket) arm(set int) error {
	if s.armed == s.listen {
		return nil
	}
	s.event.Events = 0
	if s.listen {
		s.event.Events = unix.EPOLLIN | unix.EPOLLONESHOT
	}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_MOD, s.fd, &s.event); err != nil {
		return err
	}
	s.armed = s.listen
	return nil
}

func (s *socket) wait(until time.Time, listen bool) (arrived bool, err error) {
	if err := s.file.SetReadDeadline(until); err != nil {
		return false, fmt.Errorf("set deadline: %w", err)
	}
	s.listen = listen
	err = s.raw.Read(s.waitFD)
	if err == nil {
		err = s.err
	}
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false, fmt.Errorf("wait for packets: %w", err)
	}
	if time.Since(s.looked) < lookEvery {
		return !listen, nil
	}
	if err := s.raw.Control(s.lookFD); err != nil {
		return false, fmt.Errorf("check device: %w", err)
	}
	return !listen, s.err
}

// look returns an error if the name of the device is gone or belongs to another
// one. The kernel does not tell the socket: on Linux 6.18 a send through a
// vanished device fails with ENETUNREACH, which is also what a missing route
// says (TestSocketWait).
func (s *socket) look() error {
	s.looked = time.Now()
	request, err := unix.NewIfreq(s.name)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", s.name, err)
	}
	if err := unix.IoctlIfreq(s.fd, unix.SIOCGIFINDEX, request); err != nil {
		return fmt.Errorf("look up device %s: %w", s.name, err)
	}
	if index := int(request.Uint32()); index != s.device {
		return fmt.Errorf("device %s has index %d, was %d: %w", s.name, index, s.device, unix.ENODEV)
	}
	return nil
}
