package speaker

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

const (
	// counterPace is how often a status is sent of which only counters changed.
	counterPace = 100 * time.Millisecond
	// lookPace is how often the status is looked at: while a table is loaded it changes
	// with every message. What is new is told at once if nothing was for that long.
	lookPace = 5 * time.Millisecond
)

// report sends the status whenever it changed. Before the first configuration was
// taken there is none: the daemon would take an empty one for sessions that are gone.
func (s *server) report(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.configured:
	}
	var last bgp.Status
	var told time.Time
	var pace pacer
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; {
		st := s.voice.Status()
		pace.follow(st)
		now := time.Now()
		same := !first && reflect.DeepEqual(last, st)
		if !same && (first || now.Sub(told) >= counterPace || !reflect.DeepEqual(states(last), states(st))) {
			if err := s.sendStatus(st); err != nil {
				return err
			}
			first, same, last, told = false, true, st, now
		}
		if err := s.nextLook(ctx, timer, same, told); err != nil {
			return err
		}
	}
}

// nextLook waits until the status is worth another look.
func (s *server) nextLook(ctx context.Context, timer *time.Timer, same bool, told time.Time) error {
	timer.Reset(lookPace)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	var counters <-chan time.Time
	if !same {
		timer.Reset(max(0, counterPace-time.Since(told)))
		counters = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.changed:
	case <-counters:
	}
	return nil
}

func (s *server) sendStatus(st bgp.Status) error {
	document, err := encode(edited(st, func(f *bgp.FamilyStatus) { f.Bandwidth = finite(f.Bandwidth) }, nil))
	if err == nil && len(document) > maxDocument {
		err = fmt.Errorf("a status of %d octets is too long", len(document))
	}
	if err != nil {
		// A status that cannot be told is no reason to end sessions.
		s.log.Error("cannot tell the status of the BGP sessions", "error", err)
		return nil
	}
	if err := s.out.send(kindStatus, document); err != nil {
		return hungUp(err)
	}
	return nil
}

// states returns what of st is told at once: everything but counters.
func states(st bgp.Status) bgp.Status {
	return edited(st, func(f *bgp.FamilyStatus) {
		f.Received, f.Accepted, f.Refused, f.Stale, f.Bandwidth, f.Announced = 0, 0, nil, 0, 0, 0
	}, func(c *bgp.CacheStatus) { c.Records = 0 })
}

// edited returns st with every family and cache changed, and leaves st as it is.
func edited(st bgp.Status, family func(*bgp.FamilyStatus), cache func(*bgp.CacheStatus)) bgp.Status {
	st.Peers = slices.Clone(st.Peers)
	for i := range st.Peers {
		p := &st.Peers[i]
		p.Families = slices.Clone(p.Families)
		for j := range p.Families {
			family(&p.Families[j])
		}
	}
	st.RPKI = slices.Clone(st.RPKI)
	for i := range st.RPKI {
		if cache != nil {
			cache(&st.RPKI[i])
		}
	}
	return st
}

// stream sends routes as long as the daemon takes them. What it does not take stays
// with the speaker, which keeps one choice per prefix.
func (s *server) stream(ctx context.Context) error {
	buf := make([]bgp.Route, 0, maxRoutes)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.credits:
		}
		b, err := s.voice.Next(ctx, buf[:0])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("next routes: %w", err)
		}
		b.Routes = slices.DeleteFunc(b.Routes, func(r bgp.Route) bool {
			if ok := sendable(r.Prefix); ok {
				return false
			}
			s.log.Error("the speaker told a prefix that is none", "prefix", r.Prefix)
			return true
		})
		if err := s.out.build(kindRoutes, func(p []byte) []byte { return appendBatch(p, b) }); err != nil {
			return hungUp(err)
		}
	}
}
