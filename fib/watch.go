package fib

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// watchQueue is the size of the queue of events, bytes: some ten thousand of
// them, while a List keeps the caller busy.
const watchQueue = 8 << 20

// Backoff of a watch that cannot be opened.
const (
	watchRetryFirst = 100 * time.Millisecond
	watchRetryMost  = 10 * time.Second
)

// Watch calls changed, with what happened in words, whenever something happens
// that may touch what is ours under o: an event of an object with our mark, and
// every event of a link or an address, because those remove routes and next hops
// without a word. It calls changed once at the start and after each interruption
// as well, for what happened while nobody listened. Writes of this Netlink and
// the routes of strangers are passed over, the latter already in the kernel.
//
// Watch returns when ctx ends, and for no other reason. changed is called on the
// goroutine of Watch and must not block.
func (k *Netlink) Watch(ctx context.Context, o Owner, changed func(what string)) {
	what := "watch started"
	wait := watchRetryFirst
	for ctx.Err() == nil {
		w, _, err := k.connect(socketOptions{
			groups: k.watchGroups(),
			queue:  watchQueue,
			filter: eventFilter(k.writePorts(), o.Protocol),
		})
		if err == nil {
			k.listens(o)
			changed(what)
			wait = watchRetryFirst
			err = k.watch(ctx, w, o, changed)
			k.lapsed(false)
			if closed := w.close(); closed != nil {
				err = errors.Join(err, closed)
			}
		}
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("netlink watch interrupted; opening it again", "reason", err, "retry", wait)
		what = "reconnected"
		sleep(ctx, wait)
		wait = min(2*wait, watchRetryMost)
	}
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// watch reads events until ctx ends or the socket fails.
func (k *Netlink) watch(ctx context.Context, w wire, o Owner, changed func(what string)) error {
	release := w.bound(ctx, 0)
	defer release()
	buffer := make([]byte, receiveBuffer)
	for {
		n, err := w.receive(buffer)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			k.forgetNames()
			k.lapsed(true)
			changed("lost events (ENOBUFS)")
			continue
		case errors.Is(err, errTruncated):
			k.lapsed(true)
			changed("an event was cut off")
			continue
		case err != nil && ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("receive events: %w", err)
		}
		for rest := buffer[:n]; len(rest) > 0; {
			var h header
			var body []byte
			if h, body, rest, err = nextMessage(rest); err != nil {
				k.lapsed(true)
				changed("an event that cannot be read: " + err.Error())
				break
			}
			if what := k.event(h, body, o); what != "" {
				changed(what)
			}
		}
	}
}

// watchGroups lists what to subscribe to.
func (k *Netlink) watchGroups() []int {
	groups := []int{
		unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	}
	if k.capabilities.NextHops {
		// Kernels without next hops refuse the group.
		groups = append(groups, unix.RTNLGRP_NEXTHOP)
	}
	return groups
}

// event returns in words what h and body say happened to what is ours; "" if it
// is nothing. An event that cannot be read may be anything.
func (k *Netlink) event(h header, body []byte, o Owner) string {
	if ports := k.writePorts(); h.port != 0 && slices.Contains(ports[:], h.port) {
		return "" // The echo of a write of our own.
	}
	what, err := "", error(nil)
	switch h.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		k.forgetNames() // The name may have changed; List asks again.
		what, err = linkEvent(h, body)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		what, err = addressEvent(h, body)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		what, err = routeEvent(h, body, o, k.holdsTable, k.rememberTable)
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		what, err = nextHopEvent(h, body, o)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		what, err = ruleEvent(h, body, o)
	}
	if err != nil {
		k.lapsed(true)
		return "an event that cannot be read: " + err.Error()
	}
	return what
}

// verbOf returns "del" for the types that delete: they follow those that create.
func verbOf(h header) string {
	if h.kind%4 == 1 {
		return "del"
	}
	return "add"
}

func linkEvent(h header, body []byte) (string, error) {
	l, err := decodeLink(body)
	if err == nil && h.kind == unix.RTM_DELLINK {
		return "link " + l.name + " deleted", nil
	}
	return l.String(), err
}

func addressEvent(h header, body []byte) (string, error) {
	a, err := decodeAddressMessage(body)
	return fmt.Sprintf("address %s %s on if%d", verbOf(h), a.prefix, a.index), err
}

// routeEvent passes over the routes of strangers at the price of one byte. Only
// where a stranger replaced a route in one of our tables, it may have been ours:
// the kernel says nothing of the one that went. A table with a route of ours is
// remembered.
func routeEvent(h header, body []byte, o Owner, ourTable func(uint32) bool, remember func(uint32)) (string, error) {
	if len(body) < unix.SizeofRtMsg {
		return "", malformed("a route of %d bytes", len(body))
	}
	foreign := body[5] != o.Protocol
	if foreign && (h.kind != unix.RTM_NEWROUTE || h.flags&unix.NLM_F_REPLACE == 0) {
		return "", nil
	}
	m, err := decodeRoute(body)
	switch {
	case err != nil:
		return "", err
	case m.cloned || foreign && !ourTable(m.route.Table):
		return "", nil
	case foreign:
		return fmt.Sprintf("route %s replaced by proto %s", describeKey(m.route.Key()), protocolName(m.protocol)), nil
	default:
		remember(m.route.Table)
		return fmt.Sprintf("route %s %s", verbOf(h), describeKey(m.route.Key())), nil
	}
}

func nextHopEvent(h header, body []byte, o Owner) (string, error) {
	m, err := decodeNextHop(body)
	if err != nil || !o.NextHops.Contains(m.id) {
		return "", err
	}
	// A stranger in our range takes an id, or gives it back.
	return fmt.Sprintf("nexthop %s id %d", verbOf(h), m.id), nil
}

func ruleEvent(h header, body []byte, o Owner) (string, error) {
	m, err := decodeRule(body)
	if err != nil || m.protocol != o.Protocol || !o.Rules.Contains(m.rule.Priority) {
		return "", err
	}
	return fmt.Sprintf("rule %s %d %s", verbOf(h), m.rule.Priority, m.rule.Family), nil
}
