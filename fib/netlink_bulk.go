package fib

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Netlink is a kernel for a Bulk too.
var _ BulkKernel = (*Netlink)(nil)

// bulkKernel is what Netlink has for bulk routes: sockets of their own, so that
// nothing else ever waits for an answer to them.
type bulkKernel struct {
	// writing guards writer and spare, reading reader.
	writing sync.Mutex
	writer  line
	spare   []byte
	reading sync.Mutex
	reader  line
}

// bulkBatch is how many routes go into one send. More bring nothing, and Apply may
// have to wait for as many: some 200 µs.
const bulkBatch = 64

// ApplyBulk implements [BulkKernel]. 64 writes share one acknowledgement. It steps
// aside between them while Apply is at work.
//
// Nothing of a stranger is removed, and nothing overwritten as long as Was is right:
// a route is created with NLM_F_EXCL where there is none of ours. In the place of one
// that was ours and has been replaced by a stranger since the last ListBulk, ours is
// written again: the kernel cannot be told to look before a replace.
func (k *Netlink) ApplyBulk(ctx context.Context, o BulkOwner, writes []BulkWrite) []error {
	k.bulk.writing.Lock()
	defer k.bulk.writing.Unlock()
	k.rememberBulk(o)
	var errs []error
	fail := func(i int, err error) {
		if errs == nil {
			errs = make([]error, len(writes))
		}
		errs[i] = err
	}
	for from := 0; from < len(writes); from += bulkBatch {
		k.urgent.wait(ctx)
		part := writes[from:min(from+bulkBatch, len(writes))]
		err := k.applyBulkBatch(ctx, o, part, func(i int, err error) {
			if refused := bulkRefusal(o, part[i], err); refused != nil {
				fail(from+i, refused)
			}
		})
		if err == nil {
			continue
		}
		// It is not known what became of this part, and the kernel does not answer.
		for i := from; i < len(writes); i++ {
			fail(i, fmt.Errorf("write routes to prefixes: %w", err))
		}
		break
	}
	return errs
}

// bulkRefusal says in words what the kernel said of w; nil if that is all right.
func bulkRefusal(o BulkOwner, w BulkWrite, err error) error {
	if w.NextHop == 0 && nothingThere(err) {
		return nil
	}
	verb := "replace"
	switch {
	case w.NextHop == 0:
		verb = "delete"
	case w.Was == 0:
		verb = "add"
	}
	key := RouteKey{o.Table, w.Prefix, o.Metric}
	return fmt.Errorf("%s %s route %s: %w", verb, FamilyOf(w.Prefix.Addr()), describeKey(key), err)
}

// applyBulkBatch sends one batch, which is executed when send returns, and calls
// refused for each write that the kernel would not do. An error means that the
// answers are not complete.
func (k *Netlink) applyBulkBatch(ctx context.Context, o BulkOwner, writes []BulkWrite, refused func(int, error)) error {
	if err := o.check(); err != nil {
		return err
	}
	l := &k.bulk.writer
	if err := errors.Join(ctx.Err(), k.open(l)); err != nil {
		return err
	}
	first := l.next(len(writes))
	w := builder{b: k.bulk.spare[:0]}
	last := -1
	for i, write := range writes {
		if !bulkPrefix(write.Prefix) {
			refused(i, fmt.Errorf("it is no prefix for a route"))
			continue
		}
		last = len(w.b)
		encodeBulk(&w, o, write, first+uint32(i))
	}
	k.bulk.spare = w.b
	if last < 0 {
		return nil
	}
	flags := w.b[last+offsetFlags:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
	final := binary.NativeEndian.Uint32(w.b[last+offsetSequence:])
	err := k.oneBound(ctx, l, func() error {
		if err := l.wire.send(w.b); err != nil {
			return err
		}
		for answered := false; !answered; {
			err := l.receive(func(h header, body []byte) error {
				i := h.seq - first
				if i >= uint32(len(writes)) {
					return nil // Left over from a batch that was given up.
				}
				answered = answered || h.seq == final
				if err := decodeVerdict(h, body); err != nil {
					refused(int(i), err)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.reset()
		return reason(ctx, err)
	}
	return nil
}

// check refuses an owner whose routes could not be told from those of others.
func (o BulkOwner) check() error {
	switch {
	case o.Protocol < firstFreeProtocol:
		return fmt.Errorf("protocol %d belongs to the kernel, want %d..255", o.Protocol, firstFreeProtocol)
	case o.Table == unix.RT_TABLE_UNSPEC:
		return fmt.Errorf("table is not set")
	case o.Metric == 0:
		return fmt.Errorf("metric 0: IPv6 turns it into 1024")
	}
	return nil
}

// encodeBulk appends one write. It is encodeRoute for one form of route, without
// what costs time.
//
// A delete names the protocol and the metric but neither a type nor a next hop: a
// route of ours may have another type, and the kernel refuses to delete by an id that
// has gone. A replace has NLM_F_CREATE as well, because IPv4 routes vanish without
// a word; both families replace in place the route of the same metric
// (net/ipv4/fib_trie.c, fib_table_insert; net/ipv6/ip6_fib.c, fib6_add_rt2node).
func encodeBulk(w *builder, o BulkOwner, write BulkWrite, seq uint32) {
	kind, flags := uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	scope, form := uint8(unix.RT_SCOPE_UNIVERSE), uint8(unix.RTN_UNICAST)
	switch {
	case write.NextHop == 0:
		kind, flags = unix.RTM_DELROUTE, 0
		scope, form = unix.RT_SCOPE_NOWHERE, unix.RTN_UNSPEC
	case write.Was == 0:
		flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	start := w.begin(kind, flags, seq)
	addr := write.Prefix.Addr()
	w.raw(addressFamily(FamilyOf(addr)), uint8(write.Prefix.Bits()), 0, 0, smallTable(o.Table), o.Protocol, scope, form)
	w.rawU32(0)
	at := w.open(unix.RTA_DST)
	if addr.Is4() {
		b := addr.As4()
		w.b = append(w.b, b[:]...)
	} else {
		b := addr.As16()
		w.b = append(w.b, b[:]...)
	}
	w.close(at)
	w.attrU32(unix.RTA_TABLE, o.Table)
	w.attrU32(unix.RTA_PRIORITY, o.Metric)
	if write.NextHop != 0 {
		w.attrU32(rtaNHID, write.NextHop)
	}
	w.end(start)
}

// rememberBulk notes which table is for bulk: List passes it over, and Watch has
// nothing to say of it.
func (k *Netlink) rememberBulk(o BulkOwner) {
	k.shared.Lock()
	defer k.shared.Unlock()
	if k.bulkTables[o.Table] == nil {
		k.bulkTables[o.Table] = []Intruder{}
	}
}

// precedence lets bulk writes step aside for Apply. The zero value is ready.
type precedence struct {
	mu sync.Mutex
	// running calls of Apply; done is closed when the last one ends.
	running int
	done    chan struct{}
}

// begin and end enclose what goes first.
func (p *precedence) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running++; p.running == 1 {
		p.done = make(chan struct{})
	}
}

func (p *precedence) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running--; p.running == 0 {
		close(p.done)
	}
}

// wait returns when nothing goes first, or ctx ends.
func (p *precedence) wait(ctx context.Context) {
	p.mu.Lock()
	running, done := p.running, p.done
	p.mu.Unlock()
	if running == 0 {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}
