package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// The setting of these tests: we are AS 64500, the peer is AS 64501.
const (
	testAS   = 64500
	testPeer = 64501
)

// testAddress returns the address of the peer in a session over f.
func testAddress(f Family) netip.Addr {
	if f == IPv4 {
		return netip.MustParseAddr("192.0.2.1")
	}
	return netip.MustParseAddr("2001:db8:1::1")
}

// good returns attributes that are accepted over a session of f.
func good(f Family) attributes {
	return attributes{
		asPath: []uint32{testPeer, 3356, 15169}, length: 3, first: testPeer, originAS: 15169, nextHop: testAddress(f),
	}
}

// path sets the AS path of a to a sequence.
func (a attributes) path(list ...uint32) attributes {
	a.asPath, a.length, a.first, a.originAS = list, len(list), 0, 0
	if len(list) > 0 {
		a.first, a.originAS = list[0], list[len(list)-1]
	}
	return a
}

func (a attributes) with(communities ...uint32) attributes {
	a.communities = communities
	return a
}

func (a attributes) via(hop string) attributes {
	a.nextHop = netip.MustParseAddr(hop)
	return a
}

func testConfig(f Family, change func(c *Config, p *Peer)) (*Config, *Peer) {
	c := &Config{AS: testAS, Own: []netip.Prefix{
		netip.MustParsePrefix("5.2.0.0/16"), netip.MustParsePrefix("2a00:4::/32"),
	}}
	p := &Peer{Address: testAddress(f), AS: testPeer, Families: Families[:], Import: Import{Mode: ImportFull}}
	if change != nil {
		change(c, p)
	}
	return c, p
}

func testJudge(f Family, change func(c *Config, p *Peer)) *judge {
	c, p := testConfig(f, change)
	own := map[netip.Addr]bool{netip.MustParseAddr("192.0.2.2"): true, netip.MustParseAddr("2001:db8:1::2"): true}
	return newJudge(c, p, func(a netip.Addr) bool { return own[a] }, nil)
}

func mode(m ImportMode, prefixes ...string) func(*Config, *Peer) {
	return func(_ *Config, p *Peer) {
		p.Import.Mode = m
		for _, s := range prefixes {
			p.Import.Prefixes = append(p.Import.Prefixes, netip.MustParsePrefix(s))
		}
	}
}

// TestB_POL_01_B_POL_05_B_POL_06_B_POL_07_PrefixesByMode goes through the modes of
// import and what a prefix may be.
func TestB_POL_01_B_POL_05_B_POL_06_B_POL_07_PrefixesByMode(t *testing.T) {
	allowOwn := func(c *Config, _ *Peer) { c.AllowOwn = true }
	lengths := func(_ *Config, p *Peer) { p.Import.MaxLength4, p.Import.MaxLength6 = 20, 32 }
	named := mode(ImportPrefixes, "8.8.0.0/16", "8.8.8.8/32", "100.64.0.0/10", "2a00:1::/32", "2a00:6::/32", "2a00:1:1:1::/64", "fd00::/8", "64.0.0.0/2", "2001::/16")
	for _, c := range []struct {
		name   string
		change func(*Config, *Peer)
		v4, v6 string
		want   Reason
	}{
		{"nothing without policy", mode(ImportNone), "8.8.8.0/24", "2a00:1::/32", NoPolicy},
		{"no default without policy", mode(ImportNone), "0.0.0.0/0", "::/0", NoPolicy},
		{"default", mode(ImportDefault), "0.0.0.0/0", "::/0", Accepted},
		{"default only", mode(ImportDefault), "8.8.8.0/24", "2a00:1::/48", NotAsked},
		{"default, not half of it", mode(ImportDefault), "0.0.0.0/1", "::/1", NotAsked},
		{"full: a default", nil, "0.0.0.0/0", "::/0", Accepted},
		{"full", nil, "8.8.8.0/24", "2a00:1::/48", Accepted},
		{"full: too specific", nil, "8.8.8.0/25", "2a00:1::/49", TooSpecific},
		{"full: host", nil, "8.8.8.8/32", "2a00:1::1/128", TooSpecific},
		{"full: max-length", lengths, "8.8.0.0/20", "2a00:1::/32", Accepted},
		{"full: longer than max-length", lengths, "8.8.0.0/21", "2a00:1::/33", TooSpecific},
		{"full: bogon", nil, "10.1.0.0/16", "fd00:1::/32", Bogon},
		{"full: a bogon that is long", nil, "10.1.0.0/30", "2001:db8::/64", Bogon},
		{"own", nil, "5.2.0.0/16", "2a00:4::/32", OwnPrefix},
		{"part of own", nil, "5.2.2.0/24", "2a00:4:1::/48", OwnPrefix},
		{"part of own that is long", nil, "5.2.2.3/32", "2a00:4:1::1/128", OwnPrefix},
		{"more than own", nil, "5.2.0.0/15", "2a00:4::/31", Accepted},
		{"own allowed", allowOwn, "5.2.2.0/24", "2a00:4:1::/48", Accepted},
		{"prefixes: a default that is not named", named, "0.0.0.0/0", "::/0", NotAsked},
		{"prefixes: a default that is named", mode(ImportPrefixes, "0.0.0.0/0", "::/0"), "0.0.0.0/0", "::/0", Accepted},
		{"prefixes: a named default is no more than that", mode(ImportPrefixes, "0.0.0.0/0", "::/0"), "8.8.8.0/24", "2a00:1::/32", NotAsked},
		{"prefixes: named", named, "8.8.0.0/16", "2a00:1::/32", Accepted},
		{"prefixes: in named", named, "8.8.4.0/24", "2a00:1:2::/48", Accepted},
		{"prefixes: in named, too specific", named, "8.8.4.0/25", "2a00:1:2::/49", TooSpecific},
		{"prefixes: named as long as written", named, "8.8.8.8/32", "2a00:1:1:1::/64", Accepted},
		{"prefixes: longer than that", named, "8.8.8.9/32", "2a00:1:1:1:1::/80", TooSpecific},
		{"prefixes: shorter than named", named, "8.0.0.0/8", "2a00::/16", NotAsked},
		{"prefixes: shorter than named, with its address", named, "8.8.0.0/15", "2a00:6::/31", NotAsked},
		{"prefixes: beside", named, "8.9.0.0/16", "2a00:2::/32", NotAsked},
		{"prefixes: special space that is named", named, "100.64.1.0/24", "fd01::/32", Accepted},
		{"prefixes: special space in what is named", named, "100.64.0.0/10", "2001:db8::/32", Accepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range []string{c.v4, c.v6} {
				prefix := netip.MustParsePrefix(s)
				f := FamilyOf(prefix.Addr())
				want := c.want
				if s == "2001:db8::/32" && c.name == "prefixes: special space in what is named" {
					want = Bogon // 2001::/16 is not special, so naming it does not name what is.
				}
				a := good(f)
				if _, got := testJudge(f, c.change).path(prefix, &a); got != want {
					t.Errorf("%s is %v, want %v", s, got.Word(), want.Word())
				}
			}
		})
	}
}

// TestB_POL_06_Bogons has a prefix of each entry of the registries, its first and last
// address, and its neighbours.
func TestB_POL_06_Bogons(t *testing.T) {
	for i := range bogons {
		b := &bogons[i]
		if b.prefix != b.prefix.Masked() || b.source == "" {
			t.Errorf("%v: %q", b.prefix, b.source)
		}
		last := lastOf(b.prefix)
		for _, p := range []netip.Prefix{
			b.prefix, netip.PrefixFrom(b.prefix.Addr(), last.BitLen()), netip.PrefixFrom(last, last.BitLen()),
		} {
			if bogonOf(p) == nil {
				t.Errorf("%v of %v is none", p, b.prefix)
			}
		}
	}
	for _, s := range []string{
		"1.0.0.0/24", "9.255.255.0/24", "11.0.0.0/8", "100.63.0.0/16", "100.128.0.0/16", "128.0.0.0/16", "169.253.0.0/16", "172.15.0.0/16",
		"172.32.0.0/16", "191.255.0.0/16", "192.0.1.0/24", "192.0.3.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.167.0.0/16",
		"192.169.0.0/16", "192.175.48.0/24", "198.17.0.0/16", "198.20.0.0/16", "198.51.101.0/24", "203.0.112.0/24", "223.255.255.0/24", "192.0.0.0/8",
		"2001:3::/32", "2001:4:112::/48", "2001:200::/32", "2001:dc0::/32", "2003::/16", "2400::/12", "2600::/12", "2a00::/12",
		"2620:4f:8000::/48", "3ffd::/16", "2001:db7::/32", "2001:db9::/32", "3fff:1000::/36", "2000::/3",
	} {
		if b := bogonOf(netip.MustParsePrefix(s)); b != nil {
			t.Errorf("%s is %s", s, b.source)
		}
	}
	for _, s := range []string{
		"::1/128", "::/8", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:1::/32", "2001:1::1/128",
		"2001:2::/48", "2001:4::/32", "4000::/3", "5f00::/16", "fc00::/7", "fd12::/16", "fe80::/10", "fec0::/10", "ff00::/8", "ff02::/16", "1fff::/16",
		"2002:c000:204::/48", "::/1", "8000::/1", "2000::/2",
	} {
		if bogonOf(netip.MustParsePrefix(s)) == nil {
			t.Errorf("%s is none", s)
		}
	}
}

// lastOf returns the last address of p.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestB_POL_17_B_POL_14_Communities shows that BLACKHOLE is refused whatever it is
// sent for, and that graceful shutdown is accepted and ranks last.
func TestB_POL_17_B_POL_14_Communities(t *testing.T) {
	for _, f := range Families {
		for _, p := range []netip.Prefix{numbered(f, 1), fallbackOf(f), netip.PrefixFrom(numbered(f, 1).Addr(), numbered(f, 1).Addr().BitLen())} {
			a := good(f).with(1<<16|1, blackhole)
			if _, got := testJudge(f, nil).path(p, &a); got != Blackhole {
				t.Errorf("%v is %v", p, got.Word())
			}
		}
		a := good(f).with(GracefulShutdown)
		g, got := testJudge(f, nil).path(fallbackOf(f), &a)
		if got != Accepted || !g.last || !g.draining {
			t.Errorf("%v: %v %+v", f, got.Word(), g)
		}
		a = good(f)
		g, _ = testJudge(f, func(_ *Config, p *Peer) { p.Drained = true }).path(numbered(f, 1), &a)
		if !g.last || g.draining {
			t.Errorf("drained by us: %+v", g)
		}
	}
}

// TestB_LBW_02_B_LBW_03_GradeOfAPath shows what ranks a path that was accepted.
func TestB_LBW_02_B_LBW_03_GradeOfAPath(t *testing.T) {
	for _, f := range Families {
		a := good(f)
		a.med, a.hasMED, a.origin, a.bandwidth = 7, true, 2, 1.25e9
		g, why := testJudge(f, nil).path(numbered(f, 1), &a)
		want := grade{preference: DefaultPreference, length: 3, origin: 2, med: 7, neighbour: testPeer}
		if why != Accepted || g != want {
			t.Errorf("%v %+v, want %+v", why.Word(), g, want)
		}
		j := testJudge(f, func(_ *Config, p *Peer) { p.Import.Bandwidth, p.Tier, p.Preference = true, -3, 500 })
		want.tier, want.preference = -3, 500
		if g, _ := j.path(numbered(f, 1), &a); g != want {
			t.Errorf("%+v, want %+v", g, want)
		}
		if got, none := j.believed(&a), testJudge(f, nil).believed(&a); got != 1.25e9 || none != 0 {
			t.Errorf("bandwidth %v, and %v where it is not believed", got, none)
		}
	}
}

// always is a validator with one opinion.
type always validity

func (v always) validate(netip.Prefix, uint32) validity { return validity(v) }

// TestB_POL_26_B_POL_27_ValidityRefusesOnlyIfAsked shows that the state of a path alone
// refuses nothing.
func TestB_POL_26_B_POL_27_ValidityRefusesOnlyIfAsked(t *testing.T) {
	for _, f := range Families {
		for _, v := range []validity{notFound, valid, invalid} {
			for _, reject := range []bool{false, true} {
				c, p := testConfig(f, func(_ *Config, p *Peer) { p.Import.RejectInvalid = reject })
				a := good(f)
				want := Accepted
				if reject && v == invalid {
					want = Invalid
				}
				j := newJudge(c, p, nil, always(v))
				if _, got := j.path(numbered(f, 1), &a); got != want || j.validity(numbered(f, 1), &a) != v {
					t.Errorf("%v, %v, reject %v: %v", f, v, reject, got.Word())
				}
			}
		}
		a := good(f)
		if got := testJudge(f, nil).validity(numbered(f, 1), &a); got != notFound {
			t.Errorf("nobody is asked: %v", got)
		}
	}
}

func TestMalformed(t *testing.T) {
	j := testJudge(IPv4, nil)
	for _, p := range []netip.Prefix{
		{}, netip.PrefixFrom(netip.MustParseAddr("8.8.8.8"), 24), netip.PrefixFrom(netip.MustParseAddr("8.8.8.0"), 33),
		netip.PrefixFrom(netip.MustParseAddr("::ffff:8.8.8.0"), 120), netip.PrefixFrom(netip.MustParseAddr("2a00::1"), 32),
	} {
		a := good(IPv4)
		if _, got := j.path(p, &a); got != Malformed {
			t.Errorf("%v is %v", p, got.Word())
		}
	}
	a := good(IPv4)
	a.broken = true
	if _, got := j.path(numbered(IPv4, 1), &a); got != Malformed {
		t.Errorf("broken attributes: %v", got.Word())
	}
}

// TestJudgeAllocatesNothing: a full table is a million paths.
func TestJudgeAllocatesNothing(t *testing.T) {
	for _, f := range Families {
		j, p, a := testJudge(f, nil), numbered(f, 1), good(f).with(1, 2, 3)
		if n := testing.AllocsPerRun(100, func() { j.path(p, &a) }); n != 0 {
			t.Errorf("%v: %v allocations", f, n)
		}
	}
}

// FuzzJudge shows that whatever is sent is decided, and that what is accepted is fit.
func FuzzJudge(f *testing.F) {
	f.Add([]byte{8, 8, 8, 0, 24, 3, 0, 0, 251, 245, 0, 0, 13, 28})
	f.Add([]byte{10, 0, 0, 0, 8, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() byte {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return b
		}
		word := func() uint32 { return binary.BigEndian.Uint32([]byte{next(), next(), next(), next()}) }
		family := Families[next()%2]
		var prefix netip.Prefix
		if family == IPv4 {
			prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{next(), next(), next(), next()}), int(next()))
		} else {
			var b [16]byte
			for i := range 8 {
				b[i] = next()
			}
			prefix = netip.PrefixFrom(netip.AddrFrom16(b), int(next()))
		}
		importMode := ImportMode(next() % 4)
		j := testJudge(family, func(_ *Config, p *Peer) {
			p.Import.Mode, p.Import.Prefixes = importMode, []netip.Prefix{prefix}
			p.Import.PrivateAS = next()%2 == 0
		})
		a := good(family)
		if next()%2 == 0 {
			a = a.path(word(), word(), word())
		}
		if next()%2 == 0 {
			a.communities = []uint32{word(), word()}
		}
		if next()%2 == 0 {
			a.nextHop = netip.AddrFrom4([4]byte{next(), next(), next(), next()})
		}
		g, why := j.path(prefix, &a)
		if int(why) >= reasons {
			t.Fatalf("reason %d", why)
		}
		if why != Accepted {
			if g != (grade{}) {
				t.Fatal("a grade for a refused path")
			}
			return
		}
		if !prefix.IsValid() || prefix.Masked() != prefix || importMode == ImportNone || slices.Contains(a.asPath, testAS) ||
			a.first != testPeer || slices.Contains(a.asPath, 0) || slices.Contains(a.communities, blackhole) ||
			a.nextHop.Unmap() != testAddress(family) || g.neighbour != testPeer {
			t.Fatalf("accepted: %v %+v", prefix, a)
		}
		if importMode == ImportDefault && prefix.Bits() != 0 || importMode == ImportFull && prefix.Bits() > 48 {
			t.Fatalf("accepted: %v", prefix)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	for _, f := range Families {
		b.Run(f.String(), func(b *testing.B) {
			table := &vrps{}
			table.replace(someVRPs(500_000))
			c, p := testConfig(f, func(_ *Config, p *Peer) { p.Import.RejectInvalid = true })
			for name, o := range map[string]origins{"plain": nil, "rpki": table} {
				b.Run(name, func(b *testing.B) {
					j := newJudge(c, p, nil, o)
					a := good(f).with(3356<<16|1, 3356<<16|2, 3356<<16|3, 3356<<16|4)
					prefixes := make([]netip.Prefix, 4096)
					for i := range prefixes {
						prefixes[i] = numbered(f, i*100)
					}
					b.ReportAllocs()
					n := 0
					for b.Loop() {
						j.path(prefixes[n%len(prefixes)], &a)
						n++
					}
				})
			}
		})
	}
}
