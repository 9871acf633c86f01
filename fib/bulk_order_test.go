package fib_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// gate lets everybody pass unless it is shut.
type gate struct {
	mu sync.Mutex // guards at
	at chan struct{}
}

func (g *gate) pass() {
	g.mu.Lock()
	at := g.at
	g.mu.Unlock()
	if at != nil {
		<-at
	}
}

// shut returns what opens the gate again.
func (g *gate) shut() (open func()) {
	at := make(chan struct{})
	g.mu.Lock()
	g.at = at
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		g.at = nil
		g.mu.Unlock()
		close(at)
	}
}

// gateKernel has a gate before each read and each write.
type gateKernel struct {
	fib.BulkKernel
	list, apply gate
}

func (k *gateKernel) ListBulk(ctx context.Context, o fib.BulkOwner, each func(fib.BulkFound)) error {
	k.list.pass()
	return k.BulkKernel.ListBulk(ctx, o, each)
}

func (k *gateKernel) ApplyBulk(ctx context.Context, o fib.BulkOwner, writes []fib.BulkWrite) []error {
	k.apply.pass()
	return k.BulkKernel.ApplyBulk(ctx, o, writes)
}

// Whoever asks which groups are in use at the moment at which the first read ends gets
// either all of them or the word that it is not known yet.
func TestB_GR_03_BulkInUseKnowsWhetherItIsAll(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 10)
		r.set(2, 10, 20)
		k := &gateKernel{BulkKernel: r.k}
		r.kernel = k
		for range 500 { // The moment is short.
			open := k.list.shut()
			r.anew()
			r.run()
			if ids, adopted := r.b.InUse(); adopted || len(ids) != 0 {
				t.Fatalf("while it reads, in use are %d, adopted %t", ids, adopted)
			}
			open()
			ids, adopted := r.b.InUse()
			for !adopted {
				ids, adopted = r.b.InUse()
			}
			if !slices.Equal(ids, []uint32{bulkGroup(1), bulkGroup(2)}) {
				t.Fatalf("adopted with %d in use", ids)
			}
		}
	})
}

// Set goes on when what it waited for needed no write after all: a restart that tells
// what the kernel already holds.
func TestBulkSetGoesOnWithoutAWrite(t *testing.T) {
	const n = 100_500 // of each family, and so more than there is room for
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1)
		r.set(1, 0, n)
		k := &gateKernel{BulkKernel: r.k}
		open := k.list.shut()
		r.kernel = k
		r.anew()
		r.run()
		r.groups(1)
		routes := make([]fib.BulkRoute, 0, 2*n)
		for i := range n {
			for _, f := range fib.Families {
				routes = append(routes, fib.BulkRoute{Prefix: prefixOf(f, i), Group: bulkGroup(1)})
			}
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.b.Set(ctx, routes) }()
		synctest.Wait()
		if p := r.b.Stats().Pending; p < 200_000 || len(done) != 0 {
			t.Fatalf("%d wait to be written, and Set does not wait", p)
		}
		open()
		if err := <-done; err != nil {
			t.Errorf("Set: %v, with %+v", err, r.b.Stats())
		}
	})
}

// A group that moves just when a sweep is asked for is followed too.
func TestBulkMovesWhileItSweeps(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		k := &gateKernel{BulkKernel: r.k}
		r.kernel = k
		r.anew()
		apply(t, r.k, []fib.Op{{Verb: fib.Add, Object: fib.Group{
			ID: bulkGroup(1) + stride, Type: fib.GroupHashThreshold, Members: []fib.Member{{NextHop: 1002, Weight: 1}},
		}, Protocol: owner.Protocol}})
		r.run()
		r.b.Groups(map[uint32]uint32{bulkGroup(1): bulkGroup(1) + stride, bulkGroup(2): bulkGroup(2)})
		r.set(1, 0, 10)
		open := k.apply.shut()
		r.set(2, 10, 20)
		r.b.Sweep()
		r.groups(1, 2)
		open()
		synctest.Wait()
		r.wantTable("then", [3]int{0, 10, 1}, [3]int{10, 20, 2})
	})
}

// More prefixes wait for a group than it keeps in mind. It comes and goes before they
// are led to it, or amid that, and comes again.
func TestBulkManyWait(t *testing.T) {
	const n = 60_000
	for name, amid := range map[string]bool{"before": false, "amid": true} {
		t.Run(name, func(t *testing.T) {
			bulkTest(t, func(r *bulkRig) {
				k := &gateKernel{BulkKernel: r.k}
				r.kernel = k
				r.anew()
				r.run()
				r.groups(3)
				r.set(1, 0, n)
				r.set(2, n, n+100)
				r.set(3, 0, 700)
				r.wantStats("without groups", fib.BulkStats{Routes: 1400, Pending: 2*n - 1200, Waiting: 2*n - 1200, Written: 1400})
				open := k.apply.shut()
				if !amid {
					r.set(3, 700, 701) // Run stands still at its first write.
				}
				r.groups(1, 3) // Looking through all of them, it stands still at its first write.
				r.groups(3)
				open()
				synctest.Wait()
				if w := r.b.Stats().Waiting; w == 0 {
					t.Error("nothing waits for a group that went")
				}
				r.groups(1, 2, 3)
				done := 700
				if !amid {
					done++
				}
				r.wantTable("in the end", [3]int{0, done, 3}, [3]int{done, n, 1}, [3]int{n, n + 100, 2})
				if s := r.b.Stats(); s.Pending != 0 || s.Waiting != 0 {
					t.Errorf("in the end: %+v", s)
				}
			})
		})
	}
}

// A prefix that was told so long ago that its number is used again is not taken for one
// that was told anew.
func TestBulkUnclaimGoesRound(t *testing.T) {
	for laps := range 3 {
		bulkTest(t, func(r *bulkRig) {
			r.run()
			r.groups(1)
			r.set(1, 0, 1000)
			for range 255 * (laps + 1) {
				r.b.Unclaim()
			}
			r.set(1, 0, 10)
			r.b.Sweep()
			synctest.Wait()
			r.wantTable("after Sweep", [3]int{0, 10, 1})
		})
	}
}

// Nobody waits for all prefixes to be looked through when a number of Unclaim is used
// again: the small state asks for InUse with every pass.
func TestBulkUnclaimLetsOthersGoOn(t *testing.T) {
	b := fib.NewBulk(nil, bulkOwner, slog.New(slog.DiscardHandler))
	routes := make([]fib.BulkRoute, 300_000)
	for n := range routes {
		routes[n] = fib.BulkRoute{Prefix: prefixOf(fib.IPv4, n), Group: bulkGroup(1)}
	}
	if err := b.Set(t.Context(), routes); err != nil {
		t.Fatal(err)
	}
	var longest, all time.Duration
	for range 10 { // A busy machine may keep us waiting for its own reasons.
		for range 254 {
			b.Unclaim()
		}
		ended := make(chan time.Duration, 1)
		go func() {
			begun := time.Now()
			b.Unclaim()
			ended <- time.Since(begun)
		}()
		longest, all = 0, 0
		for all == 0 {
			asked := time.Now()
			b.InUse()
			longest = max(longest, time.Since(asked))
			select {
			case all = <-ended:
			default:
			}
		}
		if longest < all/2 {
			return
		}
	}
	t.Errorf("InUse waited for %s of %s", longest, all)
}
