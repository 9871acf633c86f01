package lab

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
)

// Options describe a lab.
type Options struct {
	// Name tells labs apart in logs and errors; it may be empty.
	Name string
	// Log gets what the lab does at Debug; nil means nowhere.
	Log *slog.Logger
}

// Lab is a set of hosts with the links between them. Its methods may be called
// from several goroutines.
type Lab struct {
	name string
	log  *slog.Logger

	mu     sync.Mutex
	closed bool
	hosts  []*Host
	// closers run at Close in reverse order, before the hosts end.
	closers []func() error
}

// ErrClosed is returned by what is asked of a lab or host after Close.
var ErrClosed = errors.New("lab is closed")

// nextIndex numbers the interfaces that the lab makes. The ends of a veth must
// not have the same index by chance: the kernel takes a device whose own index is
// that of its peer for a physical one and may then delay the news of a lost
// carrier by up to a second (linkwatch_urgent_event in net/core/link_watch.c).
// Explicit indices start above what the kernel hands out by itself.
var nextIndex atomic.Int32

// firstIndex is above every index that the kernel gives to the few devices that
// appear by themselves in a fresh namespace.
const firstIndex = 1000

// New makes an empty lab. It fails where the process may not make network
// namespaces, and says how to get the right.
func New(o Options) (*Lab, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = "lab"
	}
	if err := mayMakeNamespaces(); err != nil {
		return nil, fmt.Errorf("make lab %s: %w", o.Name, err)
	}
	return &Lab{name: o.Name, log: o.Log.With("lab", o.Name)}, nil
}

// Host adds a host: a new network namespace with lo up, forwarding off and
// duplicate address detection off, so that addresses are usable at once.
func (l *Lab) Host(name string) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("add host %s: %w", name, ErrClosed)
	}
	h, err := newHost(name, l.log)
	if err != nil {
		return nil, fmt.Errorf("add host %s: %w", name, err)
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// Veth connects two hosts by an ethernet cable; both ends are up on return.
func (l *Lab) Veth(a *Host, devA string, b *Host, devB string) error {
	fail := func(err error) error {
		return fmt.Errorf("connect %s %s to %s %s: %w", a.name, devA, b.name, devB, err)
	}
	link := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: devA, Index: newIndex()},
		PeerName:      devB,
		PeerNamespace: netlink.NsFd(b.ns),
	}
	if err := a.nl.LinkAdd(link); err != nil {
		return fail(err)
	}
	if err := b.SetUp(devB); err != nil {
		return fail(err)
	}
	if err := a.SetUp(devA); err != nil {
		return fail(err)
	}
	return nil
}

// Close ends the programs, goroutines and namespaces of the lab. It may be called
// more than once; the later calls return nil.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	closers, hosts := l.closers, l.hosts
	l.mu.Unlock()

	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	for i := len(hosts) - 1; i >= 0; i-- {
		errs = append(errs, hosts[i].close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close lab %s: %w", l.name, err)
	}
	return nil
}

// atClose registers what has to end before the hosts do; once the lab is closed
// it is run at once.
func (l *Lab) atClose(f func() error) {
	l.mu.Lock()
	if !l.closed {
		l.closers = append(l.closers, f)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	if err := f(); err != nil {
		l.log.Warn("close after the lab", "reason", err)
	}
}

func newIndex() int {
	return firstIndex + int(nextIndex.Add(1))
}
