package bfd

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// unhex reads octets; spaces are for people.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// upPacket is the packet of the golden vectors.
var goldenPeer = netip.MustParseAddr("2001:db8::1")

var upPacket = Packet{
	State: Up, DetectMult: 3, MyDiscriminator: 5, YourDiscriminator: 4,
	DesiredMinTx: 100_000, RequiredMinRx: 100_000,
}

// with returns a copy of p after a change.
func (p Packet) with(change func(*Packet)) Packet {
	change(&p)
	return p
}

// goldenPackets are what the layout means, written by hand.
var goldenPackets = []struct {
	name, wire string
	p          Packet
}{
	{"up", "20 c0 03 18 00000005 00000004 000186a0 000186a0 00000000", upPacket},
	{
		"control plane independent", "20 c8 03 18 00000001 80000001 000186a0 000186a0 00000000",
		upPacket.with(func(p *Packet) {
			p.ControlPlaneIndependent, p.MyDiscriminator, p.YourDiscriminator = true, 1, 0x80000001
		}),
	},
	{
		"multihop", "20 c0 03 18 00000003 00000002 000493e0 00061a80 0000c350",
		Packet{State: Up, DetectMult: 3, MyDiscriminator: 3, YourDiscriminator: 2, DesiredMinTx: 300_000, RequiredMinRx: 400_000, RequiredMinEchoRx: 50_000},
	},
	{
		"first", "20 40 05 18 deadbeef 00000000 000f4240 00000001 00000000",
		Packet{State: Down, DetectMult: 5, MyDiscriminator: 0xdeadbeef, DesiredMinTx: 1_000_000, RequiredMinRx: 1},
	},
	{"init poll", "20 a0 03 18 00000005 00000004 000186a0 000186a0 00000000", upPacket.with(func(p *Packet) { p.State, p.Poll = Init, true })},
	{"up final", "20 d0 03 18 00000005 00000004 000186a0 000186a0 00000000", upPacket.with(func(p *Packet) { p.Final = true })},
	{"up demand", "20 c2 03 18 00000005 00000004 000186a0 000186a0 00000000", upPacket.with(func(p *Packet) { p.Demand = true })},
	{
		"administratively down", "27 00 03 18 00000005 00000004 000186a0 000186a0 00000000",
		upPacket.with(func(p *Packet) { p.State, p.Diag = AdminDown, DiagAdminDown }),
	},
	{
		"everything is large", "3f 42 ff 18 ffffffff ffffffff ffffffff ffffffff ffffffff",
		Packet{
			Diag: 31, State: Down, Demand: true, DetectMult: 255, MyDiscriminator: math.MaxUint32, YourDiscriminator: math.MaxUint32,
			DesiredMinTx: math.MaxUint32, RequiredMinRx: math.MaxUint32, RequiredMinEchoRx: math.MaxUint32,
		},
	},
}

func TestBFD_PKT_02_GoldenPackets(t *testing.T) {
	for _, g := range goldenPackets {
		t.Run(g.name, func(t *testing.T) {
			wire := unhex(t, g.wire)
			if got := g.p.Append(nil); !bytes.Equal(got, wire) {
				t.Errorf("encoded\n%x, want\n%x", got, wire)
			}
			p, err := ParsePacket(wire)
			if err != nil || p != g.p {
				t.Errorf("decoded %+v, %v, want %+v", p, err, g.p)
			}
		})
	}
	front := []byte("in front")
	if got := upPacket.Append(slices.Clone(front)); !bytes.Equal(got, append(front, upPacket.Append(nil)...)) {
		t.Errorf("%x: what was there is gone", got)
	}
}

// everyPacket calls f with a packet of each combination of what the encoder has
// branches for.
func everyPacket(f func(Packet)) {
	for bits := range 16 {
		for state := range Up + 1 {
			for diag := range Diag(32) {
				f(Packet{
					Diag: diag, State: state, Poll: bits&1 != 0, Final: bits&2 != 0, ControlPlaneIndependent: bits&4 != 0, Demand: bits&8 != 0,
					DetectMult: 255, MyDiscriminator: 0x01020304, YourDiscriminator: 0x05060708, DesiredMinTx: 0x090a0b0c, RequiredMinRx: 0x0d0e0f10,
				})
			}
		}
	}
}

// TestBFD_PKT_01_BFD_PKT_03_BFD_PKT_05_BFD_PKT_06_BFD_PKT_10_Encoder: the octets are
// taken apart by hand, not by the decoder.
func TestBFD_PKT_01_BFD_PKT_03_BFD_PKT_05_BFD_PKT_06_BFD_PKT_10_Encoder(t *testing.T) {
	count := 0
	everyPacket(func(p Packet) {
		count++
		for _, typ := range authKinds {
			a := testAuth(typ)
			b := a.sign(p.Append(nil), 7)
			if b[0]>>5 != 1 || b[1]&0x01 != 0 {
				t.Fatalf("%+v, %s: version %d, multipoint %d", p, typ, b[0]>>5, b[1]&0x01)
			}
			if Diag(b[0]&0x1f) != p.Diag || State(b[1]>>6) != p.State {
				t.Fatalf("%+v, %s: %x", p, typ, b[:4])
			}
			if !bytes.Equal(b[4:12], []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
				t.Fatalf("%+v, %s: discriminators %x", p, typ, b[4:12])
			}
			poll, final := b[1]&0x20 != 0, b[1]&0x10 != 0
			if final != p.Final || poll != (p.Poll && !p.Final) {
				t.Fatalf("%+v, %s: poll %t, final %t", p, typ, poll, final)
			}
		}
	})
	if count != 16*4*32 {
		t.Errorf("%d packets", count)
	}
}

// TestBFD_PKT_01_BFD_PKT_03_BFD_PKT_05_BFD_PKT_10_Stray: values that no field can
// hold stay out of its neighbours.
func TestBFD_PKT_01_BFD_PKT_03_BFD_PKT_05_BFD_PKT_10_Stray(t *testing.T) {
	b := Packet{State: 255, Diag: 255, DetectMult: 1}.Append(nil)
	if b[0] != 0x3f || b[1] != 0xc0 {
		t.Errorf("%x", b[:2])
	}
}

// TestBFD_PKT_04_BFD_PKT_12_Length: the A bit is there exactly with a section, and
// Length is that of both.
func TestBFD_PKT_04_BFD_PKT_12_Length(t *testing.T) {
	check := func(a Auth, want int) {
		t.Helper()
		for _, capacity := range []int{headerLength, 30, maxLength} {
			b := a.sign(upPacket.Append(make([]byte, 0, capacity)), 7)
			if len(b) != want || int(b[3]) != want {
				t.Errorf("%s: %d octets with Length %d, want %d", a.Type, len(b), b[3], want)
			}
			if set := b[1]&0x04 != 0; set != (a.Type != AuthNone) {
				t.Errorf("%s: A is %t", a.Type, set)
			}
			if a.Type != AuthNone && (AuthType(b[24]) != a.Type || int(b[25]) != want-24) {
				t.Errorf("%s: section %x", a.Type, b[24:])
			}
		}
	}
	check(Auth{}, 24)
	for n := 1; n <= 16; n++ {
		check(Auth{Type: AuthSimple, Keys: []Key{{0, bytes.Repeat([]byte{7}, n)}}}, 27+n)
	}
	for typ, want := range map[AuthType]int{AuthMD5: 48, AuthMeticulousMD5: 48, AuthSHA1: 52, AuthMeticulousSHA1: 52} {
		for n := 1; n <= typ.secretMax(); n++ {
			check(Auth{Type: typ, Keys: []Key{{0, bytes.Repeat([]byte{7}, n)}}}, want)
		}
	}
}

// TestBFD_PKT_07_BFD_PKT_14_Config: no configuration makes a packet with a reserved
// zero.
func TestBFD_PKT_07_BFD_PKT_14_Config(t *testing.T) {
	base := Config{Peer: goldenPeer, Interface: "eth1"}
	for _, d := range []time.Duration{
		math.MinInt64, -1, 0, 1, 999, time.Microsecond, MinInterval - time.Microsecond, MinInterval, MinInterval + 1, MaxInterval, MaxInterval + time.Microsecond, math.MaxInt64,
	} {
		c := base
		c.DesiredMinTx = d
		valid := c.Validate() == nil
		if want := d == 0 || d >= MinInterval && d <= MaxInterval && d%time.Microsecond == 0; valid != want {
			t.Errorf("%v: valid %t, want %t", d, valid, want)
		}
		if n := c.withDefaults().DesiredMinTx / time.Microsecond; valid && (n < 1 || n > math.MaxUint32) {
			t.Errorf("%v: %d µs on the wire", d, n)
		}
	}
	for _, n := range []int{-1, 0, 1, 3, 255, 256, math.MaxInt} {
		c := base
		c.Multiplier = n
		if valid := c.Validate() == nil; valid != (n >= 0 && n <= 255) {
			t.Errorf("multiplier %d: valid %t", n, valid)
		} else if valid && uint8(c.withDefaults().Multiplier) == 0 {
			t.Errorf("multiplier %d: 0 on the wire", n)
		}
	}
}

// TestBFD_PKT_15_Diag: what is only reserved is taken.
func TestBFD_PKT_15_Diag(t *testing.T) {
	for d := range Diag(32) {
		p, err := ParsePacket(upPacket.with(func(p *Packet) { p.Diag = d }).Append(nil))
		if err != nil || p.Diag != d {
			t.Errorf("%d: %v, %v", d, p, err)
		}
		if word := fmt.Sprintf("unknown(%d)", d); d > 8 && (d.String() != word || !strings.Contains(p.String(), word)) {
			t.Errorf("%d: %s, %s", d, d, p)
		}
	}
}

// TestBFD_PKT_16_BFD_LP_02_Padding: what follows Length is neither read nor returned.
func TestBFD_PKT_16_BFD_LP_02_Padding(t *testing.T) {
	for _, typ := range authKinds {
		a := testAuth(typ)
		wire := a.sign(upPacket.Append(nil), 7)
		var want Packet
		if _, drop := want.decode(wire); drop != DropNone {
			t.Fatal(drop)
		}
		for _, padding := range []int{1, 4, 100 - len(wire), 1400, 65000} {
			for _, fill := range []byte{0, 0xff} {
				datagram := append(slices.Clone(wire), bytes.Repeat([]byte{fill}, padding)...)
				var p Packet
				pdu, drop := p.decode(datagram)
				if drop != DropNone || p != want || !bytes.Equal(pdu, wire) || cap(pdu) != len(wire) {
					t.Errorf("%s with %d times %d: %s, %v, %d of %d octets", typ, padding, fill, drop, p, len(pdu), cap(pdu))
				}
				if drop := a.verify(pdu, &p); drop != DropNone {
					t.Errorf("%s with %d times %d: %s", typ, padding, fill, drop)
				}
			}
		}
	}
}

// TestBFD_PKT_17_Extremes: the longest interval, times 255, is a positive duration.
func TestBFD_PKT_17_Extremes(t *testing.T) {
	for _, n := range []uint32{0, 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32} {
		p, err := ParsePacket(Packet{DetectMult: 255, MyDiscriminator: 1, DesiredMinTx: n, RequiredMinRx: n, RequiredMinEchoRx: n}.Append(nil))
		if err != nil || p.DesiredMinTx != n || p.RequiredMinRx != n || p.RequiredMinEchoRx != n {
			t.Errorf("%d: %v, %v", n, p, err)
		}
		if d := 255 * fromWire(n); d < 0 || d/time.Microsecond/255 != time.Duration(n) {
			t.Errorf("255 times %d µs is %v", n, d)
		}
	}
	if d := fromWire(math.MaxUint32); d != time.Hour+11*time.Minute+34*time.Second+967295*time.Microsecond {
		t.Errorf("%v", d)
	}
}

// malformed are datagrams that break one rule, or several: then the first counts.
var malformed = []struct {
	name, wire string
	drop       Drop
	err        string
}{
	{"empty", "", DropShort, "parse packet: short 0 octets: want at least 24"},
	{"23 octets", "20c00318 00000005 00000004 000186a0 000186a0 000000", DropShort, "parse packet: short 23 octets: want at least 24"},
	{"23 octets that say so", "20c00317 00000005 00000004 000186a0 000186a0 000000", DropShort, "parse packet: short 23 octets: want at least 24"},
	{"short and of version 2", "40c00318", DropShort, "parse packet: short 4 octets: want at least 24"},
	{"version 0", "00c00318 00000005 00000004 000186a0 000186a0 00000000", DropVersion, "parse packet: version 0: want 1"},
	{"version 2", "40c00318 00000005 00000004 000186a0 000186a0 00000000", DropVersion, "parse packet: version 2: want 1"},
	{"version 7 and all else", "ffff00ff 00000000 00000004 000186a0 000186a0 00000000", DropVersion, "parse packet: version 7: want 1"},
	{"length 0", "20c00300 00000005 00000004 000186a0 000186a0 00000000", DropLength, "parse packet: length 0: want 24 to the 24 octets of the datagram"},
	{"length 23", "20c00317 00000005 00000004 000186a0 000186a0 00000000 00", DropLength, "parse packet: length 23: want 24 to the 25 octets of the datagram"},
	{"length 24 with A", "20c40318 00000005 00000004 000186a0 000186a0 00000000 0104", DropLength, "parse packet: length 24: want 26 to the 26 octets of the datagram"},
	{"length 25 with A", "20c40319 00000005 00000004 000186a0 000186a0 00000000 0104", DropLength, "parse packet: length 25: want 26 to the 26 octets of the datagram"},
	{"length 26 of 24 with A", "20c4031a 00000005 00000004 000186a0 000186a0 00000000", DropLength, "parse packet: length 26: want 26 to the 24 octets of the datagram"},
	{"length 25 of 24", "20c00319 00000005 00000004 000186a0 000186a0 00000000", DropLength, "parse packet: length 25: want 24 to the 24 octets of the datagram"},
	{"length 52 of 24", "20c00334 00000005 00000004 000186a0 000186a0 00000000", DropLength, "parse packet: length 52: want 24 to the 24 octets of the datagram"},
	{"length and multiplier", "20c00034 00000005 00000004 000186a0 000186a0 00000000", DropLength, "parse packet: length 52: want 24 to the 24 octets of the datagram"},
	{"multiplier", "20c00018 00000005 00000004 000186a0 000186a0 00000000", DropMultiplier, "parse packet: multiplier 0: want at least 1"},
	{"multiplier and multipoint", "20c10018 00000005 00000004 000186a0 000186a0 00000000", DropMultiplier, "parse packet: multiplier 0: want at least 1"},
	{"multipoint", "20c10318 00000005 00000004 000186a0 000186a0 00000000", DropMultipoint, "parse packet: multipoint 1: want 0, the bit is reserved"},
	{"multipoint and discriminator", "20c10318 00000000 00000004 000186a0 000186a0 00000000", DropMultipoint, "parse packet: multipoint 1: want 0, the bit is reserved"},
	{"my discriminator", "20c00318 00000000 00000004 000186a0 000186a0 00000000", DropMyDiscriminator, "parse packet: my-discriminator 0: want any other"},
}

func TestMalformedPackets(t *testing.T) {
	explained := map[Drop]bool{}
	for _, m := range malformed {
		t.Run(m.name, func(t *testing.T) {
			wire := unhex(t, m.wire)
			before := Packet{MyDiscriminator: 99}
			p := before
			pdu, drop := p.decode(wire)
			if drop != m.drop || pdu != nil || p != before {
				t.Errorf("%s, %x, %+v, want %s", drop, pdu, p, m.drop)
			}
			if p, err := ParsePacket(wire); err == nil || err.Error() != m.err || p != (Packet{}) {
				t.Errorf("%+v, %v, want\n%s", p, err, m.err)
			}
		})
		explained[m.drop] = true
	}
	if len(explained) != len(faults) {
		t.Errorf("%d reasons are tested, %d exist", len(explained), len(faults))
	}
}

// TestShortDatagrams: all that may be cut off a packet.
func TestShortDatagrams(t *testing.T) {
	for _, typ := range authKinds {
		a := testAuth(typ)
		wire := a.sign(upPacket.Append(nil), 7)
		for n := range wire {
			want := DropLength
			if n < headerLength {
				want = DropShort
			}
			var p Packet
			if _, drop := p.decode(wire[:n:n]); drop != want {
				t.Errorf("%s, %d octets: %s, want %s", typ, n, drop, want)
			}
		}
	}
}

func TestPacketString(t *testing.T) {
	for want, p := range map[string]Packet{
		"up, my 5, your 4, tx 100ms, rx 100ms, 3 times": upPacket,
		"down poll final control-plane-independent demand, my 5, your 0, tx 1s, rx 1µs, 255 times, echo 50ms, unknown(31), sha1 key 2 sequence 9": {
			Diag: 31, State: Down, Poll: true, Final: true, ControlPlaneIndependent: true, Demand: true, DetectMult: 255, MyDiscriminator: 5,
			DesiredMinTx: 1_000_000, RequiredMinRx: 1, RequiredMinEchoRx: 50_000, Auth: AuthSection{Type: AuthSHA1, Length: 28, KeyID: 2, Sequence: 9},
		},
		"up, my 5, your 4, tx 100ms, rx 100ms, 3 times, simple key 2":      upPacket.with(func(p *Packet) { p.Auth = AuthSection{Type: AuthSimple, Length: 9, KeyID: 2} }),
		"up, my 5, your 4, tx 100ms, rx 100ms, 3 times, unknown(77) key 0": upPacket.with(func(p *Packet) { p.Auth = AuthSection{Type: 77} }),
	} {
		if got := p.String(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
