package bgp

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// TestMemoryOfOneColumnReturns shows that a peer that withdraws everything gives its
// memory back though another one offers the same prefixes.
func TestMemoryOfOneColumnReturns(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		r := newRIB(f, ASPathStrict)
		fill(r, 20*chunkSize)
		for i := range 20 * chunkSize {
			r.withdraw(0, numbered(f, i))
		}
		if a, b := r.columns[0].cells.size(), r.columns[1].cells.size(); a > b/10 {
			t.Errorf("%d octets for nothing, where all takes %d", a, b)
		}
	})
}

// fill puts n prefixes from two peers, whose attributes differ in runs.
func fill(r *rib, n int) {
	for i := range n {
		p := numbered(r.family, i)
		g := grade{preference: 100, length: uint16(2 + i/5%6), neighbour: 64501}
		r.put(0, p, g, Accepted)
		g.length, g.neighbour = uint16(2+i/7%6), 64502
		r.put(1, p, g, Accepted)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// drain takes everything that r has to tell and returns how much it was.
func drain(r *rib) int {
	n := 0
	for buf := make([]Route, 0, 1024); ; {
		if buf = r.take(buf); len(buf) == 0 {
			return n
		}
		n += len(buf)
	}
}

// octetsPerPrefix bounds what a prefix may take that two peers offer and that is still to
// be told: 60 MB for a million.
const octetsPerPrefix = 60

// TestMemoryOfAFullTable measures the heap with a table from two peers, all of it still
// to be told, and after everything is withdrawn. It has a quarter of a full table, whose
// index is as full as that of a whole one; the whole one is in BenchmarkFullTable.
func TestMemoryOfAFullTable(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		const prefixes = 250_000
		before := heap()
		r := newRIB(f, ASPathStrict)
		fill(r, prefixes)
		full := heap() - before
		t.Logf("%.1f octets per prefix (counted: %.1f)", float64(full)/prefixes, float64(r.size())/prefixes)
		if full > octetsPerPrefix*prefixes {
			t.Errorf("%d octets for %d prefixes, more than %d for each", full, prefixes, octetsPerPrefix)
		}
		if n := drain(r); n != prefixes {
			t.Fatalf("told %d of %d", n, prefixes)
		}
		for i := range prefixes {
			r.withdraw(0, numbered(f, i))
		}
		r.drop(1)
		if n := drain(r); n != prefixes {
			t.Fatalf("told that %d of %d are gone", n, prefixes)
		}
		if left := heap() - before; left > 1<<20 {
			t.Errorf("%d octets are left when all is withdrawn", left)
		}
		runtime.KeepAlive(r)
	})
}

// TestMemoryReturnsWithMostOfTheTable shows that what remains of a table takes the
// memory of a small one, and is all there.
func TestMemoryReturnsWithMostOfTheTable(t *testing.T) {
	const prefixes, kept = 200_000, 2000
	bothFamilies(t, func(t *testing.T, f Family) {
		r := newRIB(f, ASPathStrict)
		fill(r, prefixes)
		takeAll(r)
		full := r.size()
		r.mark(0)
		for i := range kept {
			r.put(0, numbered(f, 100*i), grade{preference: 100, length: 1, neighbour: 64501}, Accepted)
		}
		r.sweep(0)
		r.drop(1)
		if n := drain(r); n != prefixes {
			t.Errorf("told %d changes, not %d", n, prefixes)
		}
		if n := r.size(); n > full/20 {
			t.Errorf("%d octets of %d are left for a hundredth", n, full)
		}
		if n := r.counts(0); n.received != kept || n.accepted != kept || n.stale != 0 {
			t.Errorf("%+v", n)
		}
		for i := range kept {
			if c := r.choice(numbered(f, 100*i)); c != ranks(First) {
				t.Fatalf("%v: %x", numbered(f, 100*i), c)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			const prefixes = 1_000_000
			order := rand.New(rand.NewPCG(1, 2)).Perm(prefixes)
			list := make([]netip.Prefix, prefixes)
			for i := range list {
				list[i] = numbered(f, order[i])
			}
			r := newRIB(f, ASPathStrict)
			n := 0
			for b.Loop() {
				if n%(2*prefixes) == 0 {
					r = newRIB(f, ASPathStrict)
				}
				r.put(n/prefixes%2, list[n%prefixes], grade{preference: 100, length: uint16(2 + n/5%6)}, Accepted)
				n++
			}
		})
	}
}

// BenchmarkFullTable loads a million prefixes from two peers and tells them.
func BenchmarkFullTable(b *testing.B) {
	const prefixes = 1_000_000
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			var puts, takes time.Duration
			for b.Loop() {
				before := heap()
				r := newRIB(f, ASPathStrict)
				begin := time.Now()
				fill(r, prefixes)
				puts += time.Since(begin)
				full := heap() - before
				if full > octetsPerPrefix*prefixes {
					b.Errorf("%d octets for %d prefixes", full, prefixes)
				}
				b.ReportMetric(float64(full)/1e6, "MB")
				begin = time.Now()
				if n := drain(r); n != prefixes {
					b.Fatalf("told %d of %d", n, prefixes)
				}
				takes += time.Since(begin)
			}
			b.ReportMetric(2*prefixes*float64(b.N)/puts.Seconds()/1e6, "Mput/s")
			b.ReportMetric(prefixes*float64(b.N)/takes.Seconds()/1e6, "Mtold/s")
		})
	}
}
