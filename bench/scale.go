package main

import (
	"context"
	"fmt"
)

var scaleScenario = scenario{
	name: "bfd-scale",
	about: "Sessions over one hop, all with the same far end, each in a subnet of its own on one cable; measured after all are up. " +
		"No session may flap.",
	columns: basics,
	run:     (*bench).scale,
}

func (b *bench) scale(ctx context.Context, t *table) error {
	for _, n := range b.options.sessions {
		for _, ipv6 := range b.options.families {
			s := b.options.setting(n, ipv6)
			var entrants []entrant
			for _, c := range b.candidates {
				entrants = append(entrants, entrant{c.name(), func(ctx context.Context) (sample, error) {
					return b.try(ctx, c, s, func(t *trial) (sample, error) {
						m, err := t.measure(ctx, b.options.duration, nil)
						return m.figures(n), err
					})
				}})
			}
			if err := b.contest(ctx, t, fmt.Sprintf("%d sessions, %s", n, family(ipv6)), entrants); err != nil {
				return err
			}
		}
	}
	return nil
}

func family(ipv6 bool) string {
	if ipv6 {
		return "IPv6"
	}
	return "IPv4"
}
