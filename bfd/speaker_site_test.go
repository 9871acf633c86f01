package bfd

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

func TestMain(m *testing.M) {
	if os.Getenv(peerVariable) != "" {
		os.Exit(playPeer())
	}
	if os.Getenv(squatterVariable) != "" {
		os.Exit(playSquatter())
	}
	os.Exit(lab.Main(m))
}

// patience is far more than anything takes on a busy machine.
const patience = 30 * time.Second

// site is a lab with speakers.
type site struct {
	t   *testing.T
	lab *lab.Lab
}

func newSite(t *testing.T) *site {
	t.Helper()
	l, err := lab.New(lab.Options{Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{t, l}
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) host(name string) *lab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name)
	s.must(err)
	return h
}

// address gives a device the address, with the length of its subnet.
func (s *site) address(h *lab.Host, dev string, a netip.Addr) {
	s.t.Helper()
	s.must(h.AddAddress(dev, subnet(a)))
}

// wire connects "eth0" of two new hosts, which have a and b of both families.
func (s *site) wire() (left, right *lab.Host) {
	s.t.Helper()
	left, right = s.host("left"), s.host("right")
	s.must(s.lab.Veth(left, "eth0", right, "eth0"))
	for _, f := range families {
		s.address(left, "eth0", f.a)
		s.address(right, "eth0", f.b)
	}
	return left, right
}

// liveSpeaker is a speaker that runs until stop or the end of the test.
type liveSpeaker struct {
	*Speaker
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// speaker is one that ends in a hurry.
func (s *site) speaker(h *lab.Host) *liveSpeaker {
	return s.run(h, slog.DiscardHandler, 50*time.Millisecond)
}

// politeSpeaker is one that ends as others do.
func (s *site) politeSpeaker(h *lab.Host) *liveSpeaker {
	return s.run(h, slog.DiscardHandler, lingerLimit)
}

func (s *site) run(h *lab.Host, log slog.Handler, linger time.Duration) *liveSpeaker {
	s.t.Helper()
	r := &liveSpeaker{t: s.t, ended: make(chan struct{})}
	s.must(h.Do(func() (err error) {
		r.Speaker, err = NewSpeaker(Options{Logger: slog.New(log)})
		return err
	}))
	r.linger = linger
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		r.err = r.Run(ctx)
	}()
	s.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			s.t.Error(err)
		}
	})
	return r
}

func (r *liveSpeaker) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// watched is a session whose events are kept.
type watched struct {
	*Session
	t    *testing.T
	name string

	mu     sync.Mutex
	events []Event
	poke   chan struct{}
}

func (r *liveSpeaker) session(c Config) *watched {
	r.t.Helper()
	w := &watched{t: r.t, name: c.Peer.String(), poke: make(chan struct{}, 1)}
	var err error
	if w.Session, err = r.Open(c, w.hear); err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (w *watched) hear(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

func (w *watched) history() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Event(nil), w.events...)
}

// await waits until the state is s.
func (w *watched) await(s State) {
	w.t.Helper()
	w.until("state "+s.String(), func(st Status) bool { return st.State == s })
}

// until waits until the status is as wanted.
func (w *watched) until(what string, ok func(Status) bool) {
	w.t.Helper()
	eventually(w.t, w.name+": "+what, func() (bool, any) {
		st := w.Status()
		return ok(st), st
	})
}

// eventually waits until ok; what it saw last is told if that never comes.
func eventually(t *testing.T, what string, ok func() (bool, any)) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		good, seen := ok()
		if good {
			return
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v, but %+v", what, patience, seen)
		}
	}
}

// livePair is a session with its other end.
type livePair struct{ left, right *watched }

// bothUp opens both ends and waits until they are Up and at the pace that is wanted.
func (s *site) bothUp(left, right *liveSpeaker, l, r Config) livePair {
	s.t.Helper()
	p := livePair{left.session(l), right.session(r)}
	settled := func(st Status) bool { return st.State == Up && !st.Polling }
	p.left.until("up", settled)
	p.right.until("up", settled)
	return p
}

// onLink is the configuration of a session over "eth0" from a to b.
func onLink(a, b netip.Addr) Config {
	return Config{
		Peer: b, Local: a, Interface: "eth0",
		DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond,
	}
}
