package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// FlowOptions describe one-way UDP traffic: many flows from one host to another.
type FlowOptions struct {
	From, To *Host
	// Destinations are addresses of To, of either family or of both; flow i
	// goes to Destinations[i modulo their number].
	Destinations []netip.Addr
	// Flows is their number, 1..10000. Flow i has the source port
	// FirstSourcePort+i; 0 means 20000.
	Flows           int
	FirstSourcePort uint16
	// Port is the destination port; 0 means 9 (discard, RFC 863).
	Port uint16
	// Rate is packets per second and flow, 1..10000.
	Rate int
}

// Flows is running traffic. Every packet carries the number of its flow, its own
// sequence number and the time when it was sent, and the receiving end notes what
// arrived; Results and Watch compare the two. Nothing is ever answered, so the way
// back does not matter.
type Flows struct {
	run     uint64
	options FlowOptions
	// base is the origin of the times that are kept, monotonic.
	base  time.Time
	flows []*flow
	sinks []*sink

	stop    chan struct{}
	sending sync.WaitGroup
	once    sync.Once
	closed  error
	// unsent counts packets that the kernel refused to send, sendDelay the
	// worst lateness of the sender in nanoseconds.
	unsent    atomic.Uint64
	sendDelay atomic.Int64
}

// flow is one flow: when each packet was sent and arrived, in nanoseconds since
// the base, by sequence number; 0 in arrived means that it did not.
type flow struct {
	conn *net.UDPConn
	to   netip.AddrPort

	mu            sync.Mutex
	sent, arrived []int64
	duplicates    int
}

const (
	maxFlows = 10000
	maxRate  = 10000
	// flowMagic begins each payload, so that a tap knows our packets.
	flowMagic = 0x6d686c6162464c4f
	// flowPayloadBytes is magic, run, flow, sequence number and send time.
	flowPayloadBytes = 8 + 8 + 4 + 4 + 8
	// maxCatchUp bounds the burst with which a sender that was not scheduled
	// makes up for it; what is later than that is never sent.
	maxCatchUp = 10 * time.Millisecond
	// minPause keeps the sender from waking up for each packet of many.
	minPause = 200 * time.Microsecond
	// drainFor is how long Stop waits for packets on their way.
	drainFor = 300 * time.Millisecond
)

// StartFlows starts the traffic. The caller stops it with Stop before it closes
// the lab.
func StartFlows(o FlowOptions) (*Flows, error) {
	if o.FirstSourcePort == 0 {
		o.FirstSourcePort = 20000
	}
	if o.Port == 0 {
		o.Port = 9
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("start flows: %w", err)
	}
	f := &Flows{run: rand.Uint64(), options: o, base: time.Now(), stop: make(chan struct{})}
	if err := f.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("start flows from %s to %s: %w", o.From.name, o.To.name, err), f.close())
	}
	for _, s := range f.sinks {
		s.start()
	}
	f.sending.Add(1)
	go f.send()
	return f, nil
}

func (o FlowOptions) check() error {
	switch {
	case o.From == nil || o.To == nil:
		return errors.New("no From or no To")
	case len(o.Destinations) == 0:
		return errors.New("no destinations")
	case o.Flows < 1 || o.Flows > maxFlows:
		return fmt.Errorf("%d flows, want 1..%d", o.Flows, maxFlows)
	case int(o.FirstSourcePort)+o.Flows > 65536:
		return fmt.Errorf("%d flows do not fit above source port %d", o.Flows, o.FirstSourcePort)
	case o.Rate < 1 || o.Rate > maxRate:
		return fmt.Errorf("rate %d, want 1..%d packets per second", o.Rate, maxRate)
	}
	return nil
}

// open makes one sink per destination, which also spreads the receive buffers,
// and one socket per flow.
func (f *Flows) open() error {
	o := f.options
	seen := map[netip.Addr]bool{}
	for _, d := range o.Destinations {
		if seen[d] {
			continue
		}
		seen[d] = true
		s, err := openSink(f, o.To, netip.AddrPortFrom(d, o.Port))
		if err != nil {
			return err
		}
		f.sinks = append(f.sinks, s)
	}
	for i := range o.Flows {
		to := netip.AddrPortFrom(o.Destinations[i%len(o.Destinations)], o.Port)
		conn, err := o.From.listenUDP(netip.AddrPortFrom(unspecified(to.Addr()), o.FirstSourcePort+uint16(i)))
		if err != nil {
			return err
		}
		f.flows = append(f.flows, &flow{conn: conn, to: to})
	}
	return nil
}

// send is the goroutine of the sender: it gives the flows their turn at even
// distances. The sockets are not connected, so that an ICMP error about one
// packet does not swallow the next.
func (f *Flows) send() {
	defer f.sending.Done()
	perSecond := int64(f.options.Rate) * int64(len(f.flows))
	gap := int64(time.Second) / perSecond
	// One turn of each flow may always be made up for.
	catchUp := max(int64(maxCatchUp)/max(gap, 1), int64(len(f.flows)))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for turn := int64(0); ; {
		select {
		case <-f.stop:
			return
		case <-timer.C:
		}
		due := f.dueTurn(perSecond)
		if late := (due - turn) * gap; late > f.sendDelay.Load() {
			f.sendDelay.Store(late)
		}
		turn = max(turn, due-catchUp)
		for ; turn <= due; turn++ {
			f.sendOne(int(turn % int64(len(f.flows))))
		}
		next := time.Duration(float64(turn) / float64(perSecond) * float64(time.Second))
		timer.Reset(max(minPause, next-f.now()))
	}
}

// dueTurn is the number of the turn that is due now.
func (f *Flows) dueTurn(perSecond int64) int64 {
	return int64(f.now().Seconds() * float64(perSecond))
}

func (f *Flows) sendOne(i int) {
	fl := f.flows[i]
	var payload [flowPayloadBytes]byte
	fl.mu.Lock()
	now := int64(f.now())
	seq := len(fl.sent)
	fl.sent = append(fl.sent, now)
	fl.mu.Unlock()
	binary.BigEndian.PutUint64(payload[0:], flowMagic)
	binary.BigEndian.PutUint64(payload[8:], f.run)
	binary.BigEndian.PutUint32(payload[16:], uint32(i))
	binary.BigEndian.PutUint32(payload[20:], uint32(seq))
	binary.BigEndian.PutUint64(payload[24:], uint64(now))
	if _, err := fl.conn.WriteToUDPAddrPort(payload[:], fl.to); err != nil {
		f.unsent.Add(1)
	}
}

// Stop ends the traffic, waits for packets that are on their way, and closes all
// sockets. Results and Watch work on. It may be called more than once.
func (f *Flows) Stop() error {
	f.once.Do(func() {
		close(f.stop)
		f.sending.Wait()
		f.drain()
		f.closed = f.close()
	})
	return f.closed
}

// drain waits until everything arrived, or nothing did for a while.
func (f *Flows) drain() {
	tick := time.NewTicker(drainFor / 10)
	defer tick.Stop()
	last, quietSince := 0, time.Now()
	for time.Since(quietSince) < drainFor {
		<-tick.C
		r := f.Results()
		if r.Lost == 0 {
			return
		}
		if r.Received != last {
			last, quietSince = r.Received, time.Now()
		}
	}
}

func (f *Flows) close() error {
	var errs []error
	for _, s := range f.sinks {
		errs = append(errs, s.close())
	}
	for _, fl := range f.flows {
		errs = append(errs, fl.conn.Close())
	}
	return errors.Join(errs...)
}

func (f *Flows) now() time.Duration { return time.Since(f.base) }

// parseFlowPayload reads what sendOne wrote.
func parseFlowPayload(b []byte) (run uint64, flow, seq uint32, ok bool) {
	if len(b) < flowPayloadBytes || binary.BigEndian.Uint64(b) != flowMagic {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:]), true
}

// listenUDP opens a UDP socket of the host, of the family of the address.
func (h *Host) listenUDP(local netip.AddrPort) (*net.UDPConn, error) {
	network := "udp4"
	if local.Addr().Is6() {
		network = "udp6"
	}
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
		return err
	})
	return conn, err
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// receiveBufferBytes is asked for; without CAP_NET_ADMIN on the machine the kernel
// grants no more than net.core.rmem_max.
const receiveBufferBytes = 8 << 20

// growReceiveBuffer does what it may: a small buffer shows as Results.SinkDropped.
func growReceiveBuffer(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBufferBytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBufferBytes)
	}
}
