package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Tap notes which flows come in by a device: on the device of an ISP towards the
// edge, it tells which flows that ISP carries.
type Tap struct {
	dev  string
	file *os.File
	done sync.WaitGroup

	mu   sync.Mutex
	seen map[passageKey]*Passage
}

type passageKey struct {
	run  uint64
	flow uint32
}

// Passage is what a tap saw of one flow since it was opened or reset.
type Passage struct {
	Packets int
	// Source and Destination are the addresses of the last packet.
	Source, Destination netip.Addr
	// First and Last are when packets were seen, FirstSeq and LastSeq their
	// numbers.
	First, Last       time.Time
	FirstSeq, LastSeq uint32
}

// NewTap opens a tap on a device of h. It sees what comes in and passes on all of
// it; Close ends it, and so does the end of the lab's owner.
func NewTap(h *Host, dev string) (*Tap, error) {
	t := &Tap{dev: dev, seen: map[passageKey]*Passage{}}
	index, err := h.Index(dev)
	if err != nil {
		return nil, fmt.Errorf("open tap: %w", err)
	}
	err = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		growReceiveBuffer(fd)
		// Protocol 0 above and the bind below: nothing of other devices is
		// queued before the socket knows its own.
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}),
		)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		t.file = os.NewFile(uintptr(fd), "tap "+dev)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open tap on %s %s: %w", h.name, dev, err)
	}
	t.done.Add(1)
	go t.receive()
	return t, nil
}

// Close ends the tap; what it saw can still be asked for.
func (t *Tap) Close() error {
	err := t.file.Close()
	t.done.Wait()
	return err
}

// Reset forgets what was seen.
func (t *Tap) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.seen)
}

// Seen are the flows of f that passed, by number.
func (t *Tap) Seen(f *Flows) map[int]Passage { return t.SeenSince(f, time.Time{}) }

// SeenSince are the flows of f of which a packet passed at or after since.
func (t *Tap) SeenSince(f *Flows, since time.Time) map[int]Passage {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[int]Passage{}
	for key, p := range t.seen {
		if key.run == f.run && !p.Last.Before(since) {
			seen[int(key.flow)] = *p
		}
	}
	return seen
}

// tapPacketBytes is enough for the headers of both families and our payload.
const tapPacketBytes = 256

// receive is the goroutine of the tap. A device that goes down is reported as an
// error once and may come back; the goroutine ends when the socket is closed.
func (t *Tap) receive() {
	defer t.done.Done()
	packet := make([]byte, tapPacketBytes)
	for {
		n, err := t.file.Read(packet)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		t.note(packet[:n], time.Now())
	}
}

func (t *Tap) note(packet []byte, now time.Time) {
	source, destination, payload, ok := parseUDP(packet)
	if !ok {
		return
	}
	run, flow, seq, ok := parseFlowPayload(payload)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := passageKey{run, flow}
	p := t.seen[key]
	if p == nil {
		p = &Passage{First: now, FirstSeq: seq}
		t.seen[key] = p
	}
	p.Packets++
	p.Source, p.Destination, p.Last, p.LastSeq = source, destination, now, seq
}

const (
	ipv4HeaderBytes = 20
	ipv6HeaderBytes = 40
	udpHeaderBytes  = 8
)

// parseUDP reads an IP packet that carries UDP; fragments and IPv6 extension
// headers do not occur in our traffic.
func parseUDP(b []byte) (source, destination netip.Addr, payload []byte, ok bool) {
	if len(b) == 0 {
		return source, destination, nil, false
	}
	header := 0
	switch b[0] >> 4 {
	case 4:
		header = int(b[0]&0x0f) * 4
		if header < ipv4HeaderBytes || len(b) < header+udpHeaderBytes || b[9] != unix.IPPROTO_UDP {
			return source, destination, nil, false
		}
		source, destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	case 6:
		header = ipv6HeaderBytes
		if len(b) < header+udpHeaderBytes || b[6] != unix.IPPROTO_UDP {
			return source, destination, nil, false
		}
		source, destination = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	default:
		return source, destination, nil, false
	}
	return source, destination, b[header+udpHeaderBytes:], true
}

// networkOrder is htons, which AF_PACKET wants for protocol numbers.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
