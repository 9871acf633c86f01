package bfd

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// receiverKey says what a receiver hears. Sessions with the same key share it.
type receiverKey struct {
	port port
	v6   bool
	// device and index are those of the interface for packets over one hop. A
	// multihop receiver hears every interface, because the way there may change.
	device string
	index  int
	// local is the address of multihop packets: other programs may have the port
	// at other addresses of this host.
	local netip.Addr
}

func (c Config) receiver(index int) receiverKey {
	k := receiverKey{port: c.port(), v6: c.Peer.Is6()}
	if c.Multihop {
		k.local = c.Local
	} else {
		k.device, k.index = c.Interface, index
	}
	return k
}

// number is the UDP port.
func (p port) number() uint16 {
	switch p {
	case portSingleHop:
		return singleHopPort
	case portMultihop:
		return multihopPort
	case portEcho:
		return echoPort
	default:
		panic(fmt.Sprintf("bfd: unhandled port %d", uint8(p)))
	}
}

// String says where the receiver listens.
func (k receiverKey) String() string {
	if k.device != "" {
		return fmt.Sprintf("UDP port %d on %s", k.port.number(), k.device)
	}
	return fmt.Sprintf("UDP port %d of %s", k.port.number(), k.local)
}

// receiver is a socket by which packets come.
type receiver struct {
	key receiverKey
	fd  int
	// parking keeps the UDP port of a receiver that is no UDP socket, -1 if there
	// is none.
	parking int
	// users are the sessions that need it.
	users int
	// empty is when nothing was left to read. What was read since, while there
	// was more, had arrived by newest.
	empty  reading
	newest instant
	// broken: reading failed with trouble; it is opened anew.
	broken  bool
	trouble error
}

// receiveBuffer holds what may come while this process does not run: thousands of
// packets, which take up to a kilobyte each there.
const receiveBuffer = 4 << 20

// openReceiver opens a socket in the namespace of the thread.
func openReceiver(k receiverKey) (*receiver, error) {
	r := &receiver{key: k, fd: -1, parking: -1}
	var err error
	if k.port == portEcho {
		if r.parking, err = openEchoParking(k.device, k.v6); err == nil {
			r.fd, err = openEchoReceiver(k.index, k.v6)
		}
	} else {
		r.fd, err = openUDPReceiver(k)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	if unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		// Without CAP_NET_ADMIN there is what net.core.rmem_max permits.
		err = setOptions(r.fd, []option{{unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer, "set receive buffer"}})
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *receiver) close() {
	r.closeParking()
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}

// closeParking gives the port back.
func (r *receiver) closeParking() {
	if r.parking >= 0 {
		unix.Close(r.parking)
		r.parking = -1
	}
}

// openUDPReceiver does not share its port (SO_REUSEADDR, SO_REUSEPORT): of two
// programs on it each would miss packets. The kernel refuses IPv6 packets without a
// checksum.
func openUDPReceiver(k receiverKey) (int, error) {
	family := unix.AF_INET
	options := []option{
		{unix.IPPROTO_IP, unix.IP_RECVTTL, 1, "ask for TTL"},
		{unix.IPPROTO_IP, unix.IP_PKTINFO, 1, "ask for packet info"},
	}
	at := netip.IPv4Unspecified()
	if k.v6 {
		family, at = unix.AF_INET6, netip.IPv6Unspecified()
		options = []option{
			{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "take IPv6 only"},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1, "ask for hop limit"},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1, "ask for packet info"},
		}
	}
	options = append(options, option{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1, "ask for timestamps"})
	if k.local.IsValid() {
		at = k.local
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("create socket: %w", err)
	}
	err = setOptions(fd, options)
	if err == nil {
		err = bindToDevice(fd, k.device, k.index)
	}
	if err == nil {
		// Last, so that nothing comes without what the options ask for.
		err = unix.Bind(fd, socketAddress(at, k.port.number(), 0))
	}
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return -1, fmt.Errorf("the address %s is not on this host, or not usable yet: %w", at, err)
	}
	return -1, fmt.Errorf("open %s: %w", k, err)
}

// read takes a batch of packets from the socket and returns how many there are in b.
// more reports whether there may be others.
func (r *receiver) read(b *batch, c *clock) (n int, more bool, err error) {
	before := c.read()
	n, err = b.receive(r.fd)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		n = 0
	case errors.Is(err, unix.ENETDOWN) && r.key.port == portEcho:
		// A packet socket says once that its interface went down, and hears again
		// when it is up (net/packet/af_packet.c packet_notifier).
		return 0, true, nil
	case err != nil:
		return 0, false, fmt.Errorf("receive from %s: %w", r.key, err)
	}
	if n > 0 {
		r.parse(b, n, c.read())
	}
	if n == batchSize {
		return n, true, nil
	}
	// A packet that came after the call is not older than the clock before it.
	r.empty, r.newest = before, before.now
	return n, false, nil
}

// parse fills the datagrams of b from the first n messages. One that is none of ours
// has no payload, and is dropped for that by whoever looks at it.
func (r *receiver) parse(b *batch, n int, at reading) {
	for i := range n {
		d := &b.datagrams[i]
		m := &b.messages[i]
		c := parseControl(b.controls[i][:m.header.Controllen])
		received := int(m.length)
		*d = datagram{port: r.key.port, arrived: at.arrival(c.stamp, r.empty)}
		if at.steps == r.empty.steps {
			r.newest = max(r.newest, d.arrived)
		}
		payload := b.payloads[i][:min(received, payloadSize)]
		if r.key.port == portEcho {
			if !parseFrame(payload, received, d) {
				*d = datagram{port: portEcho}
			}
			d.link = r.key.index
			continue
		}
		d.payload, d.ttl, d.link, d.dst = payload, c.ttl, c.link, c.dst
		d.src = b.source(i)
	}
	if at.steps != r.empty.steps {
		// The wall clock was set: stamps of before say nothing, even if a flood never
		// lets the socket be empty.
		r.empty, r.newest = at, at.now
	}
}
