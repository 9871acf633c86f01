package fib

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testBulk is the mark of bulk routes in the tests, beside that of testOwner.
var testBulk = BulkOwner{Protocol: 134, Table: 222, Metric: 20, NextHops: testOwner.NextHops}

// bulkPrefixOf is the i-th of many prefixes of f, none inside of another.
func bulkPrefixOf(f Family, i int) netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, byte(i >> 16), byte(i >> 8), byte(i)}), 48)
}

func bulkPrefixes(f Family, n int) []netip.Prefix {
	out := make([]netip.Prefix, n)
	for i := range out {
		out[i] = bulkPrefixOf(f, i)
	}
	return out
}

// bulkGroups adds, for each family, next hops over both uplinks and two groups:
// base+50 over uplink 1 with 2 behind it, base+51 the other way round.
func (s *site) bulkGroups(f Family) (first, second uint32) {
	s.t.Helper()
	base := map[Family]uint32{IPv4: 1000, IPv6: 1100}[f]
	s.apply(Replace, s.hop(base+2, f, 1), s.hop(base+3, f, 1), s.hop(base+4, f, 2), s.hop(base+5, f, 2),
		s.rankedGroup(base+50, base+2, base+5), s.rankedGroup(base+51, base+4, base+3))
	return base + 50, base + 51
}

func (s *site) rankedGroup(id, first, second uint32) Group {
	return Group{
		ID: id, Type: GroupResilient, Buckets: 60, IdleTimer: time.Minute,
		Members: []Member{{NextHop: first, Weight: 255}, {NextHop: second, Weight: 1}},
	}
}

// writeBulk writes prefixes, all that were to was and are to lead to group.
func (s *site) writeBulk(prefixes []netip.Prefix, was, group uint32) []error {
	s.t.Helper()
	writes := make([]BulkWrite, len(prefixes))
	for i, p := range prefixes {
		writes[i] = BulkWrite{Prefix: p, Was: was, NextHop: group}
	}
	return s.k.ApplyBulk(context.Background(), testBulk, writes)
}

// bulkTable returns what ListBulk finds of ours, and the number of everything else.
func (s *site) bulkTable() (table map[netip.Prefix]uint32, others int) {
	s.t.Helper()
	table = map[netip.Prefix]uint32{}
	s.must(s.k.ListBulk(context.Background(), testBulk, func(f BulkFound) {
		if f.Protocol == testBulk.Protocol && f.Stray == (Stray{}) {
			table[f.Prefix] = f.NextHop
		} else {
			others++
		}
	}))
	return table, others
}

// wantBulk wants all prefixes to lead to group, and nothing else to be there.
func (s *site) wantBulk(when string, prefixes []netip.Prefix, group uint32) {
	s.t.Helper()
	table, others := s.bulkTable()
	if len(table) != len(prefixes) || others != 0 {
		s.t.Fatalf("%s: %d routes of ours and %d others, want %d", when, len(table), others, len(prefixes))
	}
	for _, p := range prefixes {
		if table[p] != group {
			s.t.Fatalf("%s: %s leads to %d, want %d", when, p, table[p], group)
		}
	}
}

// kernelBulk is how many routes the tests write; benchmarks write more.
const kernelBulk = 20_000

func TestApplyBulkInPlace(t *testing.T) {
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			s := newSite(t)
			first, second := s.bulkGroups(f)
			prefixes := bulkPrefixes(f, kernelBulk)
			s.wantBulk("without a table", nil, 0)
			s.must(errors.Join(s.writeBulk(prefixes, 0, first)...))
			s.wantBulk("created", prefixes, first)
			s.must(errors.Join(s.writeBulk(prefixes, first, second)...))
			s.wantBulk("replaced", prefixes, second)
			s.shows(s.ip(f, "route show %s table 222", prefixes[7]), fmt.Sprintf("nhid %d", second), "proto 134", "metric 20")
			s.must(errors.Join(s.writeBulk(prefixes[:5000], second, 0)...))
			s.must(errors.Join(s.writeBulk(prefixes[:10], second, 0)...)) // what is not there
			s.wantBulk("removed", prefixes[5000:], second)
		})
	}
}

// Writing in batches: one error for each message that
// failed, and the rest is done.
func TestApplyBulkErrorsBelongToTheirRoutes(t *testing.T) {
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			s := newSite(t)
			first, _ := s.bulkGroups(f)
			prefixes := bulkPrefixes(f, 200)
			foreign := map[int]bool{0: true, 5: true, 63: true, 64: true, 199: true}
			for i := range foreign {
				s.ip(f, "route add blackhole %s table 222 metric 20 proto bird", prefixes[i])
			}
			writes := make([]BulkWrite, len(prefixes))
			for i, p := range prefixes {
				writes[i] = BulkWrite{Prefix: p, NextHop: first}
			}
			writes[100].NextHop = 1999
			writes[127].Prefix = netip.Prefix{} // the last of a batch is not sent
			for i, err := range s.k.ApplyBulk(t.Context(), testBulk, writes) {
				switch {
				case foreign[i]:
					if !errors.Is(err, unix.EEXIST) {
						t.Errorf("route %d over a stranger's: %v", i, err)
					}
				case i == 100:
					if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), prefixes[i].String()+" metric 20 table 222") {
						t.Errorf("route %d without group: %v", i, err)
					}
				case i == 127:
					if err == nil {
						t.Error("no prefix at all is taken")
					}
				case err != nil:
					t.Errorf("route %d: %v", i, err)
				}
			}
			table, others := s.bulkTable()
			if len(table) != 193 || others != len(foreign) {
				t.Errorf("%d routes of ours and %d of strangers", len(table), others)
			}
			s.must(errors.Join(s.writeBulk(prefixes, first, 0)...))
			if table, others := s.bulkTable(); len(table) != 0 || others != len(foreign) {
				t.Errorf("after removing: %d routes of ours and %d of strangers", len(table), others)
			}
		})
	}
}

// Writes that say who they are only: a stranger's routes, in whatever form, are seen
// where they stand in ours' place, and not touched.
func TestListBulkTellsFormsApart(t *testing.T) {
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			s := newSite(t)
			first, _ := s.bulkGroups(f)
			p := bulkPrefixes(f, 10)
			s.must(errors.Join(s.writeBulk(p[:3], 0, first)...))
			for _, line := range []string{
				fmt.Sprintf("route add %s nhid %d table 222 metric 21 proto 134", p[0], first), // stray
				fmt.Sprintf("route add blackhole %s table 222 metric 20 proto 134", p[3]),
				fmt.Sprintf("route add %s via %s dev eth1 table 222 metric 20 proto 134", p[4], s.gateway(f, 1)),
				fmt.Sprintf("route add %s via %s dev eth1 table 222 metric 20 proto bird", p[5], s.gateway(f, 1)),
				fmt.Sprintf("route add %s via %s dev eth1 table 222 metric 19 proto bird", p[0], s.gateway(f, 1)),
				fmt.Sprintf("route add %s via %s dev eth1 table 223 metric 20 proto 134", p[6], s.gateway(f, 1)),
			} {
				s.ip(f, "%s", line)
			}
			found := map[netip.Prefix][]string{}
			var strays []Stray
			s.must(s.k.ListBulk(t.Context(), testBulk, func(b BulkFound) {
				word := fmt.Sprintf("proto %d to %d", b.Protocol, b.NextHop)
				if b.Stray != (Stray{}) {
					word = "stray"
					strays = append(strays, b.Stray)
				}
				found[b.Prefix] = append(found[b.Prefix], word)
			}))
			ours := fmt.Sprintf("proto 134 to %d", first)
			want := map[netip.Prefix]string{p[0]: ours + ", stray", p[1]: ours, p[2]: ours, p[3]: "proto 134 to 0", p[4]: "proto 134 to 0", p[5]: "proto 12 to 0"}
			if len(found) != len(want) {
				t.Errorf("%d prefixes, want %d: %v", len(found), len(want), found)
			}
			for prefix, words := range want {
				if got := strings.Join(found[prefix], ", "); got != words {
					t.Errorf("%s: %q, want %q", prefix, got, words)
				}
			}
			s.must(errors.Join(s.k.RemoveStrays(t.Context(), testBulk, strays)...))
			// The odd ones are replaced in place, and removed like any other.
			s.must(errors.Join(s.writeBulk(p[3:5], oddNextHop, first)...))
			if table, others := s.bulkTable(); len(table) != 5 || table[p[3]] != first || table[p[4]] != first || others != 1 {
				t.Errorf("then: %v and %d others", table, others)
			}
			s.ip(f, "route replace blackhole %s table 222 metric 20 proto 134", p[3])
			s.must(errors.Join(s.writeBulk(p[:5], first, 0)...))
			left := s.ip(f, "route show table 222")
			if n := strings.Count(left, "\n"); n != 2 || strings.Count(left, "proto bird") != 2 {
				t.Errorf("left are\n%s", left)
			}
		})
	}
}

// Replacing the contents of one group moves every route that leads to it, and with
// nexthop_compat_mode 0 without a word about any of them.
func TestLNX_NH_11_GroupReplaceMovesBulkRoutes(t *testing.T) {
	s := newSite(t)
	s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
	for _, f := range Families {
		first, second := s.bulkGroups(f)
		prefixes := bulkPrefixes(f, kernelBulk)
		s.must(errors.Join(s.writeBulk(prefixes, 0, first)...))
		s.ip(f, "rule add pref 100 lookup 222")
		uplink := func() string { return s.ip(f, "route get %s", prefixes[kernelBulk-1].Addr().Next()) }
		s.shows(uplink(), "dev eth1")
		l := s.listen()
		s.apply(Replace, s.rankedGroup(first, second-47, second-48)) // active 2, standby 1
		l.wantHeard("when a group with many routes is replaced", "nexthop add")
		s.shows(uplink(), "dev eth2")
		s.wantBulk("after the replace", prefixes, first)
		s.must(errors.Join(s.writeBulk(prefixes, first, 0)...))
	}
}

// A group that loses its last device goes, and its routes with it: those of IPv4 in
// silence, those of IPv6 with a word for each.
func TestLNX_NH_03_LostGroupTakesBulkRoutes(t *testing.T) {
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			s := newSite(t)
			s.apply(Add, s.hop(1002, f, 1), Group{ID: 1050, Type: GroupResilient, Buckets: 8, Members: []Member{{NextHop: 1002, Weight: 1}}})
			prefixes := bulkPrefixes(f, 3)
			s.must(errors.Join(s.writeBulk(prefixes, 0, 1050)...))
			l := s.listen()
			s.carrier(1, false)
			s.wantBulk("without the carrier", nil, 0)
			want := map[Family]string{IPv4: "", IPv6: "route del ipv6, route del ipv6, route del ipv6"}[f]
			if got := l.heard(); strings.Count(got, "route del") != strings.Count(want, "route del") {
				s.differs("it notifies %q, not %q", got, want)
			}
		})
	}
}

// A Bulk over the real kernel: what it is told, a choice that changes, a group that is
// lost, a restart, a sweep.
func TestBulkInTheKernel(t *testing.T) {
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) {
			s := newSite(t)
			first, second := s.bulkGroups(f)
			groups := map[uint32]uint32{first: first, second: second}
			prefixes := bulkPrefixes(f, kernelBulk)
			b, stop := s.runBulk()
			b.Groups(groups)
			tellBulk(t, b, prefixes, first)
			s.bulkSettles(b, len(prefixes))
			s.wantBulk("told", prefixes, first)
			b.Sweep()
			tellBulk(t, b, prefixes, second)
			s.bulkSettles(b, len(prefixes))
			s.wantBulk("told otherwise", prefixes, second)

			// The group goes without a word to the Bulk, and its routes with it.
			lost := s.list().Groups[second]
			s.ip(FamilyUnknown, "nexthop del id %d", second)
			s.apply(Add, lost)
			b.Invalidate("the group was made again")
			eventually(t, "the routes are repaired", func() bool { return b.Stats().Repaired == kernelBulk })
			s.bulkSettles(b, len(prefixes))
			s.wantBulk("after the repair", prefixes, second)

			stop()
			b, _ = s.runBulk()
			eventually(t, "the routes are adopted", func() bool { n, ok := b.Adopted(); return ok && n == kernelBulk })
			b.Groups(groups)
			tellBulk(t, b, prefixes[:100], second)
			b.Sweep()
			s.bulkSettles(b, 100)
			s.wantBulk("after the sweep", prefixes[:100], second)
			if w := b.Stats().Written; w != kernelBulk-100 {
				t.Errorf("%d writes after the restart", w)
			}
		})
	}
}

// runBulk runs a Bulk on the site's kernel.
func (s *site) runBulk() (b *Bulk, stop func()) {
	s.t.Helper()
	b = NewBulk(s.k, testBulk, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx, nil)
	}()
	stop = func() { cancel(); <-ended }
	s.t.Cleanup(stop)
	return b, stop
}

func tellBulk(t testing.TB, b *Bulk, prefixes []netip.Prefix, group uint32) {
	t.Helper()
	routes := make([]BulkRoute, 0, 1024)
	for i, p := range prefixes {
		routes = append(routes, BulkRoute{Prefix: p, Group: group})
		if len(routes) == cap(routes) || i == len(prefixes)-1 {
			if err := b.Set(t.Context(), routes); err != nil {
				t.Fatal(err)
			}
			routes = routes[:0]
		}
	}
}

// bulkSettles waits until nothing is left to write, nobody to be told, and the kernel
// has n routes.
func (s *site) bulkSettles(b *Bulk, n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d routes", n), func() bool {
		stats := b.Stats()
		return stats.Pending == 0 && stats.Routes == n && stats.Unclaimed == 0
	})
}
