package fib

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bulkSize is the number of IPv4 routes of the benchmarks; IPv6 has two fifths of it.
var bulkSize = flag.Int("bulk", 500_000, "routes that the benchmarks of Bulk write")

func benchPrefixes(f Family) []netip.Prefix {
	if f == IPv6 {
		return bulkPrefixes(f, *bulkSize*2/5)
	}
	return bulkPrefixes(f, *bulkSize)
}

// routeMeter measures what n routes cost in each iteration of a benchmark: in time,
// and in processor time of this process, which other load disturbs less.
type routeMeter struct {
	b          *testing.B
	began      time.Time
	clock, cpu time.Duration
}

func (m *routeMeter) start() { m.began, m.cpu = time.Now(), m.cpu-processorTime(m.b) }
func (m *routeMeter) stop() {
	m.clock += time.Since(m.began)
	m.cpu += processorTime(m.b)
}

func (m *routeMeter) report(n int) {
	m.b.Helper()
	m.b.ReportMetric(float64(n*m.b.N)/m.clock.Seconds(), "routes/s")
	m.b.ReportMetric(float64(m.cpu.Nanoseconds())/float64(n*m.b.N), "cpu-ns/route")
	m.b.ReportMetric(0, "ns/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkBulkFloor is the least that the kernel takes: batches that were encoded
// before, and answers that nobody decodes.
func BenchmarkBulkFloor(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			s := newSite(b)
			first, _ := s.bulkGroups(f)
			prefixes := benchPrefixes(f)
			batches := map[uint32][][]byte{}
			for _, group := range []uint32{first, 0} {
				for part := range slices.Chunk(prefixes, bulkBatch) {
					w := builder{}
					for i, p := range part {
						encodeBulk(&w, testBulk, BulkWrite{Prefix: p, NextHop: group}, uint32(i+1))
					}
					batches[group] = append(batches[group], w.b)
				}
			}
			l := &s.k.bulk.writer
			s.must(s.k.open(l))
			m := routeMeter{b: b}
			for b.Loop() {
				m.start()
				for _, batch := range batches[first] {
					s.must(l.wire.send(batch))
				}
				m.stop()
				for _, batch := range batches[0] {
					s.must(l.wire.send(batch))
				}
			}
			m.report(len(prefixes))
		})
	}
}

// BenchmarkBulkApply is the same through ApplyBulk.
func BenchmarkBulkApply(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			s := newSite(b)
			first, _ := s.bulkGroups(f)
			prefixes := benchPrefixes(f)
			m := routeMeter{b: b}
			for b.Loop() {
				m.start()
				s.must(errors.Join(s.writeBulk(prefixes, 0, first)...))
				m.stop()
				s.must(errors.Join(s.writeBulk(prefixes, first, 0)...))
			}
			m.report(len(prefixes))
		})
	}
}

// BenchmarkBulk is from the first Set to the last route in the kernel: created, and
// then led to another group.
func BenchmarkBulk(b *testing.B) {
	for _, f := range Families {
		for _, what := range []string{"create", "replace"} {
			b.Run(f.String()+"/"+what, func(b *testing.B) {
				s := newSite(b)
				first, second := s.bulkGroups(f)
				prefixes := benchPrefixes(f)
				bulk, _ := s.runBulk()
				bulk.Groups(map[uint32]uint32{first: first, second: second})
				settle := func(group uint32) {
					tellBulk(b, bulk, prefixes, group)
					eventually(b, "all is written", func() bool { return bulk.Stats().Pending == 0 })
				}
				m := routeMeter{b: b}
				for b.Loop() {
					settle(map[string]uint32{"create": 0, "replace": second}[what])
					m.start()
					settle(first)
					m.stop()
				}
				m.report(len(prefixes))
			})
		}
	}
}

// BenchmarkBulkMemory is what a Bulk keeps of each route.
func BenchmarkBulkMemory(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			n := 2 * *bulkSize
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			bulk := NewBulk(nil, testBulk, nil)
			for i := range n {
				bulk.see(BulkFound{Prefix: bulkPrefixOf(f, i), Protocol: testBulk.Protocol, NextHop: 1050})
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				runtime.KeepAlive(bulk)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/route")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkBulkGroupReplace is how long it takes to replace a group with many routes
// on it.
func BenchmarkBulkGroupReplace(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			s := newSite(b)
			s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
			first, second := s.bulkGroups(f)
			s.must(errors.Join(s.writeBulk(benchPrefixes(f), 0, first)...))
			one, other := s.rankedGroup(first, first-48, first-45), s.rankedGroup(first, second-47, second-48)
			for i := 0; b.Loop(); i++ {
				s.apply(Replace, []Object{one, other}[i%2])
			}
		})
	}
}

// BenchmarkBulkBeside is how long it takes to replace a group, alone and while a Bulk
// writes at full speed: the median, one of a hundred and the worst.
func BenchmarkBulkBeside(b *testing.B) {
	for _, f := range Families {
		for _, writing := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/writing=%t", f, writing), func(b *testing.B) {
				s := newSite(b)
				s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
				first, second := s.bulkGroups(f)
				bulk, _ := s.runBulk()
				bulk.Groups(map[uint32]uint32{first: first, second: second})
				tellBulk(b, bulk, bulkPrefixes(f, 1), first)
				var stop atomic.Bool
				var telling sync.WaitGroup
				if prefixes := benchPrefixes(f); writing {
					telling.Go(func() {
						for i := 0; !stop.Load(); i++ {
							tellBulk(b, bulk, prefixes, []uint32{first, second}[i%2])
							// Told faster than they are written, prefixes that change back need no write.
							eventually(b, "all is written", func() bool { return bulk.Stats().Pending < bulkRoom/2 })
						}
					})
				}
				took, written := s.replaceGroups(b, f, bulk)
				stop.Store(true)
				telling.Wait()
				// What a namespace still has when it goes is removed later, under a lock that
				// all namespaces share.
				tellBulk(b, bulk, benchPrefixes(f), 0)
				eventually(b, "all is removed", func() bool { return bulk.Stats().Routes+bulk.Stats().Pending == 0 })
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-us")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
				b.ReportMetric(float64(took[len(took)-1].Microseconds()), "worst-us")
				b.ReportMetric(written, "routes/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// replaceGroups replaces a group every 10 ms, one without routes: with many, IPv6
// takes long by itself. It returns how long each took, sorted, and how many routes
// the Bulk wrote meanwhile in a second.
func (s *site) replaceGroups(b *testing.B, f Family, bulk *Bulk) (took []time.Duration, written float64) {
	b.Helper()
	base := map[Family]uint32{IPv4: 1000, IPv6: 1100}[f]
	contents := []Group{s.rankedGroup(base+52, base+2, base+5), s.rankedGroup(base+52, base+4, base+3)}
	s.apply(Add, contents[0])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, before := time.Now(), bulk.Stats().Written
	for i := 0; b.Loop(); i++ {
		<-tick.C
		at := time.Now()
		if err := s.k.Apply(context.Background(), []Op{{Replace, contents[i%2], testOwner.Protocol}})[0]; err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	written = float64(bulk.Stats().Written-before) / time.Since(began).Seconds()
	slices.Sort(took)
	return took, written
}

// BenchmarkBulkList reads the table.
func BenchmarkBulkList(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			s := newSite(b)
			s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
			first, _ := s.bulkGroups(f)
			prefixes := benchPrefixes(f)
			s.must(errors.Join(s.writeBulk(prefixes, 0, first)...))
			m := routeMeter{b: b}
			for b.Loop() {
				m.start()
				n := 0
				s.must(s.k.ListBulk(context.Background(), testBulk, func(BulkFound) { n++ }))
				if n != len(prefixes) {
					b.Fatal(fmt.Errorf("%d routes", n))
				}
				m.stop()
			}
			m.report(len(prefixes))
		})
	}
}

// BenchmarkBulkListSmall lists the small state while another table has bulk routes.
func BenchmarkBulkListSmall(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched=%t", watched), func(b *testing.B) {
			s := newSite(b)
			for _, f := range Families {
				first, _ := s.bulkGroups(f)
				s.must(errors.Join(s.writeBulk(benchPrefixes(f), 0, first)...))
				s.ip(f, "rule add pref 200 lookup 222 proto 133")
				for table := uint32(201); table < 206; table++ {
					s.apply(Add, Route{Table: table, Dst: f.Any(), Metric: 1, Type: RouteProhibit})
				}
			}
			if watched {
				ctx, cancel := context.WithCancel(context.Background())
				ready, ended := make(chan struct{}, 1000), make(chan struct{})
				go func() {
					defer close(ended)
					s.k.Watch(ctx, testOwner, func(string) { ready <- struct{}{} })
				}()
				defer func() { cancel(); <-ended }()
				<-ready
			}
			s.list()
			b.ReportAllocs()
			for b.Loop() {
				if n := len(s.list().Routes); n != 10 {
					b.Fatal(fmt.Errorf("%d routes", n))
				}
			}
		})
	}
}
