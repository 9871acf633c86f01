package bfd

import (
	"math"
	"testing"
)

// window returns the numbers around last that a fresh window at last takes.
func window(t *testing.T, meticulous bool, last uint32, mult uint8) (first, past uint32) {
	t.Helper()
	accepts := func(n uint32) bool {
		s := sequence{known: true, last: last}
		before := s
		drop := s.check(meticulous, n, mult)
		switch {
		case drop == DropNone && s == (sequence{true, n}):
			return true
		case drop == DropAuthSequence && s == before:
			return false
		}
		t.Fatalf("%d after %d: %s, %+v", n, last, drop, s)
		return false
	}
	// Every answer from well before the window to well behind it.
	var took []uint32
	for d := range uint32(2000) {
		if n := last - 1000 + d; accepts(n) {
			took = append(took, n)
		}
	}
	for i, n := range took {
		if n != took[0]+uint32(i) {
			t.Fatalf("after %d: a hole before %d", last, n)
		}
	}
	for _, far := range []uint32{last + 1<<31, last + 1<<31 - 1, last + 1<<31 + 1, last - 1<<30} {
		if accepts(far) {
			t.Errorf("%d after %d", far, last)
		}
	}
	return took[0], took[0] + uint32(len(took))
}

func TestBFD_AU_09_Window(t *testing.T) {
	for _, mult := range []uint8{1, 3, 255} {
		for _, last := range []uint32{0, 1, 12345, 1<<31 - 1, 1 << 31, math.MaxUint32 - 1, math.MaxUint32} {
			end := last + 3*uint32(mult) + 1
			if first, past := window(t, false, last, mult); first != last || past != end {
				t.Errorf("plain, %d times, after %d: [%d, %d), want [%d, %d)", mult, last, first, past, last, end)
			}
			if first, past := window(t, true, last, mult); first != last+1 || past != end {
				t.Errorf("meticulous, %d times, after %d: [%d, %d), want [%d, %d)", mult, last, first, past, last+1, end)
			}
		}
	}
}

// TestBFD_AU_09_Moves: the window follows what is accepted, over the wrap, and stays
// for what is refused. Its size is that of the packet that is judged.
func TestBFD_AU_09_Moves(t *testing.T) {
	var s sequence
	for i, c := range []struct {
		meticulous bool
		number     uint32
		mult       uint8
		want       Drop
	}{
		{true, math.MaxUint32 - 2, 3, DropNone}, // learned
		{true, math.MaxUint32 - 2, 3, DropAuthSequence},
		{false, math.MaxUint32 - 2, 3, DropNone},
		{true, math.MaxUint32, 3, DropNone},
		{true, 9, 3, DropAuthSequence},
		{true, 9, 4, DropNone}, // 10 ahead
		{true, 8, 255, DropAuthSequence},
		{false, math.MaxUint32, 255, DropAuthSequence},
		{true, 18, 3, DropNone},
	} {
		if drop := s.check(c.meticulous, c.number, c.mult); drop != c.want {
			t.Errorf("%d: %+v: %s", i, c, drop)
		}
	}
	if s != (sequence{true, 18}) {
		t.Errorf("%+v", s)
	}
}

// TestBFD_AU_10_Learned: any first number is good, after the digest, and once more
// after a long silence.
func TestBFD_AU_10_Learned(t *testing.T) {
	for _, typ := range sequencedKinds {
		a := testAuth(typ)
		var s sequence
		take := func(wire []byte) Drop {
			p, drop := receive(a, wire)
			if drop != DropNone {
				return drop
			}
			return s.check(typ.meticulous(), p.Auth.Sequence, p.DetectMult)
		}
		forged := a.sign(upPacket.Append(nil), 1<<31)
		forged[len(forged)-1]++
		if drop := take(forged); drop != DropAuthDigest || s != (sequence{}) {
			t.Errorf("%s, forged: %s, %+v", typ, drop, s)
		}
		for _, c := range []struct {
			number uint32
			want   Drop
		}{{77, DropNone}, {78, DropNone}, {1 << 31, DropAuthSequence}, {5, DropAuthSequence}} {
			if drop := take(a.sign(upPacket.Append(nil), c.number)); drop != c.want {
				t.Errorf("%s, %d: %s", typ, c.number, drop)
			}
		}
		s.forget()
		if drop := take(a.sign(upPacket.Append(nil), 5)); drop != DropNone || s != (sequence{true, 5}) {
			t.Errorf("%s, after the silence: %s, %+v", typ, drop, s)
		}
	}
}
