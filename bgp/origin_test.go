package bgp

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
)

// slowValidate looks at every record.
func slowValidate(records []vrp, prefix netip.Prefix, as uint32) validity {
	state := notFound
	for _, r := range records {
		if prefix.Bits() < r.prefix.Bits() || !r.prefix.Contains(prefix.Addr()) || int(r.maxLength) < r.prefix.Bits() {
			continue
		}
		if as != 0 && r.as == as && prefix.Bits() <= int(r.maxLength) {
			return valid
		}
		state = invalid
	}
	return state
}

// TestB_POL_25_States has the cases of RFC 6811 section 2.
func TestB_POL_25_States(t *testing.T) {
	var table vrps
	if got := table.validate(netip.MustParsePrefix("8.8.8.0/24"), 1); got != notFound {
		t.Errorf("without records: %v", got)
	}
	table.replace([]vrp{
		{netip.MustParsePrefix("10.0.0.0/16"), 24, 1}, {netip.MustParsePrefix("10.0.0.0/16"), 24, 1},
		{netip.MustParsePrefix("10.0.1.0/24"), 24, 2}, {netip.MustParsePrefix("10.0.2.0/24"), 24, 0},
		{netip.MustParsePrefix("10.1.0.0/16"), 16, 3}, {netip.MustParsePrefix("10.1.0.0/16"), 15, 4},
		{netip.MustParsePrefix("2a00::/16"), 32, 1}, {netip.MustParsePrefix("2a00:1::/32"), 48, 2},
		{netip.MustParsePrefix("2a00:2::/32"), 32, 0}, {netip.MustParsePrefix("2a00:3:0:0:1::/80"), 128, 7},
		{netip.MustParsePrefix("::/0"), 8, 9}, {netip.PrefixFrom(netip.MustParseAddr("::ffff:10.2.0.0"), 112), 128, 1}, {},
	})
	if n := table.len(); n != 9 {
		t.Errorf("%d records", n)
	}
	for _, c := range []struct {
		prefix string
		as     uint32
		want   validity
	}{
		{"10.0.0.0/16", 1, valid}, {"10.0.5.0/24", 1, valid}, {"10.0.5.0/25", 1, invalid}, {"10.0.5.0/24", 2, invalid},
		{"10.0.1.0/24", 2, valid}, {"10.0.1.0/24", 1, valid}, {"10.0.1.0/24", 3, invalid},
		{"10.0.2.0/24", 0, invalid}, {"10.0.2.0/24", 1, valid}, {"10.0.0.0/16", 0, invalid},
		{"10.0.0.0/15", 1, notFound}, {"10.1.0.0/16", 3, valid}, {"10.1.0.0/16", 4, invalid}, {"10.2.0.0/16", 1, notFound},
		{"9.255.255.0/24", 1, notFound}, {"255.0.0.0/8", 1, notFound}, {"0.0.0.0/0", 1, notFound},
		{"2a00::/16", 1, valid}, {"2a00:1::/32", 1, valid}, {"2a00:1::/48", 1, invalid}, {"2a00:1::/48", 2, valid},
		{"2a00:2::/32", 0, invalid}, {"2a00:2::/32", 1, valid}, {"2a00:3:0:0:1::/80", 7, valid}, {"2a00:3:0:0:1::5/128", 7, valid},
		{"2a00:3:0:0:2::/80", 7, invalid}, {"2a01::/16", 1, invalid}, {"fe80::/8", 9, valid}, {"::/8", 9, valid}, {"::/0", 9, valid},
	} {
		if got := table.validate(netip.MustParsePrefix(c.prefix), c.as); got != c.want {
			t.Errorf("%s from %d is %v, want %v", c.prefix, c.as, got, c.want)
		}
	}
	if got := table.validate(netip.Prefix{}, 1); got != notFound {
		t.Errorf("no prefix: %v", got)
	}
	table.replace(nil)
	if got := table.validate(netip.MustParsePrefix("10.0.0.0/16"), 2); got != notFound || table.len() != 0 {
		t.Errorf("replaced by nothing: %v", got)
	}
}

// TestB_POL_25_AgreesWithLookingAtEveryRecord asks at random, near records and far.
func TestB_POL_25_AgreesWithLookingAtEveryRecord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	random := func(f Family) netip.Prefix {
		base := netip.MustParseAddr("10.0.0.0").AsSlice()
		if f == IPv6 {
			base = netip.MustParseAddr([]string{"2a00::", "::", "ff00::"}[rnd.IntN(3)]).AsSlice()
		}
		for range rnd.IntN(6) {
			bit := rnd.IntN(min(8*len(base), 80))
			base[bit/8] ^= 0x80 >> (bit % 8)
		}
		a, _ := netip.AddrFromSlice(base)
		return netip.PrefixFrom(a, rnd.IntN(a.BitLen()+1)).Masked()
	}
	for range 12 {
		var records []vrp
		for range rnd.IntN(400) {
			p := random(Families[rnd.IntN(2)])
			records = append(records, vrp{p, uint8(min(max(p.Bits()-1, 0)+rnd.IntN(12), p.Addr().BitLen())), uint32(rnd.IntN(4))})
		}
		var table vrps
		table.replace(records)
		for range 2000 {
			p := random(Families[rnd.IntN(2)])
			if len(records) > 0 && rnd.IntN(2) == 0 {
				p = records[rnd.IntN(len(records))].prefix
				p = netip.PrefixFrom(p.Addr(), min(p.Bits()+rnd.IntN(10), p.Addr().BitLen())).Masked()
			}
			as := uint32(rnd.IntN(5))
			if got, want := table.validate(p, as), slowValidate(records, p, as); got != want {
				t.Fatalf("%v from %d is %v, want %v\n%v", p, as, got, want, records)
			}
		}
	}
}

// someVRPs returns n records, two thirds of them IPv4, as there are about now.
func someVRPs(n int) []vrp {
	rnd := rand.New(rand.NewPCG(9, 10))
	records := make([]vrp, 0, n)
	for i := range n {
		f := Families[i%3/2]
		p := numbered(f, rnd.IntN(3_000_000))
		p = netip.PrefixFrom(p.Addr(), p.Bits()-rnd.IntN(9)).Masked()
		records = append(records, vrp{p, uint8(p.Bits() + rnd.IntN(3)), uint32(rnd.IntN(100_000))})
	}
	return records
}

// TestMemoryOfVRPs measures what records take: not more than 24 MB for half a million.
func TestMemoryOfVRPs(t *testing.T) {
	const records = 125_000
	var table vrps
	list := someVRPs(records)
	before := heap()
	table.replace(list)
	took := heap() - before
	t.Logf("%.1f MB for %d records", float64(took)/1e6, table.len())
	if took > 48*records {
		t.Errorf("%d octets for %d records", took, records)
	}
	// A search goes upwards from each prefix to those that cover it, and no others.
	for _, f := range Families {
		v := table.tables.Load()[f]
		for i := range v.nodes[:len(v.nodes)-1] {
			depth := 0
			for p := v.nodes[i].parent; p != 0; p = v.nodes[p-1].parent {
				depth++
			}
			if depth > int(v.nodes[i].bits) {
				t.Fatalf("%v: %d prefixes are above one of length %d", f, depth, v.nodes[i].bits)
			}
		}
	}
	runtime.KeepAlive(list)
	runtime.KeepAlive(&table)
}
