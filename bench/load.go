package main

import (
	"math"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"time"
)

// load is what a process does beside its sessions, as a daemon with a million
// routes would.
type load struct {
	// LiveBytes of heap, full of pointers.
	LiveBytes uint64 `json:"live_bytes"`
	// BytesPerSecond that are allocated; one in sixteen replaces something of the
	// live heap, the others are garbage at once.
	BytesPerSecond uint64 `json:"bytes_per_second"`
	// Spinners are goroutines that only compute.
	Spinners int `json:"spinners"`
}

// loadReport is what came of it since the last begin.
type loadReport struct {
	LiveBytes  uint64        `json:"live_bytes"`
	Allocated  uint64        `json:"allocated"`
	Cycles     uint64        `json:"cycles"`
	WorstPause time.Duration `json:"worst_pause"`
	Procs      int           `json:"procs"`
}

// entry is an allocation of the live heap: what a route is made of.
type entry struct {
	next       *entry
	attributes map[uint32]*entry
	path       []*entry
	text       string
}

// loading is a load that was started.
type loading struct {
	quit chan struct{}
	all  sync.WaitGroup

	mu    sync.Mutex
	start reading
}

// heap is the live heap: entries by number, and a list to look things up in.
type heap struct {
	shards []map[uint32]*entry
	size   uint32
	// recent pieces of garbage, which live until they are overwritten.
	recent [recentPieces][]*entry
}

const (
	heapShards = 64
	// recentPieces are half a MiB.
	recentPieces = 256
	// attributesEvery gives one entry of so many a map of its own.
	attributesEvery = 64
	// tick is how often the allocator wakes up.
	tick = time.Millisecond
	// entryBytes is about what an entry costs with its share of maps, and only
	// for the pace; the live heap is measured.
	entryBytes = 64 + 32
)

// start builds the live heap before it returns.
func (l load) start() *loading {
	g := &loading{quit: make(chan struct{})}
	h := newHeap(l.LiveBytes)
	if l.BytesPerSecond > 0 {
		g.all.Go(func() { h.churn(l.BytesPerSecond, g.quit) })
	}
	for range l.Spinners {
		g.all.Go(func() { spin(g.quit) })
	}
	g.begin()
	return g
}

func (g *loading) stop() {
	close(g.quit)
	g.all.Wait()
}

func newHeap(bytes uint64) *heap {
	h := &heap{}
	if bytes == 0 {
		return h
	}
	for range heapShards {
		h.shards = append(h.shards, map[uint32]*entry{})
	}
	// HeapAlloc counts garbage too, of which maps that grow leave a lot: what
	// is there is only known after a collection.
	const step = 1 << 16
	for {
		for range step {
			h.replace(h.size)
			h.size++
		}
		if heapAlloc() < bytes {
			continue
		}
		runtime.GC()
		if heapAlloc() >= bytes {
			return h
		}
	}
}

func heapAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// replace puts a new entry in the place of number i, with pointers to others.
func (h *heap) replace(i uint32) {
	shard := h.shards[i%heapShards]
	e := &entry{next: shard[i/2], path: []*entry{shard[i/3], shard[i/5]}, text: strconv.Itoa(int(i))}
	if e.next != nil {
		// Not a chain of everything that there ever was.
		e.next.next = nil
	}
	if i%attributesEvery == 0 {
		e.attributes = map[uint32]*entry{i: e}
	}
	for _, p := range e.path {
		if p != nil {
			p.path = nil
		}
	}
	shard[i] = e
}

// churn allocates at a rate, in pieces of 64 octets to 8 KiB.
func (h *heap) churn(rate uint64, quit <-chan struct{}) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	begin := time.Now()
	var done uint64
	var next uint32
	for turn := uint32(0); ; {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		// At most a tenth of a second is made up for.
		due := uint64(time.Since(begin).Seconds() * float64(rate))
		done = max(done, due-min(due, rate/10))
		for done < due {
			turn++
			n := uint64(8) << (turn % 8)
			h.recent[turn%recentPieces] = make([]*entry, n)
			done += n * 8
			if turn%16 == 0 && h.size > 0 {
				h.replace(next % h.size)
				next += 7919
				done += entryBytes
			}
		}
	}
}

// spin computes until quit is closed.
func spin(quit <-chan struct{}) {
	x := uint64(1)
	for {
		select {
		case <-quit:
			return
		default:
		}
		for range 100_000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
		if x == 0 {
			// It never is; the loop must have a result.
			return
		}
	}
}

// reading is the state of the counters of the runtime.
type reading struct {
	allocated, cycles, live uint64
	pauses                  *metrics.Float64Histogram
}

func read() reading {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/sched/pauses/total/gc:seconds"},
	}
	metrics.Read(samples)
	return reading{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Float64Histogram()}
}

func (g *loading) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.start = read()
}

func (g *loading) report() loadReport {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := read()
	return loadReport{
		LiveBytes: now.live, Allocated: now.allocated - g.start.allocated, Cycles: now.cycles - g.start.cycles,
		WorstPause: worst(g.start.pauses, now.pauses), Procs: runtime.GOMAXPROCS(0),
	}
}

// worst returns the upper end of the highest class of a histogram, in seconds,
// that something was added to.
func worst(before, after *metrics.Float64Histogram) time.Duration {
	for i := len(after.Counts) - 1; i >= 0; i-- {
		if i < len(before.Counts) && after.Counts[i] == before.Counts[i] {
			continue
		}
		if upper := after.Buckets[i+1]; !math.IsInf(upper, 1) {
			return time.Duration(upper * float64(time.Second))
		}
		return time.Duration(after.Buckets[i] * float64(time.Second))
	}
	return 0
}
