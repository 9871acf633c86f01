package bfd

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Changes are told in order, with what belongs to them.
func TestBFD_ST_18(t *testing.T) {
	tb := newTestTable(1)
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 200
	var told []Event
	sessions := make([]*session, n)
	for i := range sessions {
		conf := v4.multihopConf()
		conf.Peer = conf.Peer.Next()
		for range i {
			conf.Peer = conf.Peer.Next()
		}
		s, err := tb.open(conf, func(e Event) { told = append(told, e) }, 0)
		if err != nil {
			t.Fatal(err)
		}
		tb.attach(s, 0, &wire{w: newWorld(t)})
		sessions[i] = s
	}
	var want []Event
	now := instant(0)
	for i := range 5000 {
		now += time.Millisecond
		s := sessions[rng.IntN(n)]
		c := &s.core
		p := Packet{State: State(rng.IntN(4)), Diag: Diag(rng.IntN(9)), DetectMult: 200, MyDiscriminator: 9, YourDiscriminator: c.localDiscr, DesiredMinTx: 1_000_000, RequiredMinRx: 1}
		old := c.state
		tb.input(&datagram{payload: p.Append(nil), src: c.conf.Peer, dst: c.conf.Local, ttl: 255, port: portMultihop, arrived: now}, now)
		if c.state != old {
			want = append(want, Event{Peer: c.conf.Peer, At: epoch.Add(now), Old: old, New: c.state, Diag: c.diag, RemoteState: p.State, RemoteDiag: p.Diag})
		}
		if i%50 == 0 {
			for _, x := range tb.take() {
				x.notify(x.Event)
			}
		}
	}
	for _, x := range tb.take() {
		x.notify(x.Event)
	}
	if len(told) < 1000 || len(told) != len(want) {
		t.Fatalf("told %d, want %d", len(told), len(want))
	}
	for i := range told {
		if told[i] != want[i] {
			t.Fatalf("news %d: %+v, want %+v", i, told[i], want[i])
		}
	}
}

// What is a failure, and what is not (RFC 5882 sections 3.2 and 4.2).
func TestBFD_GA_08_EventFailure(t *testing.T) {
	for _, c := range []struct {
		e    Event
		want bool
	}{
		{Event{Old: Up, New: Down, Diag: DiagTimeExpired, RemoteState: Up}, true},
		{Event{Old: Up, New: Down, Diag: DiagTimeExpired, RemoteState: AdminDown}, true},
		{Event{Old: Up, New: Down, Diag: DiagNeighborSignaledDown, RemoteState: Down}, true},
		{Event{Old: Up, New: Down, Diag: DiagNeighborSignaledDown, RemoteState: AdminDown}, false},
		{Event{Old: Up, New: Down, Diag: DiagEchoFailed}, true},
		{Event{Old: Up, New: AdminDown, Diag: DiagAdminDown}, false},
		{Event{Old: Init, New: Down, Diag: DiagTimeExpired}, false},
		{Event{Old: Down, New: Up}, false},
	} {
		if got := c.e.Failure(); got != c.want {
			t.Errorf("%v: failure is %t", c.e, got)
		}
	}
	e := Event{Peer: v4.a, Interface: "eth1", Old: Up, New: Down, Diag: DiagTimeExpired}
	if got, want := e.String(), "bfd 203.0.113.1%eth1: up to down, detection time expired"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
