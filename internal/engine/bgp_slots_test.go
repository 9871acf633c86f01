package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestSlots: sessions keep their places over reloads and restarts, and a place that a
// choice in use names is not given away.
func TestSlots(t *testing.T) {
	wish := func(name string, mode bgp.ImportMode, families ...bgp.Family) peerWish {
		return peerWish{conf: bgp.Peer{Name: name, Families: families, Import: bgp.Import{Mode: mode}}}
	}
	s := newSlots()
	a, c := wish("a/ipv4", bgp.ImportFull, bgp.IPv4), wish("c/ipv4", bgp.ImportPrefixes, bgp.IPv4)
	both, plain := wish("d/ipv6", bgp.ImportFull, bgp.IPv4, bgp.IPv6), wish("e/ipv4", bgp.ImportDefault, bgp.IPv4)
	if without, changed := s.assign([]peerWish{a, plain, c, both}, nil); len(without) != 0 || !changed {
		t.Errorf("without a place: %q", without)
	}
	at := func(w peerWish) bgp.Slot { return s.of(w.conf.Name, w.conf.Families) }
	if at(a) != 0 || at(c) != 1 || at(both) != 2 || at(plain) != bgp.NoSlot {
		t.Errorf("places %d %d %d %d", at(a), at(c), at(both), at(plain))
	}
	if _, changed := s.assign([]peerWish{both, c, a}, nil); changed || at(a) != 0 || at(both) != 2 {
		t.Error("another order gives other places")
	}
	// a is gone, and a choice names it: its place is kept.
	f := wish("f/ipv4", bgp.ImportFull, bgp.IPv4)
	inUse := []uplink.Choice{{Family: fib.IPv4, Code: uint16(aFirst)}}
	if s.assign([]peerWish{both, c, f}, inUse); at(f) != 3 || at(a) != 0 {
		t.Errorf("f has place %d, a %d", at(f), at(a))
	}
	g := wish("g/ipv4", bgp.ImportFull, bgp.IPv4)
	if s.assign([]peerWish{both, c, f, g}, nil); at(g) != 0 || at(a) != bgp.NoSlot {
		t.Errorf("g has place %d, a %d", at(g), at(a))
	}
	s.rename("g", "h")
	if s.of("h/ipv4", g.conf.Families) != 0 {
		t.Error("a renamed uplink lost its place")
	}
	layout := uplink.Layout{Uplinks: []uplink.Place{{Name: "c"}, {Name: "h"}, {Name: "d"}, {Name: "x"}}}
	code := uint16(bgp.Choice(0).With(0, bgp.First).With(1, bgp.Second).With(2, bgp.Rest).With(7, bgp.Rest))
	if got := s.choice(layout, fib.IPv4, code); !slices.Equal(got.Ranks, []uint8{2, 1, 3, 0}) {
		t.Errorf("ranks %d", got.Ranks)
	}
	// There are eight.
	var many []peerWish
	for i := range 10 {
		many = append(many, wish(fmt.Sprintf("m%d/ipv4", i), bgp.ImportFull, bgp.IPv4))
	}
	if without, _ := newSlots().assign(many, nil); !slices.Equal(without, []string{"m8/ipv4", "m9/ipv4"}) {
		t.Errorf("without a place: %q", without)
	}
}

// TestSlots_families: a session that gets another family gets one place for all of them.
// The one that it had is kept while a choice names it, and nobody is told of it.
func TestSlots_families(t *testing.T) {
	wish := func(name string, families ...bgp.Family) peerWish {
		return peerWish{conf: bgp.Peer{Name: name, Families: families, Import: bgp.Import{Mode: bgp.ImportFull}}}
	}
	s := newSlots()
	a, b := wish("a/ipv4", bgp.IPv4), wish("b/ipv6", bgp.IPv6)
	s.assign([]peerWish{a, b}, nil)
	a = wish("a/ipv4", bgp.IPv4, bgp.IPv6)
	inUse := []uplink.Choice{{Family: fib.IPv4, Code: uint16(bgp.Choice(0).With(0, bgp.First))}}
	place := func(w peerWish) bgp.Slot { return s.of(w.conf.Name, w.conf.Families) }
	for range 2 {
		if without, _ := s.assign([]peerWish{a, b}, inUse); len(without) != 0 || place(a) != 1 || place(b) != 0 || s[fib.IPv4][0] != "a/ipv4" {
			t.Errorf("a has place %d, b %d; without %q; ipv4 %q", place(a), place(b), without, s[fib.IPv4][:2])
		}
	}
	if _, changed := s.assign([]peerWish{a, b}, nil); !changed || s[fib.IPv4][0] != "" || place(a) != 1 {
		t.Errorf("the old place is %q's, a has %d", s[fib.IPv4][0], place(a))
	}
	// One that loses a family gives up its place there.
	a = wish("a/ipv4", bgp.IPv4)
	if s.assign([]peerWish{a, b}, nil); place(a) != 1 || s[fib.IPv6][1] != "" {
		t.Errorf("a has place %d, and in ipv6 it is %q's", place(a), s[fib.IPv6][1])
	}
	// One that gets a family stays where it is if it can.
	s = newSlots()
	s[fib.IPv4][2] = "a/ipv4"
	a = wish("a/ipv4", bgp.IPv4, bgp.IPv6)
	inUse = []uplink.Choice{{Family: fib.IPv4, Code: uint16(bgp.Choice(0).With(2, bgp.First))}}
	if s.assign([]peerWish{b, a}, inUse); place(a) != 2 || place(b) != 0 {
		t.Errorf("a has place %d, b %d", place(a), place(b))
	}
}
