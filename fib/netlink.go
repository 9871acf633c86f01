package fib

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Netlink is the forwarding state of one network namespace, over rtnetlink(7).
// It is safe for concurrent use: Apply has sockets of its own, so that a long
// List never stands before a failover.
type Netlink struct {
	ns           *namespace
	log          *slog.Logger
	timeout      time.Duration
	forced       bool
	capabilities Capabilities
	// connect opens a socket in the namespace.
	connect func(socketOptions) (wire, uint32, error)

	// writing guards the sockets of Apply: writer for the ops, looker for what
	// must be known before some of them.
	writing sync.Mutex
	writer  line
	looker  line
	// spare is the buffer of the last batch, to be used again.
	spare []byte
	// reading guards the socket of List.
	reading sync.Mutex
	reader  line
	bulk    bulkKernel
	// urgent holds bulk writes back while Apply is at work.
	urgent precedence

	// shared guards what Watch takes from Apply and List.
	shared sync.Mutex
	// port is the port id of writer, bulkPort that of the bulk writer: events that
	// carry one of them are echoes of our own writes.
	port, bulkPort uint32
	// bulkTables are those of bulk routes, with the foreign defaults that were found
	// there when such a table was last read.
	bulkTables map[uint32][]Intruder
	// tables are those that hold, or held since the last List, routes of ours.
	tables map[uint32]bool
	// scope says whether tables are all that can have some.
	scope scope
	// names caches the names of devices; see nameDevices.
	names map[int]string
}

// Netlink is a kernel that Keep can watch.
var _ WatchedKernel = (*Netlink)(nil)

// defaultTimeout bounds one exchange. The kernel answers in microseconds; only
// another holder of its RTNL lock can make it wait this long.
const defaultTimeout = 10 * time.Second

// NetlinkOption changes what OpenNetlink opens.
type NetlinkOption func(*Netlink)

// WithLogger sets where Watch reports that it reconnects; slog.Default otherwise.
func WithLogger(log *slog.Logger) NetlinkOption { return func(k *Netlink) { k.log = log } }

// WithTimeout bounds the time that one batch of writes or one part of a dump may
// take. It must be positive; it is 10 s otherwise.
func WithTimeout(d time.Duration) NetlinkOption { return func(k *Netlink) { k.timeout = d } }

// WithCapabilities makes the Netlink behave as if the kernel had c and no more,
// without asking it. Objects that need a missing capability are not listed.
func WithCapabilities(c Capabilities) NetlinkOption {
	return func(k *Netlink) { k.forced, k.capabilities = true, c }
}

// OpenNetlink opens the network namespace of the calling thread. All sockets
// live there, also those that replace a broken one later. Without
// [WithCapabilities] it asks the kernel what it can hold. Reading needs no
// rights, writing needs CAP_NET_ADMIN. The caller closes it.
func OpenNetlink(opts ...NetlinkOption) (*Netlink, error) {
	ns, err := openNamespace()
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	k := newNetlink(ns.socket, opts...)
	k.ns = ns
	// Watch must know these ports from the start.
	if err := errors.Join(k.open(&k.writer), k.open(&k.bulk.writer)); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), k.Close())
	}
	if !k.forced {
		if k.capabilities, err = k.probe(context.Background()); err != nil {
			return nil, errors.Join(fmt.Errorf("probe kernel: %w", err), k.Close())
		}
	}
	return k, nil
}

// newNetlink makes a Netlink over connect, which opens its sockets.
func newNetlink(connect func(socketOptions) (wire, uint32, error), opts ...NetlinkOption) *Netlink {
	k := &Netlink{
		log: slog.Default(), timeout: defaultTimeout, connect: connect,
		tables: map[uint32]bool{}, names: map[int]string{}, bulkTables: map[uint32][]Intruder{},
		scope: scope{fresh: map[uint32]bool{}},
	}
	for _, opt := range opts {
		opt(k)
	}
	return k
}

// Close closes the sockets and lets go of the namespace. It waits for a running List
// or Apply. End Watch first.
func (k *Netlink) Close() error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.reading.Lock()
	defer k.reading.Unlock()
	k.bulk.writing.Lock()
	defer k.bulk.writing.Unlock()
	k.bulk.reading.Lock()
	defer k.bulk.reading.Unlock()
	errs := []error{k.writer.close(), k.looker.close(), k.reader.close(), k.bulk.writer.close(), k.bulk.reader.close()}
	if k.ns != nil {
		errs = append(errs, k.ns.close())
	}
	return errors.Join(errs...)
}

// Capabilities returns what the kernel can hold.
func (k *Netlink) Capabilities() Capabilities { return k.capabilities }

// probe asks for objects that do not exist. A kernel that has the kind of object
// says so; one that does not refuses the question (net/core/rtnetlink.c:
// EOPNOTSUPP for message types that it does not know).
func (k *Netlink) probe(ctx context.Context) (Capabilities, error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	var c Capabilities
	var err error
	if c.NextHops, err = k.understands(ctx, unix.RTM_GETNEXTHOP); err != nil || !c.NextHops {
		return c, err
	}
	c.Resilient, err = k.understands(ctx, unix.RTM_GETNEXTHOPBUCKET)
	return c, err
}

// understands sends a request of the kind for the id that nobody uses, 2^32-1.
func (k *Netlink) understands(ctx context.Context, kind uint16) (bool, error) {
	w := &builder{}
	nextHopHeader(w, Delete, FamilyUnknown, 0, 0)
	w.attrU32(unix.NHA_ID, 1<<32-1)
	answered := false
	err := k.ask(ctx, &k.looker, []request{{kind: kind, body: w.b}}, func(_ int, _ header, _ []byte, err error) {
		answered = !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPFNOSUPPORT)
	})
	if err != nil {
		return false, fmt.Errorf("ask for message type %d: %w", kind, err)
	}
	return answered, nil
}

// rememberTables makes Watch look at foreign writes into these tables, and List read
// them.
func (k *Netlink) rememberTables(tables map[uint32]bool) {
	k.shared.Lock()
	defer k.shared.Unlock()
	maps.Copy(k.tables, tables)
	maps.Copy(k.scope.fresh, tables)
}

func (k *Netlink) holdsTable(table uint32) bool {
	k.shared.Lock()
	defer k.shared.Unlock()
	return k.tables[table]
}

// writePorts returns the port ids of the sockets that write, 0 for one that was
// never opened.
func (k *Netlink) writePorts() [2]uint32 {
	k.shared.Lock()
	defer k.shared.Unlock()
	return [2]uint32{k.port, k.bulkPort}
}
