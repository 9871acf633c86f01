package bfd

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// authKinds are all values of AuthType that exist; sequencedKinds have digests.
var (
	authKinds      = []AuthType{AuthNone, AuthSimple, AuthMD5, AuthMeticulousMD5, AuthSHA1, AuthMeticulousSHA1}
	sequencedKinds = authKinds[2:]
)

// testAuth has the key of the golden vectors and others.
func testAuth(t AuthType) Auth {
	if t == AuthNone {
		return Auth{}
	}
	return Auth{Type: t, KeyID: 2, Keys: []Key{{1, Secret("another")}, {2, Secret("secret")}, {255, Secret("0123456789abcdef")}}}
}

// goldenSigned are upPacket with sequence number 5, computed without this package.
var goldenSigned = map[AuthType]string{
	AuthNone:           "20c003180000000500000004000186a0000186a000000000",
	AuthSimple:         "20c403210000000500000004000186a0000186a000000000 010902736563726574",
	AuthMD5:            "20c403300000000500000004000186a0000186a000000000 0218020000000005 2213395d15268e205b4ddba6bcf140fb",
	AuthMeticulousMD5:  "20c403300000000500000004000186a0000186a000000000 0318020000000005 a9b4ea3b8b7fac6e41c222caa7579226",
	AuthSHA1:           "20c403340000000500000004000186a0000186a000000000 041c020000000005 f5890dd1e33e3e100dd41a21ad768c8479c27c79",
	AuthMeticulousSHA1: "20c403340000000500000004000186a0000186a000000000 051c020000000005 4bcf1d438bf0af1ee9db8d572cbf2f14af025b92",
}

// receive decodes and verifies.
func receive(a Auth, wire []byte) (Packet, Drop) {
	var p Packet
	pdu, drop := p.decode(wire)
	if drop == DropNone {
		drop = a.verify(pdu, &p)
	}
	return p, drop
}

// sealed puts the digest that belongs there into a packet of a sequenced kind, by
// other means than sign.
func sealed(wire []byte, t AuthType, key string) []byte {
	h, size := md5.New(), 16
	if t == AuthSHA1 || t == AuthMeticulousSHA1 {
		h, size = sha1.New(), 20
	}
	n := int(wire[3])
	h.Write(wire[:32])
	h.Write(append([]byte(key), make([]byte, size-len(key))...))
	h.Write(wire[32+size : n])
	out := slices.Clone(wire)
	copy(out[32:], h.Sum(nil))
	return out
}

func TestBFD_PKT_02_BFD_AU_02_BFD_AU_04_BFD_AU_05_Golden(t *testing.T) {
	for typ, text := range goldenSigned {
		wire := unhex(t, text)
		a := testAuth(typ)
		if got := a.sign(upPacket.Append(nil), 5); !bytes.Equal(got, wire) {
			t.Errorf("%s: signed\n%x, want\n%x", typ, got, wire)
		}
		want := upPacket
		if typ != AuthNone {
			want.Auth = AuthSection{Type: typ, Length: uint8(len(wire) - 24), KeyID: 2}
		}
		if slices.Contains(sequencedKinds, typ) {
			want.Auth.Sequence = 5
		}
		if p, drop := receive(a, wire); drop != DropNone || p != want {
			t.Errorf("%s: %s, %+v, want %+v", typ, drop, p, want)
		}
	}
	if len(goldenSigned) != len(authKinds) || len(authKinds) != len(authWords) {
		t.Error("a kind is missing")
	}
}

// TestBFD_AU_03_BFD_AU_08_BIRD: the first packets of BIRD 2.0.12, one with the key
// "secret" and one with "0123456789abcdef" of each kind, which signed them.
func TestBFD_AU_03_BFD_AU_08_BIRD(t *testing.T) {
	for text, typ := range map[string]AuthType{
		"20440421383f289300000000000f42400000c35000000000 010902736563726574":                                       AuthSimple,
		"2044042b27f58e9b00000000000f42400000c35000000000 01130230313233343536373839616263646566":                   AuthSimple,
		"20440430121d836d00000000000f42400000c35000000000 021802001f7d4fc4358960cb825d4e2351825071389cc7f0":         AuthMD5,
		"204404305066145500000000000f42400000c35000000000 0218020050f0bbae96408fff889c355ddaa49d75deaf945f":         AuthMD5,
		"20440430d41dce4900000000000f42400000c35000000000 03180200622e1b4f891d45ea5a0bcf90447c3043ec99c2c3":         AuthMeticulousMD5,
		"20440430c788131f00000000000f42400000c35000000000 03180200b70e1453ed5870485d2fd189fb41be4adbc62065":         AuthMeticulousMD5,
		"2044043436cdafc200000000000f42400000c35000000000 041c02004a339624b2b9053c3f16cae79e36c1b2df11b63c6088132e": AuthSHA1,
		"2044043438a1eef100000000000f42400000c35000000000 041c0200d4bacc87ac3c97b6da0707da604161b9550adc3003b5fc03": AuthSHA1,
		"20440434a615c32200000000000f42400000c35000000000 051c0200fde9428336f9c58957becad0c2a1667635e86b0941c97529": AuthMeticulousSHA1,
		"20440434daa3a7b200000000000f42400000c35000000000 051c0200372c2ed61b8f8888ca83de5faf6702bb49133a9cc1de0038": AuthMeticulousSHA1,
	} {
		wire := unhex(t, text)
		taken := ""
		for _, key := range []string{"secret", "0123456789abcdef"} {
			a := Auth{Type: typ, KeyID: 2, Keys: []Key{{2, Secret(key)}}}
			p, drop := receive(a, wire)
			if drop != DropNone {
				continue
			}
			taken += key
			if p.State != Down || p.DetectMult != 4 || p.DesiredMinTx != 1_000_000 || p.RequiredMinRx != 50_000 || p.Auth.KeyID != 2 {
				t.Errorf("%s: %s", typ, p)
			}
			if again := a.sign(p.Append(nil), p.Auth.Sequence); !bytes.Equal(again, wire) {
				t.Errorf("%s: signed as %x, BIRD as %x", typ, again, wire)
			}
		}
		if taken != "secret" && taken != "0123456789abcdef" {
			t.Errorf("%s: %x taken with %q", typ, wire, taken)
		}
	}
}

// TestBFD_AU_04_BFD_AU_05_Placeholder: a digest that is only a row of numbers, with
// junk behind the packet, as public captures have it: it decodes, and is not believed.
func TestBFD_AU_04_BFD_AU_05_Placeholder(t *testing.T) {
	for _, typ := range sequencedKinds {
		size := typ.digestSize()
		wire := append(unhex(t, "20 44 05 00 00000001 00000000 000f4240 000f4240 00000000"), byte(typ), byte(8+size), 2, 0, 0, 0, 0, 5)
		wire[3] = byte(32 + size)
		for i := range size {
			wire = append(wire, byte(i+1))
		}
		p, drop := receive(testAuth(typ), append(wire, 0xde, 0xad, 0xbe, 0xef))
		if drop != DropAuthDigest || p.Auth != (AuthSection{typ, byte(8 + size), 2, 5}) || p.State != Down || p.MyDiscriminator != 1 {
			t.Errorf("%s: %s, %+v", typ, drop, p)
		}
	}
}

// TestBFD_AU_02_BFD_AU_04_BFD_AU_05_KeyLengths: every length that a key may have,
// both ways, beside a digest that was computed in another way; and the others refused.
func TestBFD_AU_02_BFD_AU_04_BFD_AU_05_KeyLengths(t *testing.T) {
	for _, typ := range authKinds[1:] {
		longest := 16
		if typ == AuthSHA1 || typ == AuthMeticulousSHA1 {
			longest = 20
		}
		for n := range 23 {
			key := strings.Repeat("k\x00\xff", 8)[:n]
			a := Auth{Type: typ, KeyID: 9, Keys: []Key{{9, Secret(key)}}}
			if valid := a.Validate() == nil; valid != (n >= 1 && n <= longest) {
				t.Errorf("%s, %d octets: valid %t", typ, n, valid)
			}
			if n < 1 || n > longest {
				continue
			}
			wire := a.sign(upPacket.Append(nil), math.MaxUint32)
			if typ == AuthSimple {
				if section := append([]byte{1, byte(3 + n), 9}, key...); !bytes.Equal(wire[24:], section) {
					t.Errorf("%x, want %x", wire[24:], section)
				}
			} else if !bytes.Equal(wire, sealed(wire, typ, key)) || wire[27] != 0 {
				t.Errorf("%s, %d octets: %x", typ, n, wire[24:])
			}
			if _, drop := receive(a, wire); drop != DropNone {
				t.Errorf("%s, %d octets: %s", typ, n, drop)
			}
		}
	}
}

// TestBFD_AU_03_BFD_AU_08_Negatives: one thing wrong at a time, then two: the first
// one counts.
func TestBFD_AU_03_BFD_AU_08_Negatives(t *testing.T) {
	for _, typ := range authKinds[1:] {
		a := testAuth(typ)
		good := a.sign(upPacket.Append(nil), 5)
		other := AuthSimple + AuthMeticulousSHA1 - typ // 5 for 1, 4 for 2, 3 for 3
		if other == typ {
			other = AuthMD5
		}
		seal := func(b []byte) []byte {
			if typ == AuthSimple {
				return b
			}
			return sealed(b, typ, "secret")
		}
		edit := func(change func(b []byte)) []byte {
			b := slices.Clone(good)
			change(b)
			return b
		}
		for _, c := range []struct {
			name string
			wire []byte
			want Drop
		}{
			{"good", good, DropNone},
			{"no section", upPacket.Append(nil), DropAuthMissing},
			{"type of another kind", seal(edit(func(b []byte) { b[24] = byte(other) })), DropAuthType},
			{"type 0", seal(edit(func(b []byte) { b[24] = 0 })), DropAuthType},
			{"type 6", seal(edit(func(b []byte) { b[24] = 6 })), DropAuthType},
			{"type and length", edit(func(b []byte) { b[24], b[25] = 0, 1 }), DropAuthType},
			{"longer section", seal(edit(func(b []byte) { b[25]++ })), DropAuthLength},
			{"longer section with room", seal(append(edit(func(b []byte) { b[25]++; b[3]++ }), 0)), DropAuthLength},
			{"shorter section", seal(edit(func(b []byte) { b[25]-- })), DropAuthLength},
			{"no length", seal(edit(func(b []byte) { b[25] = 0 })), DropAuthLength},
			{"longest section", seal(edit(func(b []byte) { b[25] = 255 })), DropAuthLength},
			{"section of two octets", edit(func(b []byte) { b[3] = 26 })[:26], DropAuthLength},
			{"section of two octets that says so", edit(func(b []byte) { b[3], b[25] = 26, 2 })[:26], DropAuthLength},
			{"no password", edit(func(b []byte) { b[3], b[25] = 27, 3 })[:27], DropAuthLength},
			{"length and key", edit(func(b []byte) { b[25] = 255; b[26] = 77 }), DropAuthLength},
			{"cut by one", edit(func(b []byte) { b[3]-- }), DropAuthLength},
			{"unknown key", seal(edit(func(b []byte) { b[26] = 77 })), DropAuthKey},
			{"key and digest", edit(func(b []byte) { b[26] = 0; b[len(b)-1]++ }), DropAuthKey},
			{"last octet", edit(func(b []byte) { b[len(b)-1] ^= 1 }), DropAuthDigest},
			{"last octet of room", edit(func(b []byte) { b[len(b)-6] ^= 0x80 }), DropAuthDigest},
		} {
			if _, drop := receive(a, c.wire); drop != c.want {
				t.Errorf("%s, %s: %s, want %s", typ, c.name, drop, c.want)
			}
		}
		if _, drop := receive(Auth{}, good); drop != DropAuthUnexpected {
			t.Errorf("%s without authentication: %s", typ, drop)
		}
		if _, drop := receive(Auth{}, edit(func(b []byte) { b[24] = 0 })); drop != DropAuthUnexpected {
			t.Errorf("type 0 without authentication: %s", drop)
		}
		wrong := testAuth(typ)
		wrong.Keys[1].Secret = Secret("Secret")
		if _, drop := receive(wrong, good); drop != DropAuthDigest {
			t.Errorf("%s, another key: %s", typ, drop)
		}
	}
}

// TestBFD_AU_03_BFD_AU_08_EveryKey: each key that is configured is accepted, by its
// id and no other.
func TestBFD_AU_03_BFD_AU_08_EveryKey(t *testing.T) {
	for _, typ := range authKinds[1:] {
		a := testAuth(typ)
		for _, k := range a.Keys {
			sender := Auth{Type: typ, KeyID: k.ID, Keys: []Key{k}}
			wire := sender.sign(upPacket.Append(nil), 5)
			if p, drop := receive(a, wire); drop != DropNone || p.Auth.KeyID != k.ID {
				t.Errorf("%s, %s: %s", typ, k, drop)
			}
			for id := range 256 {
				b := slices.Clone(wire)
				b[26] = byte(id)
				if _, drop := receive(a, b); (drop == DropNone) != (uint8(id) == k.ID) {
					t.Errorf("%s, %s as key %d: %s", typ, k, id, drop)
				}
			}
		}
	}
}

// TestBFD_AU_03_BFD_AU_08_EveryBit: no bit of what is protected can be changed. A
// password protects itself; a digest, all.
func TestBFD_AU_03_BFD_AU_08_EveryBit(t *testing.T) {
	for _, typ := range authKinds[1:] {
		a := testAuth(typ)
		wire := a.sign(upPacket.Append(nil), 5)
		from := 0
		if typ == AuthSimple {
			from = headerLength
		}
		for i := from; i < len(wire); i++ {
			for bit := range 8 {
				b := slices.Clone(wire)
				b[i] ^= 1 << bit
				if _, drop := receive(a, b); drop == DropNone {
					t.Errorf("%s: bit %d of octet %d", typ, bit, i)
				}
			}
		}
	}
}

// TestBFD_AU_06_NoKeyOnTheWire looks at what is sent, at the capacity behind it, and
// at the buffer that was too small.
func TestBFD_AU_06_NoKeyOnTheWire(t *testing.T) {
	for _, typ := range sequencedKinds {
		for _, capacity := range []int{headerLength, 40, maxLength} {
			a := testAuth(typ)
			start := upPacket.Append(make([]byte, 0, capacity))
			wire := a.sign(start, 5)
			for _, b := range [][]byte{wire[:cap(wire)], start[:cap(start)]} {
				for _, k := range a.Keys {
					if bytes.Contains(b, k.Secret[:4]) {
						t.Errorf("%s, %s: %x", typ, k, b)
					}
				}
			}
		}
	}
}

// TestBFD_AU_07_Reserved: the octet may be anything, as long as the digest knows.
func TestBFD_AU_07_Reserved(t *testing.T) {
	for _, typ := range sequencedKinds {
		a := testAuth(typ)
		wire := a.sign(upPacket.Append(nil), 5)
		for _, reserved := range []byte{1, 0x80, 0xff} {
			wire[27] = reserved
			if _, drop := receive(a, sealed(wire, typ, "secret")); drop != DropNone {
				t.Errorf("%s, %#x: %s", typ, reserved, drop)
			}
			if _, drop := receive(a, wire); drop != DropAuthDigest {
				t.Errorf("%s, %#x after the digest: %s", typ, reserved, drop)
			}
		}
	}
}

// TestLongPacket: Length may be more than header and section need. A digest covers
// the rest.
func TestLongPacket(t *testing.T) {
	for _, typ := range authKinds[1:] {
		a := testAuth(typ)
		wire := a.sign(upPacket.Append(nil), 5)
		for len(wire) < maxLength {
			wire = append(wire, 0xaa)
		}
		wire[3] = maxLength
		if typ != AuthSimple {
			wire = sealed(wire, typ, "secret")
		}
		if _, drop := receive(a, wire); drop != DropNone {
			t.Errorf("%s: %s", typ, drop)
		}
		wire[maxLength-1] ^= 1
		if _, drop := receive(a, wire); (drop == DropNone) != (typ == AuthSimple) {
			t.Errorf("%s, last octet: %s", typ, drop)
		}
	}
}

func TestVerifyLeavesPacket(t *testing.T) {
	for _, typ := range authKinds {
		a := testAuth(typ)
		for _, flip := range []byte{0, 1} {
			wire := a.sign(upPacket.Append(nil), 5)
			wire[len(wire)-1] ^= flip
			before := slices.Clone(wire)
			if receive(a, wire); !bytes.Equal(wire, before) {
				t.Errorf("%s: %x, was %x", typ, wire, before)
			}
		}
	}
}

func TestAuthTypes(t *testing.T) {
	for n := range 256 {
		typ := AuthType(n)
		sequenced := n >= 2 && n <= 5
		if typ.sequenced() != sequenced || typ.meticulous() != (n == 3 || n == 5) || typ.known() != (n >= 1 && n <= 5) {
			t.Errorf("%s: sequenced %t, meticulous %t, known %t", typ, typ.sequenced(), typ.meticulous(), typ.known())
		}
	}
}

// TestSectionFields: of each kind only what it has, and only what is there.
func TestSectionFields(t *testing.T) {
	full := unhex(t, "00 ff 07 55 01020304 99")
	for n := sectionMin; n <= len(full); n++ {
		for typ := range 256 {
			b := slices.Clone(full[:n:n])
			b[0] = byte(typ)
			want := AuthSection{Type: AuthType(typ), Length: 255}
			if typ >= 1 && typ <= 5 && n >= 3 {
				want.KeyID = 7
			}
			if typ >= 2 && typ <= 5 && n >= 8 {
				want.Sequence = 0x01020304
			}
			header := upPacket.Append(nil)
			header[1] |= 0x04
			header[3] += byte(n)
			if p, err := ParsePacket(append(header, b...)); err != nil || p.Auth != want {
				t.Errorf("type %d, %d octets: %+v, %v, want %+v", typ, n, p.Auth, err, want)
			}
		}
	}
}

func TestSignPanics(t *testing.T) {
	for name, sign := range map[string]func(){
		"no such key": func() {
			a := Auth{Type: AuthMD5, KeyID: 3, Keys: []Key{{4, Secret("secret")}}}
			a.sign(upPacket.Append(nil), 1)
		},
		"signed": func() { a := testAuth(AuthMD5); a.sign(a.sign(upPacket.Append(nil), 1), 2) },
	} {
		func() {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.HasPrefix(v, "bfd: cannot sign") || strings.Contains(v, "secret") {
					t.Errorf("%s: %s", name, v)
				}
			}()
			sign()
		}()
	}
}
