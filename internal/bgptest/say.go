package bgptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Send writes octets as they are: whole messages, one or many, or what is none. It
// blocks while the other side does not read.
func (p *Peer) Send(octets ...[]byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	buffers := net.Buffers(append([][]byte(nil), octets...))
	if _, err := buffers.WriteTo(p.conn); err != nil {
		return fmt.Errorf("send to peer: %w", err)
	}
	return nil
}

// Announce sends UPDATEs for prefixes of one family, with AS numbers of as many
// octets as both sides can.
func (p *Peer) Announce(a Attributes, list ...netip.Prefix) error {
	h := p.Heard()
	_, wide := h.Open.Capability(CapFourOctetAS)
	return p.Send(announcement(a, wide && !p.o.NoFourOctetAS, list)...)
}

// Withdraw sends UPDATEs for prefixes of one family.
func (p *Peer) Withdraw(list ...netip.Prefix) error { return p.Send(Withdrawal(list...)...) }

// EndOfRIB sends that marker.
func (p *Peer) EndOfRIB(families ...Family) error {
	for _, f := range families {
		if err := p.Send(EndOfRIB(f)); err != nil {
			return err
		}
	}
	return nil
}

// Notify sends a NOTIFICATION and leaves the connection open.
func (p *Peer) Notify(code, subcode uint8, data []byte) error {
	return p.Send(Notification{code, subcode, data}.Message())
}

// Close ends the connection without a word, in an orderly way unless something was
// left unread, and waits for the goroutines. It may be called more than once.
func (p *Peer) Close() {
	p.once.Do(func() { _ = p.conn.Close() })
	p.Resume()
	<-p.done
}

// Cut ends the connection by a RST.
func (p *Peer) Cut() {
	if t, ok := p.conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	p.Close()
}

// Conn is the connection, for what nobody thought of.
func (p *Peer) Conn() net.Conn { return p.conn }

// Heard returns a copy of what was heard, of which only the maps and slices'
// contents are shared, and none is ever changed.
func (p *Peer) Heard() Heard {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.heard
	h.Routes = make(map[netip.Prefix]*Attributes, len(p.heard.Routes))
	for k, v := range p.heard.Routes {
		h.Routes[k] = v
	}
	h.EndOfRIB = make(map[Family]int, len(p.heard.EndOfRIB))
	for k, v := range p.heard.EndOfRIB {
		h.EndOfRIB[k] = v
	}
	return h
}

// ErrEnded is what waiting ends with when the connection does.
var ErrEnded = errors.New("the connection has ended")

// Wait waits until ok, which is asked whenever something was heard and must neither
// keep h nor call methods of p. It fails when ctx ends, or the connection did and it
// is still not so.
func (p *Peer) Wait(ctx context.Context, what string, ok func(h *Heard) bool) error {
	for {
		p.mu.Lock()
		yes, changed, closed, err, last := ok(&p.heard), p.changed, p.heard.Closed, p.heard.Err, p.heard.Notification
		p.mu.Unlock()
		switch {
		case yes:
			return nil
		case closed && last != nil:
			return fmt.Errorf("wait until %s: %w: %v", what, ErrEnded, last)
		case closed:
			return fmt.Errorf("wait until %s: %w: %w", what, ErrEnded, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-changed:
		}
	}
}

// WaitEstablished waits for OPEN and KEEPALIVE.
func (p *Peer) WaitEstablished(ctx context.Context) error {
	return p.Wait(ctx, "the session is established", func(h *Heard) bool { return h.Established })
}

// WaitRoute waits until a prefix is announced and returns its attributes.
func (p *Peer) WaitRoute(ctx context.Context, prefix netip.Prefix) (a Attributes, err error) {
	return p.WaitRouteWhere(ctx, prefix, func(Attributes) bool { return true })
}

// WaitRouteWhere waits until a prefix is announced with attributes that please ok.
func (p *Peer) WaitRouteWhere(ctx context.Context, prefix netip.Prefix, ok func(a Attributes) bool) (found Attributes, err error) {
	err = p.Wait(ctx, prefix.String()+" is announced", func(h *Heard) bool {
		a := h.Routes[prefix]
		if a == nil || !ok(*a) {
			return false
		}
		found = *a
		return true
	})
	return found, err
}

// WaitNoRoute waits until a prefix is not announced.
func (p *Peer) WaitNoRoute(ctx context.Context, prefix netip.Prefix) error {
	return p.Wait(ctx, prefix.String()+" is not announced", func(h *Heard) bool { return h.Routes[prefix] == nil })
}

// WaitEndOfRIB waits until the marker of f was heard.
func (p *Peer) WaitEndOfRIB(ctx context.Context, f Family) error {
	return p.Wait(ctx, "End-of-RIB of "+f.String(), func(h *Heard) bool { return h.EndOfRIB[f] > 0 })
}

// WaitNotification waits for one and returns it.
func (p *Peer) WaitNotification(ctx context.Context) (n Notification, err error) {
	err = p.Wait(ctx, "a NOTIFICATION comes", func(h *Heard) bool {
		if h.Notification == nil {
			return false
		}
		n = *h.Notification
		return true
	})
	return n, err
}

// WaitClosed waits until the connection has ended, and says how in Heard.
func (p *Peer) WaitClosed(ctx context.Context) error {
	return p.Wait(ctx, "the connection ends", func(h *Heard) bool { return h.Closed })
}

// Socket are options of sockets, for the Control of a net.Dialer or of a
// net.ListenConfig.
type Socket struct {
	// Password of TCP MD5 (RFC 2385) with Peer; up to 80 octets, empty for none.
	Password string
	Peer     netip.Addr
	// TTL of what is sent, and the least of what is accepted; 0 leaves it. RFC 5082
	// is 255 and 255.
	TTL, MinTTL int
	// Device to bind to, empty for none.
	Device string
}

// Dial returns what Connect wants: from local, which may be the zero Addr, to remote.
// Sockets are made by whoever calls it, in the network namespace of that thread.
func (s Socket) Dial(local netip.Addr, remote netip.AddrPort) func(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Control: s.Control}
	if s.Password != "" && !s.Peer.IsValid() {
		s.Peer = remote.Addr()
		d.Control = s.Control
	}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", remote.String()) }
}

// Listen returns a listener for Accept; port 0 lets the kernel choose.
func (s Socket) Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	l := net.ListenConfig{Control: s.Control}
	return l.Listen(ctx, "tcp", at.String())
}

// Control sets the options.
func (s Socket) Control(_, _ string, c syscall.RawConn) (err error) {
	if outer := c.Control(func(fd uintptr) { err = s.set(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

func (s Socket) set(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("set up socket: %w", err)
	}
	six := domain == unix.AF_INET6
	set := func(value, level4, option4, level6, option6 int) error {
		if value == 0 {
			return nil
		}
		if six {
			return unix.SetsockoptInt(fd, level6, option6, value)
		}
		return unix.SetsockoptInt(fd, level4, option4, value)
	}
	err = errors.Join(
		set(s.TTL, unix.IPPROTO_IP, unix.IP_TTL, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS),
		set(s.MinTTL, unix.IPPROTO_IP, unix.IP_MINTTL, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT),
	)
	if s.Device != "" {
		err = errors.Join(err, unix.BindToDevice(fd, s.Device))
	}
	if s.Password != "" {
		err = errors.Join(err, unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, s.signature(six)))
	}
	if err != nil {
		return fmt.Errorf("set up socket: %w", err)
	}
	return nil
}

// signature is for a socket of IPv6 or not: such a one knows IPv4 peers by their
// mapped addresses.
func (s Socket) signature(six bool) *unix.TCPMD5Sig {
	sig := &unix.TCPMD5Sig{}
	sig.Keylen = uint16(copy(sig.Key[:], s.Password))
	if !six {
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sig.Addr))
		a.Family, a.Addr = unix.AF_INET, s.Peer.As4()
		return sig
	}
	a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sig.Addr))
	a.Family, a.Addr = unix.AF_INET6, s.Peer.As16()
	return sig
}
