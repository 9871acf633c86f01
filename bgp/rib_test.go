package bgp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// numbered returns a prefix of f that differs for each n: a /24 or a /48.
func numbered(f Family, n int) netip.Prefix {
	if f == IPv4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n)<<8+1<<24)
		return netip.PrefixFrom(netip.AddrFrom4(b), 24)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], 0x2000<<48+uint64(n)<<16)
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}

func fallbackOf(f Family) netip.Prefix {
	if f == IPv4 {
		return netip.MustParsePrefix("0.0.0.0/0")
	}
	return netip.MustParsePrefix("::/0")
}

func bothFamilies(t *testing.T, test func(t *testing.T, f Family)) {
	t.Helper()
	for _, f := range Families {
		t.Run(f.String(), func(t *testing.T) { test(t, f) })
	}
}

func ranks(r ...Rank) Choice {
	var c Choice
	for s, rank := range r {
		c = c.With(Slot(s), rank)
	}
	return c
}

// takeAll takes everything that r has to tell.
func takeAll(r *rib) map[netip.Prefix]Choice {
	told := map[netip.Prefix]Choice{}
	buf := make([]Route, 0, 7)
	for {
		buf = r.take(buf)
		if len(buf) == 0 {
			return told
		}
		for _, route := range buf {
			told[route.Prefix] = route.Choice
		}
	}
}

func TestTakeTellsTheLatestOnce(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		r := newRIB(f, ASPathStrict)
		a, b := numbered(f, 1), numbered(f, 2)
		r.put(0, a, grade{length: 1}, Accepted)
		r.put(1, a, grade{length: 2}, Accepted)
		r.put(0, b, grade{length: 1}, Accepted)
		got := r.take(make([]Route, 0, 8))
		want := []Route{{a, ranks(First, Second)}, {b, ranks(First)}}
		if !slices.Equal(got, want) {
			t.Fatalf("told %v, want %v", got, want)
		}
		// There and back again.
		r.put(0, a, grade{length: 3}, Accepted)
		r.put(0, a, grade{length: 1}, Accepted)
		// Refused and withdrawn paths of a prefix that was not told.
		r.put(0, numbered(f, 3), grade{}, Bogon)
		r.withdraw(0, numbered(f, 3))
		r.put(0, numbered(f, 4), grade{length: 1}, Accepted)
		r.withdraw(0, numbered(f, 4))
		if got := takeAll(r); len(got) != 0 {
			t.Fatalf("told %v though nothing changed", got)
		}
		// A peer without a slot and default routes are never told.
		r.put(MaxSlots, a, grade{length: 1}, Accepted)
		r.put(0, fallbackOf(f), grade{length: 1}, Accepted)
		if r.changed() || r.choice(fallbackOf(f)) != 0 {
			t.Fatal("changed by what has no rank")
		}
		// At most as many as fit, and the others later.
		r.again()
		if got := r.take(make([]Route, 0, 1)); len(got) != 1 || !r.changed() {
			t.Fatalf("told %v of two", got)
		}
		if got := takeAll(r); len(got) != 1 {
			t.Fatalf("told %v, not the other one", got)
		}
		r.drop(0)
		if got := takeAll(r); len(got) != 2 || got[a] != ranks(NoPath, First) || got[b] != 0 {
			t.Fatalf("told %v", got)
		}
	})
}

func TestPutIgnoresWhatCannotBeHeld(t *testing.T) {
	for _, f := range Families {
		r := newRIB(f, ASPathStrict)
		for _, p := range []netip.Prefix{{}, numbered(Families[2-f], 1), netip.PrefixFrom(netip.MustParseAddr("1.2.3.0"), 33)} {
			r.put(0, p, grade{}, Accepted)
			r.withdraw(0, p)
		}
		for _, col := range []int{-1, maxColumns} {
			r.put(col, numbered(f, 1), grade{}, Accepted)
			r.withdraw(col, numbered(f, 1))
		}
		if r.entries.live != 0 || r.counts(0) != (counts{}) {
			t.Errorf("%v: %d entries", f, r.entries.live)
		}
		// What was sent with bits behind its length is the same prefix.
		p := numbered(f, 1)
		r.put(0, p, grade{}, Accepted)
		r.put(0, netip.PrefixFrom(p.Addr().Next(), p.Bits()), grade{}, Malformed)
		if n := r.counts(0); n.received != 1 || n.refused[Malformed] != 1 {
			t.Errorf("%v: %+v", f, n)
		}
		// A mapped address is an IPv6 one that is refused, and counts.
		mapped := netip.PrefixFrom(netip.MustParseAddr("::ffff:1.2.3.0"), 120)
		r.put(0, mapped, grade{}, Malformed)
		if n, want := r.counts(0).received, int(f-IPv4)+1; n != want || r.offered(mapped) != (f == IPv6) {
			t.Errorf("%v: %d received with a mapped one, want %d", f, n, want)
		}
		if n := len(r.within(fallbackOf(f), 10)); n != r.counts(0).received {
			t.Errorf("%v: %d listed", f, n)
		}
	}
}

// TestB_4271_11_BothLengthsAreTold shows that a prefix and a part of it are told each.
func TestB_4271_11_BothLengthsAreTold(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f Family) {
		r := newRIB(f, ASPathStrict)
		long := numbered(f, 256)
		short := netip.PrefixFrom(long.Addr(), long.Bits()-8).Masked()
		r.put(0, short, grade{length: 1}, Accepted)
		r.put(1, long, grade{length: 5}, Accepted)
		got := takeAll(r)
		if len(got) != 2 || got[short] != ranks(First) || got[long] != ranks(NoPath, First) {
			t.Fatalf("told %v", got)
		}
		last := netip.PrefixFrom(long.Addr(), long.Addr().BitLen())
		if p, ok := r.covering(last); !ok || p != long {
			t.Errorf("%v is covered by %v, not %v", last, p, long)
		}
		r.withdraw(1, long)
		if p, ok := r.covering(last); !ok || p != short {
			t.Errorf("%v is covered by %v, not %v", last, p, short)
		}
		if got := r.within(short, 10); !slices.Equal(got, []netip.Prefix{short}) {
			t.Errorf("within %v: %v", short, got)
		}
	})
}

// TestQueueKeepsOrder pushes and pops at random, and shows that a queue is no longer
// than what is in it asks for.
func TestQueueKeepsOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	var q queue
	in, out := uint32(0), uint32(0)
	for n := range 200_000 {
		// Five hundred or so at a time, now and then none.
		grow := n%10_000 < 8000 && q.len() < 500
		if grow || rnd.IntN(2) == 0 && n%10_000 < 8000 {
			q.push(in)
			in++
			continue
		}
		i, ok := q.pop()
		if ok != (out < in) || (ok && i != out) {
			t.Fatalf("popped %d %v, want %d", i, ok, out)
		}
		if ok {
			out++
		}
		if q.len() != int(in-out) || cap(q.list) > keepQueue {
			t.Fatalf("%d are in, %d said, room for %d", in-out, q.len(), cap(q.list))
		}
	}
}
