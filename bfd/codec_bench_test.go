package bfd

import (
	"encoding/binary"
	"slices"
	"testing"
)

func TestNothingAllocates(t *testing.T) {
	for _, typ := range authKinds {
		a := testAuth(typ)
		buffer := make([]byte, 0, maxLength)
		wire := a.sign(upPacket.Append(nil), 5)
		bad := slices.Clone(wire)
		bad[0] = 0
		var s sequence
		for name, f := range map[string]func(){
			"send": func() { a.sign(upPacket.Append(buffer), 5) },
			"receive": func() {
				if p, drop := receive(a, wire); drop != DropNone || s.check(false, p.Auth.Sequence, p.DetectMult) != DropNone {
					t.Fatal(drop)
				}
			},
			"drop": func() { receive(a, bad) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s, %s: %v allocations", typ, name, n)
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	each(b, func(b *testing.B, a Auth) {
		b.Helper()
		wire := a.sign(upPacket.Append(nil), 5)
		var p Packet
		for b.Loop() {
			if _, drop := p.decode(wire); drop != DropNone {
				b.Fatal(drop)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	each(b, func(b *testing.B, a Auth) {
		b.Helper()
		buffer := make([]byte, 0, maxLength)
		for b.Loop() {
			if out := a.sign(upPacket.Append(buffer), 5); binary.BigEndian.Uint32(out[4:]) != 5 {
				b.Fatal(out)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	each(b, func(b *testing.B, a Auth) {
		b.Helper()
		var p Packet
		pdu, drop := p.decode(a.sign(upPacket.Append(nil), 5))
		if drop != DropNone {
			b.Fatal(drop)
		}
		for b.Loop() {
			if drop := a.verify(pdu, &p); drop != DropNone {
				b.Fatal(drop)
			}
		}
	})
}

func each(b *testing.B, f func(*testing.B, Auth)) {
	b.Helper()
	for _, typ := range authKinds {
		b.Run(typ.String(), func(b *testing.B) {
			b.ReportAllocs()
			f(b, testAuth(typ))
		})
	}
}
