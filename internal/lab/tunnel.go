package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Side is one end of a tunnel.
type Side uint8

// Sides: A is the first host that was given to PointToPoint, B the second.
const (
	SideUnknown Side = iota
	SideA
	SideB
)

// String is "A" or "B".
func (s Side) String() string {
	switch s {
	case SideA:
		return "A"
	case SideB:
		return "B"
	case SideUnknown:
		return "unknown"
	default:
		panic(fmt.Sprintf("lab: no side %d", s))
	}
}

// Tunnel is a point-to-point link: a TUN device on each side and this process,
// which relays the packets between them. It behaves like a PPP link: no
// neighbours, and a device that comes and goes with its session.
type Tunnel struct {
	a, b tunnelEnd
	// silent drops what is relayed; dropped counts it.
	silent  atomic.Bool
	dropped atomic.Uint64
	relays  sync.WaitGroup
}

type tunnelEnd struct {
	host *Host
	dev  string
	mu   sync.Mutex
	// file is the TUN descriptor, nil while the device does not exist.
	file   *os.File
	closed bool
}

// queuePackets is the length of a TUN device's queue. The default of 500 is full in
// a tenth of a second at a few thousand packets per second, and a busy machine
// may well leave the relay without a processor for that long.
const queuePackets = 8192

// relayPacketBytes is more than any packet of a TUN device with the usual MTU.
const relayPacketBytes = 65536

// PointToPoint connects two hosts by a point-to-point link; both devices are up
// on return. It needs /dev/net/tun.
func (l *Lab) PointToPoint(a *Host, devA string, b *Host, devB string) (*Tunnel, error) {
	t := &Tunnel{a: tunnelEnd{host: a, dev: devA}, b: tunnelEnd{host: b, dev: devB}}
	l.atClose(t.close)
	for _, s := range []Side{SideA, SideB} {
		if err := t.Recreate(s); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Cut drops all packets of both directions while silent is true; both devices
// stay up and keep their carrier.
func (t *Tunnel) Cut(silent bool) { t.silent.Store(silent) }

// Dropped counts the packets that the relay dropped: while cut, and because the
// other device was down or gone.
func (t *Tunnel) Dropped() uint64 { return t.dropped.Load() }

// SetCarrier sets or takes the carrier of one side (TUNSETCARRIER).
func (t *Tunnel) SetCarrier(s Side, on bool) error {
	e := t.end(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return fmt.Errorf("set carrier of %s %s: the device does not exist", e.host.name, e.dev)
	}
	value := 0
	if on {
		value = 1
	}
	raw, err := e.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("set carrier of %s %s: %w", e.host.name, e.dev, err)
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) { ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, value) })
	if err := errors.Join(err, ioctlErr); err != nil {
		return fmt.Errorf("set carrier of %s %s: %w", e.host.name, e.dev, err)
	}
	return nil
}

// Delete makes the device of one side vanish, as a PPP device does when its
// session ends. Deleting what is gone already is no error.
func (t *Tunnel) Delete(s Side) error {
	e := t.end(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return nil
	}
	err := e.file.Close()
	e.file = nil
	e.host.forget(e.dev)
	if err != nil {
		return fmt.Errorf("delete %s %s: %w", e.host.name, e.dev, err)
	}
	return nil
}

// Recreate makes the device of one side again, under its name, with another
// index, up, and without addresses.
func (t *Tunnel) Recreate(s Side) error {
	e := t.end(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return fmt.Errorf("create %s %s: %w", e.host.name, e.dev, ErrClosed)
	case e.file != nil:
		return fmt.Errorf("create %s %s: it exists", e.host.name, e.dev)
	}
	file, err := openTUN(e.host, e.dev)
	if err != nil {
		return fmt.Errorf("create %s %s: %w", e.host.name, e.dev, err)
	}
	e.file = file
	t.relays.Add(1)
	go t.relay(file, t.end(s.other()))
	if err := e.host.setQueue(e.dev, queuePackets); err != nil {
		return err
	}
	return e.host.SetUp(e.dev)
}

// setQueue sets the length of the transmit queue, in packets. It must come before
// the device goes up, when its queue is made.
func (h *Host) setQueue(dev string, packets int) error {
	link, err := h.nl.LinkByName(dev)
	if err == nil {
		err = h.nl.LinkSetTxQLen(link, packets)
	}
	if err != nil {
		return fmt.Errorf("set queue of %s %s: %w", h.name, dev, err)
	}
	return nil
}

// relay moves packets from one device to the other end until the device goes. A
// packet that cannot be written is lost, as on any link.
func (t *Tunnel) relay(from *os.File, to *tunnelEnd) {
	defer t.relays.Done()
	packet := make([]byte, relayPacketBytes)
	for {
		n, err := from.Read(packet)
		if err != nil {
			// The only way a TUN read fails for good is that the device went.
			return
		}
		if t.silent.Load() || !to.write(packet[:n]) {
			t.dropped.Add(1)
		}
	}
}

func (e *tunnelEnd) write(packet []byte) bool {
	e.mu.Lock()
	file := e.file
	e.mu.Unlock()
	if file == nil {
		return false
	}
	_, err := file.Write(packet)
	return err == nil
}

// close deletes both devices for good and waits for the relays.
func (t *Tunnel) close() error {
	for _, e := range []*tunnelEnd{&t.a, &t.b} {
		e.mu.Lock()
		e.closed = true
		e.mu.Unlock()
	}
	err := errors.Join(t.Delete(SideA), t.Delete(SideB))
	t.relays.Wait()
	return err
}

func (t *Tunnel) end(s Side) *tunnelEnd {
	switch s {
	case SideA:
		return &t.a
	case SideB:
		return &t.b
	case SideUnknown:
		panic("lab: tunnel side not given")
	default:
		panic(fmt.Sprintf("lab: no side %d", s))
	}
}

func (s Side) other() Side {
	if s == SideA {
		return SideB
	}
	return SideA
}

// openTUN makes the device. The descriptor must be attached before the runtime's
// poller sees it, because an unattached one reports an error for ever.
func openTUN(h *Host, dev string) (*os.File, error) {
	var file *os.File
	err := h.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: explainTUN(err)}
		}
		request, err := unix.NewIfreq(dev)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("attach tun device: %w", err), unix.Close(fd))
		}
		file = os.NewFile(uintptr(fd), "/dev/net/tun")
		return nil
	})
	return file, err
}

// ErrNoTUN says that /dev/net/tun cannot be opened: point-to-point links are not
// to be had, all else is.
var ErrNoTUN = errors.New("no TUN device")

// explainTUN says what to do about a TUN device that cannot be opened.
func explainTUN(err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w (systems with udev give it mode 0666: chmod 0666 /dev/net/tun, or run it with sudo)", ErrNoTUN, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w: %w (modprobe tun; in a container, pass the device in)", ErrNoTUN, err)
	default:
		return fmt.Errorf("%w: %w", ErrNoTUN, err)
	}
}
