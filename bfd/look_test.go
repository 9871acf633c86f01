package bfd

import "testing"

// The thread of all sessions allocates nothing while nothing changes: who allocates
// has to help the garbage collector, and a big heap would make it late.
func TestLook_allocatesNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		l, _, _ := s.bareLoop(f)
		for _, conf := range []Config{
			{Peer: f.b, Local: f.a, Interface: "eth0"},
			{Peer: f.odd, Interface: "missing0"},
		} {
			if _, err := l.speaker.Open(conf, nil); err != nil {
				t.Fatal(err)
			}
		}
		// The first turns open sockets, and find out what is missing.
		l.lookAt = never
		for range 3 {
			l.wakeAt = 0
			l.turn()
		}
		if len(l.sockets.paths) != 2 {
			t.Fatalf("%d sessions have paths", len(l.sockets.paths))
		}
		now := l.clock.read().now
		l.look(now)
		if n := testing.AllocsPerRun(100, func() { l.look(now) }); n != 0 {
			t.Errorf("%v allocations each second", n)
		}
	})
}
