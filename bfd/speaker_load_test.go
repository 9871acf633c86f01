package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// A speaker whose thread stands still for many detection times declares no failure
// while the peers go on: what arrived meanwhile counts by when it arrived.
func TestBFD_TM_22_Stall(t *testing.T) {
	const n = 64
	s := newSite(t)
	hostL, hostR := s.wire()
	left, right := s.speaker(hostL), s.speaker(hostR)
	var sessions []*watched
	for i := range n {
		f := families[i%2]
		a, z := f.a.As16(), f.b.As16()
		a[15], z[15] = byte(10+i), byte(100+i)
		ours, theirs := netip.AddrFrom16(a).Unmap(), netip.AddrFrom16(z).Unmap()
		s.address(hostL, "eth0", ours)
		s.address(hostR, "eth0", theirs)
		l, r := onLink(ours, theirs), onLink(theirs, ours)
		// The peers wait for us; we give them as long as a busy machine may need.
		l.Multiplier, r.Multiplier = 255, 12
		sessions = append(sessions, left.session(l))
		right.session(r)
	}
	for _, w := range sessions {
		w.until("up", func(st Status) bool { return st.State == Up && !st.Polling })
	}
	end := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() { hogs(2, end) })
	for range 2 {
		before := sessions[0].Status()
		left.stall(2 * before.DetectionTime)
		var received []uint64
		for _, w := range sessions {
			received = append(received, w.Status().Received)
		}
		eventually(t, "more packets of each session", func() (bool, any) {
			for i, w := range sessions {
				if st := w.Status(); st.Received <= received[i] {
					return false, st
				}
			}
			return true, nil
		})
	}
	close(end)
	load.Wait()
	for _, w := range sessions {
		if st := w.Status(); st.Failures != 0 {
			t.Errorf("%s: %d failures, %v", w.name, st.Failures, w.history())
		}
	}
}

// stall keeps the thread of the speaker from doing anything for a while, as an owner
// does whose function blocks.
func (r *liveSpeaker) stall(d time.Duration) {
	r.t.Helper()
	blocked, release := make(chan struct{}), make(chan struct{})
	r.locked(func(tb *table) {
		tb.news = append(tb.news, news{notify: func(Event) {
			close(blocked)
			<-release
		}})
	})
	<-blocked
	wait(d)
	close(release)
}

// lines counts what is logged.
type lines struct {
	slog.Handler
	mu   sync.Mutex
	text []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.text = append(l.text, line)
	return nil
}

func (l *lines) about(message string) (some []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.text {
		if len(line) >= len(message) && line[:len(message)] == message {
			some = append(some, line)
		}
	}
	return some
}

// Ten thousand bad packets are all counted, and told of once; a session beside them
// stays up and its packets are taken.
func TestBFD_RX_27_Flood(t *testing.T) {
	s := newSite(t)
	hostL, hostR := s.wire()
	log := &lines{Handler: slog.DiscardHandler}
	left, right := s.run(hostL, log, 0), s.speaker(hostR)
	f := families[0]
	p := s.bothUp(left, right, calm(onLink(f.a, f.b)), calm(onLink(f.b, f.a)))
	bad := s.puppet(hostR, shape{f.b, f.a, 50000, 3784, 255, "eth0"})
	octets := patient(Down, 77, 0).Append(nil)
	octets[0] = 0 // version 0
	const n = 10_000
	for i := range n {
		bad.octets(octets)
		if i%500 == 499 {
			// So that no queue on the way overflows.
			left.dropped(DropVersion, uint64(i+1))
		}
	}
	eventually(t, "a line", func() (bool, any) {
		some := log.about("bfd packets were dropped")
		return len(some) > 0, some
	})
	left.dropped(DropVersion, n)
	received := p.left.Status().Received
	p.left.until("more packets", func(st Status) bool { return st.Received > received+20 })
	if some := log.about("bfd packets were dropped"); len(some) > 2 {
		t.Errorf("%d lines: %s", len(some), some)
	}
	if st := p.left.Status(); st.State != Up || st.Failures != 0 {
		t.Errorf("the session: %+v", st)
	}
	// Junk behind a packet does not matter, however long.
	junk := append(patient(Down, 77, 0).Append(nil), make([]byte, 1000)...)
	before := left.Stats().Dropped
	bad.octets(junk[:100])
	bad.octets(junk)
	eventually(t, "junk is tolerated", func() (bool, any) {
		st := left.Stats()
		// Both are for the session, which does not heed what claims to be Down
		// without a discriminator but by going down.
		return p.left.Status().RemoteDiscriminator == 77 || len(st.Dropped) > len(before), fmt.Sprint(st)
	})
}

// A flood of bad packets takes neither the timers nor the ears from others.
func TestSpeaker_flood(t *testing.T) {
	s := newSite(t)
	hostL, hostR := s.wire()
	left, right := s.speaker(hostL), s.speaker(hostR)
	f := families[1]
	// Ten seconds of silence are a failure.
	p := s.bothUp(left, right, calm(calm(onLink(f.a, f.b))), calm(onLink(f.b, f.a)))
	end := make(chan struct{})
	var flood sync.WaitGroup
	bad := s.puppet(hostR, shape{f.b, f.a, 50000, 3784, 255, "eth0"})
	flood.Go(func() {
		octets := make([]byte, 24)
		for {
			select {
			case <-end:
				return
			default:
				write(bad.fd, octets)
			}
		}
	})
	sent, received := p.left.Status().Sent, p.left.Status().Received
	p.left.until("packets in spite of the flood", func(st Status) bool { return st.Sent > sent+40 && st.Received > received+20 })
	close(end)
	flood.Wait()
	if p.left.Status().Failures != 0 || p.right.Status().Failures != 0 {
		t.Errorf("failures: %+v, %+v", p.left.history(), p.right.history())
	}
	t.Logf("dropped %v", left.Stats().Dropped)
}
