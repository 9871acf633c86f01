package bfd

import (
	"bytes"
	"slices"
	"testing"
)

// fuzzSeeds are packets of every kind, whole, cut and broken.
func fuzzSeeds(f *testing.F, add func([]byte)) {
	f.Helper()
	for _, g := range goldenPackets {
		add(unhex(f, g.wire))
	}
	for _, m := range malformed {
		add(unhex(f, m.wire))
	}
	for _, text := range goldenSigned {
		wire := unhex(f, text)
		add(wire)
		add(wire[:len(wire)-1])
		add(append(slices.Clone(wire), 0xde, 0xad, 0xbe, 0xef))
	}
	// Sections that end after each of their fields, and one of no known kind.
	for _, section := range []string{"0100", "010301", "0102", "0218", "021802", "02180200 000000", "05ff0200 00000005", "00000000", "9904aabb"} {
		b := upPacket.Append(nil)
		b[1] |= flagAuth
		b = append(b, unhex(f, section)...)
		b[3] = byte(len(b))
		add(b)
	}
}

// FuzzDecode: nothing makes the decoder panic or depend on what lies behind the
// datagram, and what it takes means the same after it was written and read again.
func FuzzDecode(f *testing.F) {
	fuzzSeeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q Packet
		pdu, drop := p.decode(slices.Clip(b))
		for _, behind := range []byte{0, 0xff} {
			room := append(slices.Clone(b), bytes.Repeat([]byte{behind}, 300)...)
			again, drop2 := q.decode(room[:len(b)])
			if drop2 != drop || q != p || !bytes.Equal(again, pdu) {
				t.Fatalf("%x: %s %+v, with %x behind it %s %+v", b, drop, p, behind, drop2, q)
			}
		}
		if _, err := ParsePacket(b); (err == nil) != (drop == DropNone) {
			t.Fatalf("%x: %s, %v", b, drop, err)
		}
		if drop != DropNone {
			return
		}
		if p.MyDiscriminator == 0 || p.DetectMult == 0 || p.State > Up || p.Diag > 31 || len(pdu) != int(b[3]) || p.String() == "" {
			t.Fatalf("%x: took %+v", b, p)
		}
		// Authentication is written by sign, and no packet has both P and F.
		want := p
		want.Auth = AuthSection{}
		want.Poll = p.Poll && !p.Final
		wire := p.Append(nil)
		header := slices.Clone(b[:headerLength])
		header[1] &^= flagAuth
		header[3] = headerLength
		if p.Final {
			header[1] &^= flagPoll
		}
		if !bytes.Equal(wire, header) {
			t.Fatalf("%x: written as %x", b, wire)
		}
		if got, err := ParsePacket(wire); err != nil || got != want {
			t.Fatalf("%x: read back as %+v, %v", b, got, err)
		}
	})
}

// FuzzVerify: nothing makes the verifier panic or write to the packet, what it takes
// has the digest that another computation finds, and what sign made is taken under
// that key alone.
func FuzzVerify(f *testing.F) {
	fuzzSeeds(f, func(b []byte) {
		for _, typ := range authKinds {
			f.Add(b, uint8(typ), uint8(2), []byte("secret"))
		}
	})
	f.Fuzz(func(t *testing.T, b []byte, kind, id uint8, key []byte) {
		a := Auth{Type: AuthType(kind), KeyID: id, Keys: []Key{{id, key}}}
		if a.Type == AuthNone {
			a = Auth{}
		}
		if a.Validate() != nil {
			return
		}
		before := slices.Clone(b)
		p, drop := receive(a, b)
		if !bytes.Equal(b, before) {
			t.Fatalf("%x became %x", before, b)
		}
		if p.MyDiscriminator == 0 {
			return // It was dropped by decode.
		}
		if drop == DropNone && a.Type.sequenced() && !bytes.Equal(b, sealed(b, a.Type, string(key))) {
			t.Fatalf("%x: taken with a digest that is not its own", b)
		}
		if drop == DropNone && (a.Type == AuthNone) == (b[1]&flagAuth != 0) {
			t.Fatalf("%x: taken by %s", b, a.Type)
		}
		wire := a.sign(p.Append(nil), p.Auth.Sequence)
		q, drop := receive(a, wire)
		if drop != DropNone || q.Auth.Type != a.Type || a.Type.sequenced() && q.Auth.Sequence != p.Auth.Sequence {
			t.Fatalf("%x: signed as %x, %s", b, wire, drop)
		}
		if a.Type == AuthNone {
			return
		}
		other := slices.Clone(key)
		other[len(other)-1] ^= 1
		if _, drop := receive(Auth{Type: a.Type, Keys: []Key{{id, other}}}, wire); drop != DropAuthDigest {
			t.Fatalf("%x: %s by another key", wire, drop)
		}
		wire[len(wire)-1] ^= 1
		if _, drop := receive(a, wire); drop != DropAuthDigest {
			t.Fatalf("%x: %s though it was changed", wire, drop)
		}
	})
}
