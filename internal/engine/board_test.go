package engine

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

var wayA = uplink.Way{Uplink: "a", Family: fib.IPv4}

func word(k uplink.Kind, o uplink.Opinion, reason string, targets ...uplink.Target) uplink.Evidence {
	return uplink.Evidence{Source: uplink.Source{Way: wayA, Kind: k}, Opinion: o, Reason: reason, Targets: targets}
}

func targetSays(a string, o uplink.Opinion, rtt time.Duration) uplink.Target {
	return uplink.Target{Address: netip.MustParseAddr(a), Opinion: o, RTT: rtt}
}

// poked reports whether the board asks to be looked at, and takes that back.
func poked(b *Board) bool {
	select {
	case <-b.C():
		return true
	default:
		return false
	}
}

// TestBoard_Put: who looks is called for what a decision depends on and for nothing
// else, and Since is the age of the opinion.
func TestBoard_Put(t *testing.T) {
	up, down := targetSays("192.0.2.1", uplink.Up, 1), targetSays("192.0.2.1", uplink.Down, 1)
	other := targetSays("192.0.2.2", uplink.Up, 1)
	tests := []struct {
		name          string
		before, after uplink.Evidence
		poke, keeps   bool
	}{
		{"the same", word(uplink.KindBFD, uplink.Up, "x"), word(uplink.KindBFD, uplink.Up, "x"), false, true},
		{"another opinion", word(uplink.KindBFD, uplink.Up, "x"), word(uplink.KindBFD, uplink.Down, "x"), true, false},
		{"up to unknown", word(uplink.KindBFD, uplink.Up, "x"), word(uplink.KindBFD, uplink.Unknown, "x"), true, false},
		{"another reason", word(uplink.KindBFD, uplink.Up, "x"), word(uplink.KindBFD, uplink.Up, "y"), true, true},
		{"fresh figures", word(uplink.KindICMP, 0, "", up), word(uplink.KindICMP, 0, "", targetSays("192.0.2.1", uplink.Up, 9)), false, true},
		{"a target died", word(uplink.KindICMP, 0, "", up), word(uplink.KindICMP, 0, "", down), true, false},
		{"another target", word(uplink.KindICMP, 0, "", up), word(uplink.KindICMP, 0, "", other), true, false},
		{"one target more", word(uplink.KindICMP, 0, "", up), word(uplink.KindICMP, 0, "", up, other), true, false},
		{"targets gone", word(uplink.KindICMP, 0, "", up), word(uplink.KindICMP, 0, ""), true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBoard()
			tt.before.Since, tt.after.Since = epoch, epoch.Add(time.Hour)
			b.Put(tt.before)
			if !poked(b) {
				t.Error("the first word of a source did not poke")
			}
			b.Put(tt.after)
			if got := poked(b); got != tt.poke {
				t.Errorf("poked %t, want %t", got, tt.poke)
			}
			since := b.Snapshot()[tt.after.Source].Since
			if got := since.Equal(epoch); got != tt.keeps {
				t.Errorf("since %s; kept %t, want %t", since, got, tt.keeps)
			}
		})
	}
}

func TestBoard_Put_sinceIsNowWhereThereIsNone(t *testing.T) {
	b := NewBoard()
	before := time.Now()
	b.Put(word(uplink.KindBGP, uplink.Up, ""))
	got := b.Snapshot()[uplink.Source{Way: wayA, Kind: uplink.KindBGP}].Since
	if got.Before(before) || got.After(time.Now()) {
		t.Errorf("since %s, want now", got)
	}
}

func TestBoard_Drop(t *testing.T) {
	b := NewBoard()
	src := uplink.Source{Way: wayA, Kind: uplink.KindBFD}
	b.Drop(src)
	if poked(b) {
		t.Error("dropping nothing poked")
	}
	b.Put(word(uplink.KindBFD, uplink.Down, "x"))
	poked(b)
	b.Drop(src)
	if !poked(b) || len(b.Snapshot()) != 0 {
		t.Error("a dropped source still speaks")
	}
}

// TestBoard_Snapshot_isACopy: what was taken does not change any more.
func TestBoard_Snapshot_isACopy(t *testing.T) {
	b := NewBoard()
	b.Put(word(uplink.KindBFD, uplink.Up, "x"))
	s := b.Snapshot()
	b.Put(word(uplink.KindBFD, uplink.Down, "x"))
	if got := s[uplink.Source{Way: wayA, Kind: uplink.KindBFD}].Opinion; got != uplink.Up {
		t.Errorf("the copy says %s now", got)
	}
	delete(s, uplink.Source{Way: wayA, Kind: uplink.KindBFD})
	if len(b.Snapshot()) != 1 {
		t.Error("the copy changed the board")
	}
}

// TestBoard_neverBlocks: many sources put at once while nobody looks, and the last
// word of each stays.
func TestBoard_neverBlocks(t *testing.T) {
	b := NewBoard()
	var all sync.WaitGroup
	for i := range 8 {
		w := uplink.Way{Uplink: fmt.Sprint(i), Family: fib.IPv6}
		all.Go(func() {
			for n := range 500 {
				b.Put(uplink.Evidence{Source: uplink.Source{Way: w, Kind: uplink.KindBFD}, Opinion: uplink.Opinion(1 + n%2), Reason: fmt.Sprint(n)})
				if n%50 == 0 {
					b.Drop(uplink.Source{Way: w, Kind: uplink.KindBGP})
					b.Snapshot()
				}
				b.Poke()
			}
		})
	}
	all.Wait()
	if !poked(b) || poked(b) {
		t.Error("want exactly one poke after all")
	}
	for src, e := range b.Snapshot() {
		if e.Reason != "499" {
			t.Errorf("the last word of %s is %s", src.Way, e.Reason)
		}
	}
}
