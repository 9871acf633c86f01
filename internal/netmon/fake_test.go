package netmon

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeKernel answers from memory. A neighbour that is silent fails three seconds
// after it was asked for, as with the kernel's defaults.
type fakeKernel struct {
	mu        sync.Mutex
	linkList  []Link
	routes    defaultsRead
	entries   map[NeighbourKey]*fakeEntry
	linksErr  error
	routesErr error
	// linksPanic and routesPanic, if not "", are what a reading panics with.
	linksPanic, routesPanic string
	// slow is how long a reading of default routes takes.
	slow time.Duration
	// asked is when and about whom there was a question.
	linkReads, routeReads []time.Time
	indices               []int
	solicited             []solicitation
}

type fakeEntry struct {
	state   NUD
	changed time.Time
	// answers is false for a neighbour that is silent.
	answers bool
}

type solicitation struct {
	at  time.Time
	act action
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{
		entries: map[NeighbourKey]*fakeEntry{},
		linkList: []Link{{Name: "eth1", Index: 2, AdminUp: true, Carrier: true, OperState: "up",
			Addresses: []Address{{Prefix: prefix("192.0.2.1/24"), Global: true, Usable: true}}}},
		routes: defaultsRead{defaults: []Default{{LinkIndex: 2, Dst: prefix("0.0.0.0/0"), Gateway: fakeGateway}}},
	}
}

var (
	fakeGateway = addr("192.0.2.254")
	fakeKey     = NeighbourKey{LinkIndex: 2, Address: fakeGateway}
)

func (k *fakeKernel) links() ([]Link, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.linkReads = append(k.linkReads, time.Now())
	if k.linksPanic != "" {
		panic(k.linksPanic)
	}
	return slices.Clone(k.linkList), k.linksErr
}

func (k *fakeKernel) defaults(indices []int, _ uint8) (defaultsRead, error) {
	k.mu.Lock()
	read, err, slow, broken := k.routes, k.routesErr, k.slow, k.routesPanic
	k.routeReads = append(k.routeReads, time.Now())
	k.indices = slices.Clone(indices)
	k.mu.Unlock()
	waitContext(context.Background(), slow)
	if broken != "" {
		panic(broken)
	}
	return read, err
}

func (k *fakeKernel) neighbour(key NeighbourKey) (observation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	o := observation{before: now, after: now}
	if e := k.entries[key]; e != nil {
		if age := now.Sub(e.changed); (e.state == NUDIncomplete || e.state == NUDProbe) && age >= 3*time.Second {
			e.state, e.changed = NUDFailed, e.changed.Add(3*time.Second)
		}
		o.state, o.updatedAge, o.confirmedAge = e.state, now.Sub(e.changed), now.Sub(e.changed)
	}
	return o, nil
}

func (k *fakeKernel) solicit(key NeighbourKey, a action) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.solicited = append(k.solicited, solicitation{now, a})
	e := k.entries[key]
	if e == nil {
		e = &fakeEntry{}
		k.entries[key] = e
	}
	switch {
	case e.answers:
		e.state = NUDReachable
	case a == actionProbe:
		e.state = NUDProbe
	default:
		e.state = NUDIncomplete
	}
	e.changed = now
	return nil
}

// set changes the fake under its lock.
func (k *fakeKernel) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// fakeRun is a monitor over a fake kernel, inside a synctest bubble.
type fakeRun struct {
	*Monitor
	k     *fakeKernel
	pokes []time.Duration
	log   bytes.Buffer
	began time.Time
	t     *testing.T
}

// bubble runs f with a monitor whose time is not that of the world.
func bubble(t *testing.T, k *fakeKernel, cfg Config, f func(r *fakeRun)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		defer func() {
			cancel()
			<-done
		}()
		r := &fakeRun{k: k, began: time.Now(), t: t}
		r.Monitor = newMonitor(cfg, Options{
			Log:  slog.New(slog.NewTextHandler(&r.log, nil)),
			Poke: func() { r.pokes = append(r.pokes, time.Since(r.began)) },
		}, k)
		go func() {
			defer close(done)
			r.guard(ctx, "readings", r.loop)
		}()
		synctest.Wait()
		f(r)
	})
}

// pass lets time go by. The kernel announces the end of a round, which the fake
// cannot do by itself, so that there is an event every 100 ms.
func (r *fakeRun) pass(d time.Duration, events part) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		waitContext(context.Background(), min(100*time.Millisecond, time.Until(end)))
		if events != 0 {
			r.mark(events)
		}
	}
	synctest.Wait()
}

func (r *fakeRun) waits() []time.Duration {
	r.k.mu.Lock()
	defer r.k.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(r.k.solicited); i++ {
		gaps = append(gaps, r.k.solicited[i].at.Sub(r.k.solicited[i-1].at).Round(time.Second))
	}
	return gaps
}
