package engine

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// countLayout is that of the counts, with a and b in it.
var countLayout = uplink.Layout{NextHopBase: 1 << 20, Uplinks: []uplink.Place{{Name: "a"}, {Name: "b"}}}

// countHop returns a next hop of a way.
func countHop(t *testing.T, w uplink.Way) uint32 {
	t.Helper()
	for hop := countLayout.NextHopBase; hop < countLayout.NextHopBase+200; hop++ {
		if of, ok := countLayout.WayOf(hop); ok && of == w {
			return hop
		}
	}
	t.Fatalf("%s has no next hop", w)
	return 0
}

// TestB_POL_15_CountBuckets: among however many groups the flows of a drained way are
// found, whatever the other ways carry, and no more is asked than is needed for it.
func TestB_POL_15_CountBuckets(t *testing.T) {
	a4, a6, b4 := uplink.Way{Uplink: "a", Family: fib.IPv4}, uplink.Way{Uplink: "a", Family: fib.IPv6}, uplink.Way{Uplink: "b", Family: fib.IPv4}
	groups := make([]uint32, 70)
	for g := range groups {
		groups[g] = uint32(g)
	}
	e, asked := &Engine{}, 0
	at := uint32(69)
	e.opts.Buckets = func(_ context.Context, g uint32) (map[uint32]int, error) {
		asked++
		out := map[uint32]int{countHop(t, b4): 80}
		if g == at {
			out[countHop(t, a4)] = 40
		}
		return out, nil
	}
	for _, tt := range []struct {
		name  string
		at    uint32
		ways  []uplink.Way
		want  map[uplink.Way]int
		asked int
	}{
		{"in the last group", 69, []uplink.Way{a4}, map[uplink.Way]int{a4: 40}, 70},
		{"in the first group", 0, []uplink.Way{a4}, map[uplink.Way]int{a4: 40}, countMost},
		{"both drained", 65, []uplink.Way{a4, b4}, map[uplink.Way]int{a4: 40, b4: 66 * 80}, 66},
		{"nobody drained", 0, nil, map[uplink.Way]int{}, 0},
	} {
		// What is known of the other family says nothing.
		busy := map[uplink.Way]int{a6: 7}
		asked, at = 0, tt.at
		err := e.countBuckets(t.Context(), countLayout, groups, tt.ways, busy)
		delete(busy, a6)
		if err != nil || !maps.Equal(busy, tt.want) || asked != tt.asked {
			t.Errorf("%s: %v, %v with %d asked", tt.name, err, busy, asked)
		}
	}
}

// TestDrain_countsByFamily: that the flows of one family cannot be counted does not keep
// a drain of the other from its end.
func TestDrain_countsByFamily(t *testing.T) {
	b := newBench(t, twoUplinks, twoLinks(t))
	b.pass(time.Second)
	groups := drainGroups(b.site.layout, b.site.layout.Desired(b.facts, b.verdicts, nil), b.writer.GroupIDs())
	b.opts.Buckets = func(_ context.Context, g uint32) (map[uint32]int, error) {
		if g == groups[fib.IPv4][0] {
			return nil, errors.New("told to fail")
		}
		return nil, nil
	}
	v6 := uplink.Way{Uplink: "a", Family: fib.IPv6}
	b.drains.begin([]uplink.Way{wayA, v6}, 0, b.now)
	b.turn()
	b.wait(3 * time.Second)
	one, _ := b.drains.of(wayA)
	other, _ := b.drains.of(v6)
	if one.known || !other.known || other.busy != 0 {
		t.Errorf("ipv4 %+v, ipv6 %+v", one, other)
	}
}

// TestDrain_removed: a drain goes with its uplink, in a reload and over a restart; one of
// another name stays.
func TestDrain_removed(t *testing.T) {
	without := strings.Replace(twoBGP, "  - {name: a, interface: eth1, gateway: 203.0.113.1, bgp: {peer-as: 64501}}\n", "", 1)
	b := newBench(t, twoBGP, hostOf(t, hostA, hostC))
	b.memory = filepath.Join(t.TempDir(), "mh.sock.drains")
	b.boot(parseConfig(t, twoBGP))
	b.turn()
	b.allUp()
	b.drain(0)
	if err := b.drains.write(); err != nil {
		t.Fatal(err)
	}
	b.boot(parseConfig(t, without))
	b.turn()
	if _, ok := b.drains.of(wayA); ok {
		t.Error("drained after a restart, though it is not there")
	}
	b.boot(parseConfig(t, twoBGP))
	b.turn()
	b.drains.begin([]uplink.Way{wayA, wayC}, 0, b.now)
	b.reload(without)
	b.reload(twoBGP)
	b.turn()
	if _, ok := b.drains.of(wayA); ok {
		t.Error("drained again, though it was taken away meanwhile")
	}
	if _, ok := b.drains.of(wayC); !ok {
		t.Error("c is not drained any more")
	}
	await(t, "it to be remembered", func() bool {
		m, err := readMemory(b.memory)
		return err == nil && len(m.Drains) == 1 && m.Drains[0].Uplink == "c"
	})
}
