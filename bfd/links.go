package bfd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// device is an interface as it was when last looked at.
type device struct {
	name string
	// index is 0 while there is no interface of that name.
	index int
	// up: it was switched on; running: it has a carrier.
	up, running bool
}

// devices looks interfaces up in the namespace that its socket is of.
type devices struct{ fd int }

func newDevices() (devices, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return devices{-1}, fmt.Errorf("create socket to look interfaces up: %w", err)
	}
	return devices{fd}, nil
}

func (d devices) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
}

// sight is an interface and what is kept for looking at it again.
type sight struct {
	device
	// words say what is wrong with it.
	words   string
	request *unix.Ifreq
	// round is when it was looked at, changed whether it was another before.
	round   uint
	changed bool
}

// look brings s up to date. An error says nothing about the interface, and changes
// nothing.
func (s *sight) look(d devices) error {
	if s.name == "" {
		return nil
	}
	if s.request == nil {
		var err error
		if s.request, err = unix.NewIfreq(s.name); err != nil {
			return fmt.Errorf("look up interface %s: %w", s.name, err)
		}
	}
	dev := device{name: s.name}
	err := unix.IoctlIfreq(d.fd, unix.SIOCGIFINDEX, s.request)
	if err == nil {
		dev.index = int(s.request.Uint32())
		err = unix.IoctlIfreq(d.fd, unix.SIOCGIFFLAGS, s.request)
	}
	switch {
	case errors.Is(err, unix.ENODEV):
		dev.index = 0
	case err != nil:
		return fmt.Errorf("look up interface %s: %w", s.name, err)
	default:
		flags := s.request.Uint16()
		dev.up, dev.running = flags&unix.IFF_UP != 0, flags&unix.IFF_RUNNING != 0
	}
	if dev != s.device || s.words == "" {
		s.device, s.words = dev, dev.problem()
	}
	return nil
}

// problem says what keeps packets from passing, "" if nothing is known to.
func (d device) problem() string {
	switch {
	case d.name == "":
		return ""
	case d.index == 0:
		return fmt.Sprintf("there is no interface %s (yet)", d.name)
	case !d.up:
		return fmt.Sprintf("the interface %s is down: ip link set %s up", d.name, d.name)
	case !d.running:
		return fmt.Sprintf("the interface %s has no carrier", d.name)
	default:
		return ""
	}
}
