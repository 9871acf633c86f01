package fib

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkApplyGroupReplace is the write of a failover: one resilient group of
// two members, replaced by one of one member and back.
func BenchmarkApplyGroupReplace(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			s := newSite(b)
			s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
			both := Group{
				ID: 1050, Type: GroupResilient, Buckets: 120, IdleTimer: time.Minute,
				Members: []Member{{NextHop: 1002, Weight: 255}, {NextHop: 1004, Weight: 255}},
			}
			one := both
			one.Members = []Member{{NextHop: 1002, Weight: 255}, {NextHop: 1004, Weight: 1}}
			s.apply(Add, s.hop(1002, f, 1), s.hop(1004, f, 2), both,
				Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: 1050})
			ops := [][]Op{{{Replace, both, testOwner.Protocol}}, {{Replace, one, testOwner.Protocol}}}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				if err := s.k.Apply(context.Background(), ops[i%2])[0]; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyRoutes are n host routes of f.
func manyRoutes(f Family, n int, table uint32, protocol uint8) []Op {
	ops := make([]Op, n)
	for i := range ops {
		var addr netip.Addr
		if f == IPv4 {
			addr = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i))))
		} else {
			a := netip.MustParseAddr("2001:db8:aaaa::").As16()
			binary.BigEndian.PutUint32(a[8:], uint32(i))
			addr = netip.AddrFrom16(a)
		}
		ops[i] = Op{Add, Route{Table: table, Dst: hostPrefix(addr), Metric: 1, Type: RouteBlackhole}, protocol}
	}
	return ops
}

// BenchmarkApplyRoutes adds and deletes 10,000 routes per operation.
func BenchmarkApplyRoutes(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			s := newSite(b)
			const n = 10_000
			ops := manyRoutes(f, n, 221, testOwner.Protocol)
			for b.Loop() {
				for _, v := range []Verb{Add, Delete} {
					for i := range ops {
						ops[i].Verb = v
					}
					if err := errors.Join(s.k.Apply(context.Background(), ops)...); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(2*n*b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// BenchmarkListAmongForeign lists a small state of ours while strangers have
// 100,000 routes.
func BenchmarkListAmongForeign(b *testing.B) {
	s := newSite(b)
	for _, f := range Families {
		s.must(errors.Join(s.k.Apply(context.Background(), manyRoutes(f, 50_000, 254, 12))...))
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteProhibit})
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(s.list().Routes); n != len(Families) {
			b.Fatal(fmt.Errorf("%d routes are listed as ours", n))
		}
	}
}

// BenchmarkListOwn lists 100,000 routes of ours.
func BenchmarkListOwn(b *testing.B) {
	s := newSite(b)
	for _, f := range Families {
		s.must(errors.Join(s.k.Apply(context.Background(), manyRoutes(f, 50_000, 221, testOwner.Protocol))...))
	}
	for b.Loop() {
		if n := len(s.list().Routes); n != 100_000 {
			b.Fatal(fmt.Errorf("%d routes are listed", n))
		}
	}
}

// BenchmarkApplyGroups replaces n groups in one Apply, as a failover does where
// prefixes have many choices.
func BenchmarkApplyGroups(b *testing.B) {
	for _, n := range []int{3, 100, 2000} {
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			s := newSite(b)
			s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
			s.bulkGroups(IPv4)
			contents := [2][]Op{}
			for i := range n {
				id := 2000 + uint32(i)
				contents[0] = append(contents[0], Op{Replace, s.rankedGroup(id, 1002, 1005), testOwner.Protocol})
				contents[1] = append(contents[1], Op{Replace, s.rankedGroup(id, 1004, 1003), testOwner.Protocol})
			}
			s.must(errors.Join(s.k.Apply(context.Background(), contents[0])...))
			i := 0
			for b.Loop() {
				i++
				s.must(errors.Join(s.k.Apply(context.Background(), contents[i%2])...))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/group")
		})
	}
}
