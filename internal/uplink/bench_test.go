package uplink

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// BenchmarkDecideAndDraw is what one poke of the engine costs: both families,
// three targets for each way, all links and neighbours known. On a bad day every
// target is dead everywhere, which is the most that there is to weigh.
func BenchmarkDecideAndDraw(b *testing.B) {
	for _, count := range []int{1, 8, 64} {
		for _, day := range []struct {
			name    string
			opinion Opinion
		}{{"good", Up}, {"bad", Down}} {
			b.Run(fmt.Sprintf("uplinks=%d/%s", count, day.name), func(b *testing.B) {
				l, facts, verdicts := many(count)
				p := Policy{HoldUp: 10 * time.Second, Damping: Damping{HalfLife: time.Minute, Suppress: 3000, Reuse: 750}}
				evidence := Snapshot{}
				for _, u := range l.Uplinks {
					for _, f := range fib.Families {
						w := Way{u.Name, f}
						p.Members = append(p.Members, Member{Way: w, Tier: 1, Weight: 1})
						for _, kind := range []Kind{KindLink, KindAddress, KindGateway, KindNeighbour, KindICMP} {
							e := Evidence{Source: Source{w, kind}, Opinion: Up, Since: start, Reason: "told"}
							if kind == KindICMP {
								for _, target := range []map[fib.Family]netip.Addr{target1, target2, target3} {
									e.Targets = append(e.Targets, Target{Address: target[f], Opinion: day.opinion, Since: start, Reason: "told"})
								}
							}
							evidence[e.Source] = e
						}
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					verdicts, _ = Decide(p, verdicts, evidence, start)
					l.Desired(facts, verdicts, nil)
				}
			})
		}
	}
}

// manyChoices returns count choices of both families in turn, each with other ranks.
func manyChoices(l Layout, count int) []Choice {
	all := make([]Choice, count)
	for n := range all {
		c := Choice{Family: fib.Families[n%2], Code: uint16(n/2 + 1), Ranks: make([]uint8, len(l.Uplinks))}
		for u := range c.Ranks {
			c.Ranks[u] = uint8(c.Code>>(2*u)) & 3
		}
		all[n] = c
	}
	return all
}

// BenchmarkDrawChoices is what stands in the way of a failover where prefixes
// follow their own ranks: 8 uplinks, one of them just died.
func BenchmarkDrawChoices(b *testing.B) {
	for _, count := range []int{0, 3, 100, 2000} {
		b.Run(fmt.Sprintf("choices=%d", count), func(b *testing.B) {
			l, facts, verdicts := many(8)
			for _, f := range fib.Families {
				verdicts[Way{l.Uplinks[0].Name, f}] = Verdict{State: Dead, Role: Standby}
			}
			choices := manyChoices(l, count)
			b.ReportAllocs()
			for b.Loop() {
				l.Desired(facts, verdicts, choices)
			}
		})
	}
}
