package bgptest

import (
	"encoding/binary"
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// heardTable decodes what Updates encoded: prefixes with their attributes.
func heardTable(t *testing.T, blocks [][]byte) (routes map[netip.Prefix]*Attributes, messages int) {
	t.Helper()
	routes = map[netip.Prefix]*Attributes{}
	for _, b := range blocks {
		for len(b) > 0 {
			n := int(binary.BigEndian.Uint16(b[16:]))
			if n > maxLen || b[18] != TypeUpdate {
				t.Fatalf("message of type %d and length %d", b[18], n)
			}
			u, err := DecodeUpdate(b[headerLen:n], true)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range u.Announced {
				if routes[p] != nil {
					t.Fatalf("%v is announced twice", p)
				}
				routes[p] = &u.Attributes
			}
			b = b[n:]
			messages++
		}
	}
	return routes, messages
}

// viewOf is how a peer sees a table of that family.
func viewOf(f Family, slot int, p Preference) View {
	v := View{AS: 5001 + uint32(slot), NextHop: netip.AddrFrom4([4]byte{10, 0, 0, byte(slot)}), Slot: slot, Preference: p}
	if f == IPv6 {
		v.NextHop = netip.MustParseAddr("fd00::1")
	}
	return v
}

// A table is like the real ones: lengths of prefixes and paths, sets of attributes.
func TestTable(t *testing.T) {
	for _, tc := range []struct {
		f      Family
		common uint8
		share  float64
	}{{IPv4, 24, 0.62}, {IPv6, 48, 0.472}} {
		t.Run(tc.f.String(), func(t *testing.T) {
			const n = 100_000
			table := NewTable(tc.f, n, 1)
			if table.Len() != n || table.Family() != tc.f {
				t.Fatalf("%d prefixes of %v", table.Len(), table.Family())
			}
			common := 0
			seen := map[netip.Prefix]bool{}
			for i := range n {
				p := table.Prefix(i)
				if p != p.Masked() || seen[p] || FamilyOf(p) != tc.f {
					t.Fatalf("prefix %v, seen before: %t", p, seen[p])
				}
				if a := p.Addr(); a.IsPrivate() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || !a.IsGlobalUnicast() {
					t.Fatalf("%v is a bogon", p)
				}
				seen[p] = true
				if p.Bits() == int(tc.common) {
					common++
				}
			}
			// Neighbours have the length of who is beside them, which changes nothing on
			// average.
			if got := float64(common) / n; math.Abs(got-tc.share) > 0.03 {
				t.Errorf("%.3f have /%d, want %.3f", got, tc.common, tc.share)
			}
			if per := float64(n) / float64(table.Sets()); per < 4 || per > 5 {
				t.Errorf("%.2f prefixes for each set of attributes", per)
			}
			routes, messages := heardTable(t, table.Updates(viewOf(tc.f, 0, PreferEach), 0, n))
			if len(routes) != n || messages < table.Sets() || messages > table.Sets()*11/10 {
				t.Errorf("%d routes in %d messages, %d sets", len(routes), messages, table.Sets())
			}
			for p, a := range routes {
				if !seen[p] || len(a.ASPath) < 2 || len(a.ASPath) > 7 || a.ASPath[0] != 5001 {
					t.Fatalf("%v: %v", p, a.ASPath)
				}
			}
		})
	}
}

// Who is preferred is as asked for.
func TestTable_preference(t *testing.T) {
	const n = 20_000
	table := NewTable(IPv4, n, 7)
	for _, tc := range []struct {
		p         Preference
		low, high float64
	}{{PreferEach, 0.45, 0.55}, {PreferFirst, 1, 1}, {PreferNone, 0, 0}} {
		first, _ := heardTable(t, table.Updates(viewOf(IPv4, 0, tc.p), 0, n))
		second, _ := heardTable(t, table.Updates(viewOf(IPv4, 1, tc.p), 0, n))
		shorter, longer := 0, 0
		for p, a := range first {
			switch b := second[p]; {
			case len(a.ASPath) < len(b.ASPath):
				shorter++
			case len(a.ASPath) > len(b.ASPath):
				longer++
			}
		}
		if got := float64(shorter) / n; got < tc.low || got > tc.high {
			t.Errorf("%d: %.3f prefer the first", tc.p, got)
		}
		if tc.p == PreferEach && shorter+longer != n {
			t.Errorf("%d have no preference", n-shorter-longer)
		}
	}
}

// A part of a table is the same as in the whole, what Attributes says is what is
// sent, and the same seed is the same table.
func TestTable_part(t *testing.T) {
	const n = 5000
	for _, f := range []Family{IPv4, IPv6} {
		v := viewOf(f, 1, PreferEach)
		all, _ := heardTable(t, NewTable(f, n, 3).Updates(v, 0, n))
		again := NewTable(f, n, 3)
		some, _ := heardTable(t, again.Updates(v, 1234, 2345))
		if len(some) != 2345-1234 {
			t.Errorf("%d prefixes", len(some))
		}
		for p, a := range some {
			if !reflect.DeepEqual(all[p], a) {
				t.Errorf("%v: %v, want %v", p, a, all[p])
			}
		}
		p := again.Prefix(2000)
		want := again.Attributes(v, 2000)
		if got := some[p]; !reflect.DeepEqual(got.ASPath, want.ASPath) || got.NextHop != v.NextHop || got.MED != want.MED {
			t.Errorf("%v: %+v, want %+v", p, got, want)
		}
		v.Extra = 3
		if got := again.Attributes(v, 2000).ASPath; len(got) != len(want.ASPath)+3 {
			t.Errorf("%v is not three longer than %v", got, want.ASPath)
		}
		if NewTable(f, n, 4).Prefix(0) == again.Prefix(0) {
			t.Error("another seed has the same table")
		}
	}
}

func TestTable_withdrawals(t *testing.T) {
	table := NewTable(IPv6, 1000, 1)
	n := 0
	for _, m := range table.Withdrawals(100, 900) {
		u, err := DecodeUpdate(m[headerLen:], true)
		if err != nil {
			t.Fatal(err)
		}
		n += len(u.Withdrawn)
	}
	if n != 800 {
		t.Errorf("%d withdrawn", n)
	}
}

// A table goes through a session, and a peer that forgets keeps the counts only.
func TestTable_sent(t *testing.T) {
	n := 100_000
	ctx := testContext(t)
	b := options(64501)
	b.Forget = true
	pa, pb := couple(t, options(5001), b, "127.0.0.1", Socket{})
	if err := pa.Send(NewTable(IPv4, n, 1).Updates(viewOf(IPv4, 0, PreferEach), 0, n)...); err != nil {
		t.Fatal(err)
	}
	if err := pa.EndOfRIB(IPv4); err != nil {
		t.Fatal(err)
	}
	if err := pb.WaitEndOfRIB(ctx, IPv4); err != nil {
		t.Fatal(err)
	}
	if h := pb.Heard(); h.Announced != n || len(h.Routes) != 0 {
		t.Errorf("%d announced, %d kept", h.Announced, len(h.Routes))
	}
}

func BenchmarkTable(b *testing.B) {
	for b.Loop() {
		begin := time.Now()
		t := NewTable(IPv4, 1_000_000, 1)
		made := time.Since(begin)
		blocks := t.Updates(viewOf(IPv4, 0, PreferEach), 0, t.Len())
		octets := 0
		for _, block := range blocks {
			octets += len(block)
		}
		b.ReportMetric(made.Seconds(), "s/table")
		b.ReportMetric(float64(octets)/1e6, "MB")
	}
}
