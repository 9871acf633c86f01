package bfd

import (
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bareLoop is a loop that a test turns by hand, with a receiver on "eth0".
func (s *site) bareLoop(f family) (*loop, *receiver, *puppet) {
	s.t.Helper()
	hostL, hostR := s.wire()
	index, err := hostL.Index("eth0")
	s.must(err)
	var l *loop
	var r *receiver
	s.must(hostL.Do(func() error {
		speaker, err := NewSpeaker(Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		p, err := newPoller()
		if err != nil {
			return err
		}
		l = &loop{
			speaker: speaker, clock: newClock(speaker.source), poller: p, batch: newBatch(), endAt: never,
			gather: gather{grid: maxGrid}, drops: newDropLog(),
		}
		if l.sockets, err = newSockets(speaker, p, l.clock); err != nil {
			return err
		}
		r, err = l.sockets.join(receiverKey{port: portSingleHop, v6: f.a.Is6(), device: "eth0", index: index})
		return err
	}))
	s.t.Cleanup(func() {
		l.sockets.leave(&path{receiver: r})
		l.sockets.close()
		l.poller.close()
	})
	return l, r, s.puppet(hostR, shape{f.b, f.a, 50000, singleHopPort, 255, "eth0"})
}

// Under a flood one turn reads only so much, and up to when everything was seen is then
// told by what was read: a session whose packet lies behind the flood does not expire.
func TestBFD_TM_22_Seen(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		l, r, p := s.bareLoop(f)
		const n = 2*turnPackets + 100
		for range n {
			p.octets(make([]byte, 24))
		}
		read := func() (arrived, seen, start instant) {
			ready, err := l.poller.wait(time.Second)
			s.must(err)
			before := l.clock.read()
			seen = l.receive(ready, before)
			return r.newest, seen, before.now
		}
		// The packets may be on their way still, so they are counted.
		taken := func() uint64 { return l.speaker.Stats().Dropped[DropVersion] }
		eventually(t, "the packets wait", func() (bool, any) {
			queued, err := unix.IoctlGetInt(r.fd, unix.SIOCINQ)
			return err == nil && queued > 0, queued
		})
		last := instant(0)
		for turn := 1; turn <= 2; turn++ {
			arrived, seen, start := read()
			if got := taken(); got != uint64(turn*turnPackets) {
				t.Fatalf("turn %d: %d packets were taken, want %d at a time", turn, got, turnPackets)
			}
			if seen != arrived || seen >= start || seen < last {
				t.Errorf("turn %d: seen up to %v, newest packet %v, last time %v, begun at %v", turn, seen, arrived, last, start)
			}
			last = seen
		}
		_, seen, start := read()
		if got := taken(); got != n || seen != start {
			t.Errorf("at the end: %d packets, seen up to %v, begun at %v", got, seen, start)
		}
	})
}

// What is waited for ends a wait, and a pause is not ended by packets.
func TestPoller(t *testing.T) {
	s := newSite(t)
	l, r, p := s.bareLoop(families[0])
	for _, coarse := range []bool{false, true} {
		l.poller.coarse = coarse
		begin := time.Now()
		if ready, err := l.poller.wait(1500 * time.Microsecond); len(ready) != 0 || err != nil {
			t.Errorf("nothing came: %v, %v", ready, err)
		}
		if past := time.Since(begin); past < 1500*time.Microsecond {
			t.Errorf("coarse %v: woken after %v", coarse, past)
		}
		go l.poller.wake()
		if ready, err := l.poller.wait(patience); len(ready) != 0 || err != nil {
			t.Errorf("a call: %v, %v", ready, err)
		}
		p.octets([]byte{0})
		ready, err := l.poller.wait(patience)
		if len(ready) != 1 || int(ready[0].Fd) != r.fd || err != nil {
			t.Errorf("a packet: %v, %v", ready, err)
		}
		begin = time.Now()
		l.poller.pause(20 * time.Millisecond)
		if past := time.Since(begin); past < 20*time.Millisecond {
			t.Errorf("paused for %v", past)
		}
		l.receive(ready, l.clock.read())
		go l.poller.wake()
		l.poller.pause(patience)
		l.poller.quiet()
		if past := time.Since(begin); past > patience {
			t.Errorf("a call did not end the pause in %v", past)
		}
	}
}
