package uplink

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// TestNUD_03: the link layer does not confirm that a neighbour can be reached, it
// only speeds up the news that it cannot (RFC 4861 section 7.3.3). Carrier vouches
// for nothing, speaks against no bad news and ends none; its loss is bad at once.
func TestNUD_03(t *testing.T) {
	bothFamilies(t, func(t *testing.T, f fib.Family) {
		s := newStory(t, f, "a", "b")
		s.links()
		s.decide()
		s.want("a live active, b live active")
		if s.of("a").Verified {
			t.Error("a way is verified by its carrier")
		}
		s.tell("a", KindNeighbour, Down)
		s.decide()
		s.want("a dead standby, b live active")
		// The carrier goes and comes back: the neighbour is as dead as before.
		s.tell("a", KindLink, Down)
		s.decide()
		s.want("a dead none, b live active")
		s.tell("a", KindLink, Up)
		s.pass(time.Hour)
		s.want("a dead standby, b live active")
		// The loss of the carrier outweighs everything that vouches.
		s.tell("b", KindNeighbour, Up)
		s.tell("b", KindICMP, Up)
		s.decide()
		if !s.of("b").Verified {
			t.Error("a way is not verified by its neighbour and targets")
		}
		s.tell("b", KindLink, Down)
		s.decide()
		s.want("a dead active, b dead none")
		if v := s.of("b"); v.Verified && v.State != Dead || !v.Since.Equal(s.now) {
			t.Errorf("b is %s since %s, want dead since %s", v.State, v.Since, s.now)
		}
	})
}

// equalDefaults returns what d has twice: a table, family and metric with two
// defaults. An old choice by neighbour state would decide between them
// (fib_select_default, net/ipv4/fib_semantics.c).
func equalDefaults(d fib.Desired) string {
	type place struct {
		family        fib.Family
		table, metric uint32
	}
	seen := map[place]fib.Route{}
	for _, r := range d.Routes {
		if r.Dst.Bits() != 0 {
			continue
		}
		p := place{r.Family(), r.Table, r.Metric}
		if other, twice := seen[p]; twice {
			return fmt.Sprintf("table %d has %+v and %+v", r.Table, other, r)
		}
		seen[p] = r
	}
	return ""
}

// TestLNX_RT_12: no table has two defaults of one metric, whatever the layout, the
// verdicts and the facts.
func TestLNX_RT_12(t *testing.T) {
	for name, s := range scenes() {
		if twice := equalDefaults(s.layout.Desired(s.facts, s.verdicts, nil)); twice != "" {
			t.Errorf("%s: %s", name, twice)
		}
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 12))
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}[:1+r.IntN(8)]
		l := layoutFor(names...)
		l.FailClosed = r.IntN(2) == 0
		facts, verdicts, defaults := Facts{}, Verdicts{}, 0
		for n, name := range names {
			for _, f := range fib.Families {
				way := Way{name, f}
				fact := factFor(n, name, f)
				fact.Usable = r.IntN(3) > 0
				facts[way] = fact
				verdicts[way] = Verdict{Role: Role(r.IntN(3))}
			}
		}
		d := l.Desired(facts, verdicts, nil)
		if twice := equalDefaults(d); twice != "" {
			t.Fatalf("seed %d: %s", seed, twice)
		}
		for _, route := range d.Routes {
			if route.Dst.Bits() == 0 {
				defaults++
			}
		}
		if defaults < 2*len(names) { // The guard of each table and family.
			t.Fatalf("seed %d: only %d defaults are drawn: the test does not test", seed, defaults)
		}
	}
	twin := fib.Route{Table: 7, Dst: fib.IPv4.Any(), Metric: 1}
	if equalDefaults(fib.Desired{Routes: []fib.Route{twin, twin}}) == "" {
		t.Error("two defaults of one metric pass")
	}
}
