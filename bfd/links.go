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

// look returns the interface of that name, with index 0 if there is none. An error
// says nothing about the interface.
func (d devices) look(name string) (device, error) {
	dev := device{name: name}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return dev, fmt.Errorf("look up interface %s: %w", name, err)
	}
	err = unix.IoctlIfreq(d.fd, unix.SIOCGIFINDEX, request)
	if errors.Is(err, unix.ENODEV) {
		return dev, nil
	}
	if err != nil {
		return dev, fmt.Errorf("look up interface %s: %w", name, err)
	}
	index := int(request.Uint32())
	if err := unix.IoctlIfreq(d.fd, unix.SIOCGIFFLAGS, request); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return dev, nil
		}
		return dev, fmt.Errorf("look up flags of interface %s: %w", name, err)
	}
	flags := request.Uint16()
	dev.index, dev.up, dev.running = index, flags&unix.IFF_UP != 0, flags&unix.IFF_RUNNING != 0
	return dev, nil
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
