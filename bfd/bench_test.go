package bfd

import (
	"testing"
	"time"
)

// sink is a sender that counts.
type sink struct{ n int }

func (s *sink) send([]byte) error {
	s.n++
	return nil
}

// BenchmarkInput is one packet received by a session among 1000 that is Up.
func BenchmarkInput(b *testing.B) {
	for _, kind := range []AuthType{AuthNone, AuthMeticulousSHA1} {
		b.Run(kind.String(), func(b *testing.B) {
			tb, sessions := manySessions(b, 1000, kind)
			peer := sessions[0].core.conf.Auth
			p := Packet{State: Up, DetectMult: 3, MyDiscriminator: 1, DesiredMinTx: 50_000, RequiredMinRx: 50_000}
			d := datagram{dst: far(0).Local, ttl: 255, port: portMultihop}
			buffer := make([]byte, 0, 128)
			seq := uint32(2)
			b.ReportAllocs()
			for b.Loop() {
				s := sessions[int(seq)%len(sessions)]
				p.YourDiscriminator = s.core.localDiscr
				d.payload = p.Append(buffer)
				if kind != AuthNone {
					// Signing is measured as well: each packet is new.
					d.payload = peer.sign(d.payload, seq)
					s.core.window.last = seq - 1
				}
				d.src = s.core.conf.Peer
				seq++
				tb.input(&d, 0)
			}
			if tb.received < uint64(b.N) {
				b.Fatalf("%d of %d packets were taken: %v", tb.received, b.N, tb.stats().Dropped)
			}
		})
	}
}

// BenchmarkAdvance is one packet sent by 1000 sessions that are Up, in virtual time.
func BenchmarkAdvance(b *testing.B) {
	for _, kind := range []AuthType{AuthNone, AuthMeticulousSHA1} {
		b.Run(kind.String(), func(b *testing.B) {
			tb, sessions := manySessions(b, 1000, kind)
			out := &sink{}
			for _, s := range sessions {
				s.sender = out
				// It hears of the peer for ever.
				s.core.remoteMult, s.core.remoteMinTx = 255, 4000*time.Second
			}
			for tb.advance(0, 0) {
			}
			start := out.n
			b.ReportAllocs()
			b.ResetTimer()
			for out.n-start < b.N {
				now := tb.wake()
				tb.advance(now, now)
			}
			b.StopTimer()
			for _, s := range sessions {
				if s.core.state != Up {
					b.Fatal(s.core.state)
				}
			}
		})
	}
}

// manySessions returns a table with n sessions over several hops that are Up.
func manySessions(tb testing.TB, n int, kind AuthType) (*table, []*session) {
	tb.Helper()
	t := newTestTable(1)
	sessions := make([]*session, n)
	for i := range sessions {
		conf := far(i)
		if kind != AuthNone {
			conf.Auth = authConf(v4, kind).Auth
		}
		s, err := t.open(conf, nil, 0)
		if err != nil {
			tb.Fatal(err)
		}
		t.attach(s, 0, &sink{})
		p := Packet{State: Init, DetectMult: 3, MyDiscriminator: 1, YourDiscriminator: s.core.localDiscr, DesiredMinTx: 50_000, RequiredMinRx: 50_000}
		for seq, final := range []bool{false, true, false} {
			p.Final = final
			b := p.Append(nil)
			if kind != AuthNone {
				b = conf.Auth.sign(b, uint32(seq+1)) //nolint:gosec // small
			}
			t.input(&datagram{payload: b, src: conf.Peer, dst: conf.Local, ttl: 255, port: portMultihop}, 0)
			for t.advance(0, 0) {
			}
			p.State = Up
		}
		if s.core.state != Up || s.core.poll != pollIdle {
			tb.Fatalf("session %d is %s, poll %d, dropped %v", i, s.core.state, s.core.poll, t.stats().Dropped)
		}
		sessions[i] = s
	}
	return t, sessions
}

// Neither what is received nor what is sent allocates.
func TestSessionsDoNotAllocate(t *testing.T) {
	for _, kind := range []AuthType{AuthNone, AuthSimple, AuthMD5, AuthMeticulousSHA1} {
		tb, sessions := manySessions(t, 10, kind)
		s := sessions[3]
		s.core.remoteMult, s.core.remoteMinTx = 255, 4000*time.Second
		auth := s.core.conf.Auth
		p := Packet{State: Up, Poll: true, DetectMult: 3, MyDiscriminator: 1, YourDiscriminator: s.core.localDiscr, DesiredMinTx: 50_000, RequiredMinRx: 50_000}
		buffer := make([]byte, 0, 128)
		d := datagram{src: s.core.conf.Peer, dst: s.core.conf.Local, ttl: 255, port: portMultihop}
		seq := uint32(10)
		now := instant(0)
		before := tb.received
		got := testing.AllocsPerRun(500, func() {
			seq++
			d.payload = p.Append(buffer)
			if kind != AuthNone {
				d.payload = auth.sign(d.payload, seq)
				s.core.window.last = seq - 1
			}
			now += 5 * time.Millisecond
			d.arrived = now
			tb.input(&d, now)
			tb.advance(now, 0)
		})
		if got != 0 {
			t.Errorf("%s: %v allocations", kind, got)
		}
		if tb.received-before != 501 || tb.sent < 1000 {
			t.Errorf("%s: took %d packets, sent %d, dropped %v", kind, tb.received-before, tb.sent, tb.stats().Dropped)
		}
	}
}
