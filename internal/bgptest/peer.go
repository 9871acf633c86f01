package bgptest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Options say what a Peer is.
type Options struct {
	// AS of the peer, and its identifier.
	AS uint32
	ID netip.Addr
	// HoldTime that is offered, whole seconds; 0 means 90s, and less than 0 offers 0.
	HoldTime time.Duration
	// Families of the multiprotocol capabilities; nil means IPv4.
	Families []Family
	// NoFourOctetAS leaves that capability out.
	NoFourOctetAS bool
	// NoRouteRefresh leaves that capability out.
	NoRouteRefresh bool
	// ExtendedNextHop says that IPv4 routes may have IPv6 next hops.
	ExtendedNextHop bool
	GracefulRestart *GracefulRestart
	// Capabilities come after those.
	Capabilities []Capability
	// Open, if not nil, is sent instead of an OPEN message made of all that.
	Open []byte
	// Silent sends no KEEPALIVEs but the one that answers the OPEN.
	Silent bool
	// Forget keeps no routes and no updates that were heard, only counts.
	Forget bool
	// ReceiveBuffer is the number of octets that are read at once; 0 means 64 KiB.
	ReceiveBuffer int
}

// OpenMessage is the OPEN message that o describes.
func (o Options) OpenMessage() []byte {
	if o.Open != nil {
		return o.Open
	}
	m := Open{Version: 4, AS: o.AS, ShortAS: asTrans, HoldTime: max(o.HoldTime, 0), ID: o.ID}
	if o.HoldTime == 0 {
		m.HoldTime = 90 * time.Second
	}
	if o.AS <= 0xffff {
		m.ShortAS = uint16(o.AS)
	}
	families := o.Families
	if families == nil {
		families = []Family{IPv4}
	}
	for _, f := range families {
		m.Capabilities = append(m.Capabilities, Capability{CapMultiprotocol, append(binary.BigEndian.AppendUint16(nil, f.AFI()), 0, f.SAFI())})
	}
	if !o.NoRouteRefresh {
		m.Capabilities = append(m.Capabilities, Capability{Code: CapRouteRefresh})
	}
	if !o.NoFourOctetAS {
		m.Capabilities = append(m.Capabilities, Capability{CapFourOctetAS, binary.BigEndian.AppendUint32(nil, o.AS)})
	}
	if o.ExtendedNextHop {
		m.Capabilities = append(m.Capabilities, Capability{CapExtendedNextHop, []byte{0, 1, 0, 1, 0, 2}})
	}
	if o.GracefulRestart != nil {
		m.Capabilities = append(m.Capabilities, o.GracefulRestart.capability())
	}
	m.Capabilities = append(m.Capabilities, o.Capabilities...)
	return m.Message()
}

// Peer is one connection. Its methods may be called from several goroutines.
type Peer struct {
	o    Options
	conn net.Conn
	// writing is held for one message or more, so that they do not mix.
	writing sync.Mutex
	once    sync.Once
	done    chan struct{}

	mu      sync.Mutex
	heard   Heard
	changed chan struct{} // closed and replaced whenever heard changes
	gate    chan struct{} // nil, or closed by Resume
}

// Heard is what the other side said so far.
type Heard struct {
	// Open is the OPEN message, if HasOpen.
	Open    Open
	HasOpen bool
	// Established: OPEN and KEEPALIVE were heard.
	Established bool
	// Routes are those that are announced and not withdrawn.
	Routes map[netip.Prefix]*Attributes
	// Updates are all of them, in order. Announced and Withdrawn count prefixes.
	Updates              []Update
	Announced, Withdrawn int
	// Messages counts all messages by type, Updates too.
	Messages [256]int
	// EndOfRIB counts markers.
	EndOfRIB map[Family]int
	// Refresh are the families of ROUTE-REFRESH messages.
	Refresh []Family
	// Notification is the last one, nil if there was none.
	Notification *Notification
	// Closed is set when the connection has ended, Err says how: io.EOF for an
	// orderly end.
	Closed bool
	Err    error
}

// Start sends the OPEN message on conn and serves it from then on. The caller
// closes the Peer.
func Start(conn net.Conn, o Options) *Peer {
	p := &Peer{
		o: o, conn: conn, done: make(chan struct{}), changed: make(chan struct{}),
		heard: Heard{Routes: map[netip.Prefix]*Attributes{}, EndOfRIB: map[Family]int{}},
	}
	go p.read()
	return p
}

// Connect dials until a session is established or ctx ends.
func Connect(ctx context.Context, dial func(ctx context.Context) (net.Conn, error), o Options) (*Peer, error) {
	return establish(ctx, dial, o)
}

// Accept takes connections from l until a session is established or ctx ends; the
// listener stays open.
func Accept(ctx context.Context, l net.Listener, o Options) (*Peer, error) {
	type deadline interface{ SetDeadline(t time.Time) error }
	accept := func(ctx context.Context) (net.Conn, error) {
		d, ok := l.(deadline)
		if !ok {
			return l.Accept()
		}
		if err := d.SetDeadline(time.Time{}); err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = d.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		return l.Accept()
	}
	return establish(ctx, accept, o)
}

// retry is the pause between attempts.
const retry = 50 * time.Millisecond

func establish(ctx context.Context, connect func(ctx context.Context) (net.Conn, error), o Options) (*Peer, error) {
	var last error
	for {
		conn, err := connect(ctx)
		if err == nil {
			p := Start(conn, o)
			if err = p.WaitEstablished(ctx); err == nil {
				return p, nil
			}
			p.Close()
		}
		last = err
		pause := time.NewTimer(retry)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, fmt.Errorf("establish session: %w: %w", ctx.Err(), last)
		case <-pause.C:
		}
	}
}

// read is the goroutine of the connection.
func (p *Peer) read() {
	defer close(p.done)
	err := p.Send(p.o.OpenMessage())
	size := p.o.ReceiveBuffer
	if size == 0 {
		size = 64 << 10
	}
	r := bufio.NewReaderSize(p.conn, size)
	buf := make([]byte, 65535)
	for err == nil {
		p.pass()
		var kind uint8
		var body []byte
		if kind, body, err = readMessage(r, buf); err == nil {
			err = p.take(kind, body)
		}
	}
	p.note(func(h *Heard) { h.Closed, h.Err = true, err })
	p.once.Do(func() { _ = p.conn.Close() })
}

// take notes one message and answers it.
func (p *Peer) take(kind uint8, body []byte) (err error) {
	answer := false
	p.note(func(h *Heard) {
		h.Messages[kind]++
		switch kind {
		case TypeOpen:
			h.Open, err = decodeOpen(body)
			h.HasOpen, answer = err == nil, err == nil
		case TypeKeepalive:
			if h.HasOpen && !h.Established {
				h.Established = true
				if !p.o.Silent {
					go p.keepAlive(p.interval(h.Open.HoldTime))
				}
			}
		case TypeUpdate:
			err = p.update(h, body)
		case TypeNotification:
			if len(body) < 2 {
				err = errors.New("read NOTIFICATION: it is cut")
				return
			}
			h.Notification = &Notification{body[0], body[1], append([]byte(nil), body[2:]...)}
		case TypeRouteRefresh:
			if len(body) >= 4 {
				h.Refresh = append(h.Refresh, Family(binary.BigEndian.Uint16(body))<<16|Family(body[3]))
			}
		default:
			err = fmt.Errorf("read message: type %d", kind)
		}
	})
	if answer {
		return p.Send(Keepalive())
	}
	return err
}

func (p *Peer) update(h *Heard, body []byte) error {
	_, wide := h.Open.Capability(CapFourOctetAS)
	u, err := DecodeUpdate(body, wide && !p.o.NoFourOctetAS)
	if err != nil {
		return err
	}
	h.Announced += len(u.Announced)
	h.Withdrawn += len(u.Withdrawn)
	if u.EndOfRIB != 0 {
		h.EndOfRIB[u.EndOfRIB]++
	}
	if p.o.Forget {
		return nil
	}
	h.Updates = append(h.Updates, u)
	for _, w := range u.Withdrawn {
		delete(h.Routes, w)
	}
	for _, a := range u.Announced {
		h.Routes[a] = &u.Attributes
	}
	return nil
}

// interval is a third of the hold time that was agreed on, 0 for none.
func (p *Peer) interval(theirs time.Duration) time.Duration {
	ours := p.o.HoldTime
	if ours == 0 {
		ours = 90 * time.Second
	}
	return max(min(ours, theirs)/3, 0)
}

// keepAlive is a goroutine that ends with the connection.
func (p *Peer) keepAlive(every time.Duration) {
	if every == 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ticker.C:
			if p.Send(Keepalive()) != nil {
				return
			}
		}
	}
}

// note changes what was heard, and wakes up who waits.
func (p *Peer) note(f func(h *Heard)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.heard)
	close(p.changed)
	p.changed = make(chan struct{})
}

// pass blocks while reading is paused.
func (p *Peer) pass() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

// Pause stops reading, after at most one more message. Only a peer that reads
// again notices the end of its connection.
func (p *Peer) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate == nil {
		p.gate = make(chan struct{})
	}
}

// Resume reads again.
func (p *Peer) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
}
