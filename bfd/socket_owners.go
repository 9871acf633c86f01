package bfd

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// owners finds out who has a port that we need. The search reads a good part of /proc,
// so it has a goroutine of its own while it runs; there is one search at a time.
type owners struct {
	poller  *poller
	tid     int
	results chan verdict
	running bool
	// searching is done when the goroutine has ended.
	searching sync.WaitGroup
	known     map[contested]verdict
}

// contested is a port that somebody else has.
type contested struct {
	port uint16
	v6   bool
}

// verdict is what a search found.
type verdict struct {
	contested
	owner string
	err   error
	at    instant
	// fresh: nobody was told yet.
	fresh bool
}

// searchEvery is the least time between two searches for one port.
const searchEvery = 5 * time.Second

func newOwners(p *poller) *owners {
	return &owners{poller: p, tid: unix.Gettid(), results: make(chan verdict, 1), known: map[contested]verdict{}}
}

// wait ends when no search runs.
func (o *owners) wait() {
	o.searching.Wait()
	o.collect()
}

func (o *owners) collect() {
	select {
	case v := <-o.results:
		o.running = false
		v.fresh = true
		o.known[v.contested] = v
	default:
	}
}

// news reports whether the owner of a port was found out and blame did not tell yet.
func (o *owners) news(k receiverKey) bool {
	o.collect()
	return o.known[contested{k.port.number(), k.v6}].fresh
}

// errTaken is the port that another program has.
var errTaken = errors.New("taken")

// blamed is errTaken with text for people.
type blamed string

func (b blamed) Error() string { return string(b) }
func (blamed) Unwrap() error   { return errTaken }

// blame says who has the port of a receiver, as far as that is known yet, and has it
// found out.
func (o *owners) blame(k receiverKey, own map[uint64]bool, now instant) error {
	o.collect()
	c := contested{k.port.number(), k.v6}
	v, known := o.known[c]
	if known {
		v.fresh = false
		o.known[c] = v
	}
	if !o.running && (!known || now-v.at >= searchEvery) {
		o.search(c, own, now)
	}
	switch {
	case v.owner != "":
		return blamed(fmt.Sprintf("%s is taken by %s: stop it, or disable its BFD", k, v.owner))
	case v.err != nil:
		return blamed(fmt.Sprintf("%s is taken by another program; /proc does not tell which (%v), ss -unlp may: stop it, or disable its BFD", k, v.err))
	default:
		return blamed(fmt.Sprintf("%s is taken by another program, ss -unlp tells which: stop it, or disable its BFD", k))
	}
}

func (o *owners) search(c contested, own map[uint64]bool, now instant) {
	o.running = true
	own = maps.Clone(own)
	// The tables of the namespace that the speaker's thread is in.
	net := "/proc/self/task/" + strconv.Itoa(o.tid) + "/net"
	o.searching.Go(func() {
		v := verdict{contested: c, at: now}
		v.owner, v.err = portOwner("/proc", net, c.port, c.v6, own)
		o.results <- v
		o.poller.wake()
	})
}
