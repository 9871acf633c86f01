package fib

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A batch is what one send carries. More than 64 messages bring nothing, and the
// answers to them must fit the receive queue.
const (
	maxBatch      = 64
	maxBatchBytes = 32 << 10
)

// outcome is what is known of one op.
type outcome struct {
	err error
	// settled ops are not sent: what they would do is done or forbidden.
	settled bool
	// before holds messages that go ahead of the op's own.
	before []request
}

// Apply executes ops in order, up to 64 per exchange, and returns one error per
// op. An error names the object and what the kernel said of it, and errors.Is
// finds the unix.Errno. When ctx ends, or the kernel does not answer in time, the
// ops that were not acknowledged have an error, although the last of them may
// have been executed.
//
// Nothing of a stranger is overwritten or removed. Adding never replaces;
// deletes of routes and rules carry our protocol; next hops, whose deletes cannot
// carry it, and all that is replaced are looked at first. For routes that
// protects up to maxLooks replaced ones per call: more at once are bulk, whose
// keys the caller has from List.
func (k *Netlink) Apply(ctx context.Context, ops []Op) []error {
	k.urgent.begin()
	defer k.urgent.end()
	k.writing.Lock()
	defer k.writing.Unlock()
	outcomes := make([]outcome, len(ops))
	k.look(ctx, ops, outcomes)
	tables := map[uint32]bool{}
	for _, op := range ops {
		if r, ok := op.Object.(Route); ok {
			tables[r.Table] = true
		}
	}
	k.rememberTables(tables)
	for next := 0; next < len(ops); {
		// A batch at a time: of thousands of groups the first are written at once.
		end := min(next+maxBatch, len(ops))
		k.lookBeforeNextHops(ctx, ops[next:end], outcomes[next:end])
		for next < end {
			next = k.applyBatch(ctx, ops[:end], outcomes, next)
		}
	}
	k.judge(ctx, ops, outcomes)
	errs := make([]error, len(ops))
	for i, out := range outcomes {
		if out.err != nil {
			errs[i] = fmt.Errorf("%s %s: %w", ops[i].Verb.inWords(), describe(ops[i].Object), out.err)
		}
	}
	return errs
}

// batch is a run of messages with consecutive sequence numbers.
type batch struct {
	first uint32
	bytes []byte
	// owners holds the index of the op of each message.
	owners []int
}

func (b *batch) full() bool { return len(b.owners) >= maxBatch || len(b.bytes) >= maxBatchBytes }

// add appends the messages of the op with index i, all or none of them.
func (b *batch) add(i int, op Op, before []request) error {
	bytes, owners := b.bytes, b.owners
	for _, r := range before {
		bytes = r.encode(bytes, b.first+uint32(len(owners)))
		owners = append(owners, i)
	}
	bytes, err := encodeOp(bytes, op, b.first+uint32(len(owners)))
	if err != nil {
		return err
	}
	owners = append(owners, i)
	b.bytes, b.owners = bytes, owners
	return nil
}

// applyBatch sends the ops from next on that fit one batch and returns the index
// of the first that did not.
func (k *Netlink) applyBatch(ctx context.Context, ops []Op, outcomes []outcome, next int) int {
	if err := k.open(&k.writer); err != nil {
		for i := next; i < len(ops); i++ {
			outcomes[i].fail(err)
		}
		return len(ops)
	}
	b := batch{first: k.writer.next(0), bytes: k.spare[:0]}
	for ; next < len(ops) && !b.full(); next++ {
		out := &outcomes[next]
		if out.settled {
			continue
		}
		if err := b.add(next, ops[next], out.before); err != nil {
			out.fail(err)
		}
	}
	k.spare = b.bytes
	if len(b.owners) == 0 {
		return next
	}
	k.writer.next(len(b.owners))
	waiting := make([]int, len(b.owners))
	copy(waiting, b.owners)
	err := k.exchange(ctx, &k.writer, b.bytes, b.first, len(b.owners), func(i int, _ header, _ []byte, err error) {
		waiting[i] = -1
		if out := &outcomes[b.owners[i]]; out.err == nil {
			out.err = err
		}
	})
	if err != nil {
		for _, i := range waiting {
			if i >= 0 {
				outcomes[i].fail(err)
			}
		}
	}
	return next
}

// fail settles an op of which nothing better is known.
func (o *outcome) fail(err error) {
	if !o.settled && o.err == nil {
		o.err = err
	}
	o.settled = true
}

// judge turns what the kernel answered into what the caller is told: the absence
// of what was to be deleted, and the presence of what was to be added, are
// success.
func (k *Netlink) judge(ctx context.Context, ops []Op, outcomes []outcome) {
	held := map[space]map[int]Route{}
	for i, op := range ops {
		out := &outcomes[i]
		if out.err == nil || out.settled {
			continue
		}
		switch {
		case op.Verb == Delete && nothingThere(out.err):
			out.err = nil
		case op.Verb == Delete && errors.Is(out.err, unix.EINVAL):
			k.judgeDelete(ctx, op, out)
		case op.Verb != Delete && isRule(op.Object) && errors.Is(out.err, unix.EEXIST):
			out.err = nil // Equal in everything, our protocol included.
		case op.Verb == Add && errors.Is(out.err, unix.EEXIST):
			switch o := op.Object.(type) {
			case Route:
				at := space{o.Family(), o.Table}
				if held[at] == nil {
					held[at] = map[int]Route{}
				}
				held[at][i] = o
			case NextHop, Group, Rule, Stray:
				k.judgeNextHop(ctx, op, out)
			default:
				panic(fmt.Sprintf("fib: unhandled object %T", op.Object))
			}
		}
	}
	for at, routes := range held {
		k.judgeRoutes(ctx, at, ops, outcomes, routes)
	}
}

func isRule(o Object) bool {
	_, ok := o.(Rule)
	return ok
}

// nothingThere reports whether err says that there is nothing to delete.
func nothingThere(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}

// judgeDelete forgives the delete of a route whose next-hop object has gone: the
// kernel removed the route with it, and refuses the id (net/ipv4/fib_frontend.c,
// inet_rtm_delroute).
func (k *Netlink) judgeDelete(ctx context.Context, op Op, out *outcome) {
	r, ok := op.Object.(Route)
	if !ok || r.NextHopID == 0 {
		return
	}
	if found, err := k.lookAtNextHops(ctx, []uint32{r.NextHopID}); err == nil && len(found) == 0 {
		out.err = nil
	}
}

// judgeNextHop finds out who holds the id that was to be added.
func (k *Netlink) judgeNextHop(ctx context.Context, op Op, out *outcome) {
	id := nextHopID(op.Object)
	found, err := k.lookAtNextHops(ctx, []uint32{id})
	m, ok := found[id]
	switch {
	case err != nil || !ok:
	case m.protocol != op.Protocol || m.fdb:
		out.err = foreignNextHop(m.protocol, out.err)
	case m.holds(op.Object):
		out.err = nil
	default:
		out.err = fmt.Errorf("it is there with other content: %w", out.err)
	}
}

// judgeRoutes finds out who holds the keys of routes that were to be added, which
// are given by the index of their op.
func (k *Netlink) judgeRoutes(ctx context.Context, at space, ops []Op, outcomes []outcome, routes map[int]Route) {
	wanted := map[RouteKey]bool{}
	for _, r := range routes {
		wanted[r.Key()] = true
	}
	found, err := k.lookAtRoutes(ctx, at, wanted, 0)
	if err != nil {
		return // The kernel's refusal stays the answer.
	}
	for i, r := range routes {
		m, ok := found[r.Key()]
		out := &outcomes[i]
		switch {
		case !ok:
		case m.protocol != ops[i].Protocol:
			out.err = foreignRoute(m, out.err)
		case m.route.equal(r):
			out.err = nil
		default:
			out.err = fmt.Errorf("it is there with other content: %w", out.err)
		}
	}
}

// foreignNextHop says who is in the way, and what to do about it.
func foreignNextHop(protocol uint8, err error) error {
	return fmt.Errorf("a foreign next hop holds it (proto %s); remove it or choose another id: %w", protocolName(protocol), err)
}

// foreignRoute is the same for a route. No other metric could be chosen: ours is
// fixed, and what is behind a stranger's is not used.
func foreignRoute(m routeMessage, err error) error {
	return fmt.Errorf("a foreign route holds it (proto %s); remove it with: %s: %w",
		protocolName(m.protocol), removal(m.route, m.protocol), err)
}

// inWords returns the verb for an error message.
func (v Verb) inWords() string {
	if v == Delete {
		return "delete"
	}
	return v.String()
}

// describe names an object for an error message.
func describe(o Object) string {
	switch o := o.(type) {
	case NextHop:
		return fmt.Sprintf("next hop %d", o.ID)
	case Group:
		return fmt.Sprintf("group %d", o.ID)
	case Route:
		return fmt.Sprintf("%s route %s", o.Family(), describeKey(o.Key()))
	case Rule:
		return fmt.Sprintf("%s rule %d", o.Family, o.Priority)
	case Stray:
		return o.Text
	default:
		panic(fmt.Sprintf("fib: unhandled object %T", o))
	}
}

// protocolName returns the name of a well-known route protocol
// (/etc/iproute2/rt_protos), or its number.
func protocolName(protocol uint8) string {
	switch protocol {
	case unix.RTPROT_REDIRECT:
		return "redirect"
	case unix.RTPROT_KERNEL:
		return "kernel"
	case unix.RTPROT_BOOT:
		return "boot"
	case unix.RTPROT_STATIC:
		return "static"
	case unix.RTPROT_RA:
		return "ra"
	case unix.RTPROT_ZEBRA:
		return "zebra"
	case unix.RTPROT_BIRD:
		return "bird"
	case unix.RTPROT_DHCP:
		return "dhcp"
	case unix.RTPROT_KEEPALIVED:
		return "keepalived"
	case unix.RTPROT_BGP:
		return "bgp"
	case unix.RTPROT_OSPF:
		return "ospf"
	default:
		return fmt.Sprint(protocol)
	}
}
