package speaker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// fakeVoice is a speaker in memory. Like the real one it keeps one choice per prefix
// for a reader that is slow.
type fakeVoice struct {
	opts bgp.Options
	// stuck makes Run not end with its context.
	stuck chan struct{}
	// setting, if not nil, is called by Set.
	setting func(bgp.Config) error
	// alive and resetting, if not nil, are called by Alive and Reset.
	alive     func(context.Context) error
	resetting func()

	mu      sync.Mutex
	configs []bgp.Config
	resets  []resetOrder
	status  bgp.Status
	order   []netip.Prefix
	choices map[netip.Prefix]bgp.Choice
	synced  bool
	nexts   int
	answer  func(context.Context, bgp.Query) ([]bgp.PrefixPaths, error)
	more    chan struct{}
	end     chan error
}

func newFakeVoice() *fakeVoice {
	return &fakeVoice{choices: make(map[netip.Prefix]bgp.Choice), more: make(chan struct{}, 1), end: make(chan error, 1)}
}

func (f *fakeVoice) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case err := <-f.end:
		return err
	}
	if f.stuck != nil {
		<-f.stuck
	}
	return nil
}

// server returns a child with this speaker.
func (f *fakeVoice) server(conn io.ReadWriteCloser, log *slog.Logger) *server {
	return newServer(conn, log, func(o bgp.Options) voice {
		f.opts = o
		return f
	})
}

// Alive hangs as alive says.
func (f *fakeVoice) Alive(ctx context.Context) error {
	if f.alive == nil {
		return nil
	}
	return f.alive(ctx)
}

// Set shows every peer as idle.
func (f *fakeVoice) Set(c bgp.Config) error {
	if f.setting != nil {
		if err := f.setting(c); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.configs = append(f.configs, c)
	f.status.Peers = nil
	for _, p := range c.Peers {
		f.status.Peers = append(f.status.Peers, bgp.PeerStatus{Name: p.Name, Address: p.Address, State: bgp.Idle})
	}
	f.mu.Unlock()
	f.opts.Changed()
	return nil
}

func (f *fakeVoice) Reset(peer, words string) error {
	if f.resetting != nil {
		f.resetting()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets = append(f.resets, resetOrder{peer, words})
	if peer == "nobody" {
		return errors.New("no such peer")
	}
	return nil
}

func (f *fakeVoice) Status() bgp.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// say replaces the status.
func (f *fakeVoice) say(st bgp.Status) {
	f.mu.Lock()
	f.status = st
	f.mu.Unlock()
	f.opts.Changed()
}

// route makes choices known, in this order.
func (f *fakeVoice) route(synced bool, routes ...bgp.Route) {
	f.mu.Lock()
	for _, r := range routes {
		if _, waits := f.choices[r.Prefix]; !waits {
			f.order = append(f.order, r.Prefix)
		}
		f.choices[r.Prefix] = r.Choice
	}
	f.synced = f.synced || synced
	f.mu.Unlock()
	poke(f.more)
}

func (f *fakeVoice) Next(ctx context.Context, buf []bgp.Route) (bgp.Batch, error) {
	f.mu.Lock()
	f.nexts++
	f.mu.Unlock()
	for {
		f.mu.Lock()
		n := min(len(f.order), cap(buf))
		if n > 0 || f.synced {
			for _, p := range f.order[:n] {
				buf = append(buf, bgp.Route{Prefix: p, Choice: f.choices[p]})
				delete(f.choices, p)
			}
			f.order = f.order[n:]
			b := bgp.Batch{Routes: buf, Synced: f.synced && len(f.order) == 0}
			if b.Synced {
				f.synced = false
			}
			f.mu.Unlock()
			return b, nil
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return bgp.Batch{}, ctx.Err()
		case <-f.more:
		}
	}
}

func (f *fakeVoice) Paths(ctx context.Context, q bgp.Query) ([]bgp.PrefixPaths, error) {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	if answer == nil {
		return []bgp.PrefixPaths{{Prefix: q.Prefix}}, nil
	}
	return answer(ctx, q)
}

// told returns a copy of what was set.
func (f *fakeVoice) told() []bgp.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.configs)
}

// fakeChild is a child in this process.
type fakeChild struct {
	net.Conn
	voice  *fakeVoice
	output *io.PipeReader
	stop   context.CancelFunc
	ended  chan error
	killed bool
	mu     sync.Mutex
}

func (c *fakeChild) Output() io.ReadCloser { return c.output }
func (c *fakeChild) Wait() error           { return <-c.ended }

func (c *fakeChild) Kill() {
	c.mu.Lock()
	c.killed = true
	c.mu.Unlock()
	c.stop()
}

func (c *fakeChild) wasKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killed
}

// startFake starts a child whose part is played by play, which is to end when ctx or
// conn does.
func startFake(v *fakeVoice, play func(ctx context.Context, conn net.Conn, print io.Writer) error) *fakeChild {
	near, far := net.Pipe()
	output, print := io.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	c := &fakeChild{Conn: near, voice: v, output: output, stop: stop, ended: make(chan error, 1)}
	go func() {
		defer stop()
		err := play(ctx, far, print)
		_ = far.Close()
		_ = print.Close()
		c.ended <- err
	}()
	return c
}

// playVoice plays a child as it is.
func playVoice(v *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
	return func(ctx context.Context, conn net.Conn, print io.Writer) error {
		return v.server(conn, NewLog(print)).serve(ctx)
	}
}

// playRaw plays a child that sends these octets after its hello, reads everything and
// does nothing else.
func playRaw(octets []byte) func(context.Context, net.Conn, io.Writer) error {
	return func(ctx context.Context, conn net.Conn, _ io.Writer) error {
		unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer unhook()
		reading := make(chan struct{})
		go func() {
			defer close(reading)
			_, _ = io.Copy(io.Discard, conn)
		}()
		if _, err := conn.Write(octets); err == nil {
			<-ctx.Done()
		}
		_ = conn.Close()
		<-reading
		return nil
	}
}

// rig is a Supervisor with children in this process, and what it told.
type rig struct {
	*Supervisor
	t    *testing.T
	stop context.CancelFunc
	over chan struct{}
	logs *logs

	mu       sync.Mutex
	children []*fakeChild
	started  []time.Time
	news     []string
	routes   []bgp.Route
	synced   int
	// hold, if not nil, is waited for by Routes.
	hold chan struct{}
}

// newRig runs a Supervisor until the test ends. play returns the nth child, counted
// from 0; nil is one as it is.
func newRig(t *testing.T, play func(n int, v *fakeVoice) func(context.Context, net.Conn, io.Writer) error) *rig {
	t.Helper()
	r := &rig{t: t, over: make(chan struct{}), logs: &logs{}}
	r.Supervisor = NewSupervisor(Options{
		Start: func(context.Context) (Child, error) {
			v := newFakeVoice()
			part := playVoice(v)
			r.mu.Lock()
			defer r.mu.Unlock()
			if play != nil {
				if p := play(len(r.children), v); p != nil {
					part = p
				}
			}
			c := startFake(v, part)
			r.children = append(r.children, c)
			r.started = append(r.started, time.Now())
			return c, nil
		},
		Begin: func() { r.note("begin") },
		Routes: func(ctx context.Context, b bgp.Batch) {
			r.mu.Lock()
			hold := r.hold
			r.mu.Unlock()
			if hold != nil {
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			r.note("routes")
			r.mu.Lock()
			defer r.mu.Unlock()
			r.routes = append(r.routes, b.Routes...)
			if b.Synced {
				r.synced++
			}
		},
		Log: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	return r
}

func (r *rig) run() {
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.over)
		r.Run(ctx)
	}()
	r.t.Cleanup(r.end)
}

// end ends the Supervisor and waits for it.
func (r *rig) end() {
	r.stop()
	<-r.over
}

func (r *rig) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.news) == 0 || r.news[len(r.news)-1] != what {
		r.news = append(r.news, what)
	}
}

// child returns the nth child.
func (r *rig) child(n int) *fakeChild {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n >= len(r.children) {
		r.t.Fatalf("there are %d children, want number %d", len(r.children), n)
	}
	return r.children[n]
}

func (r *rig) told() (news []string, routes []bgp.Route, synced int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.news), slices.Clone(r.routes), r.synced
}

// config is a small configuration.
func config(peers ...string) bgp.Config {
	c := bgp.Config{AS: 64500, RouterID: netip.MustParseAddr("192.0.2.1")}
	for i, p := range peers {
		c.Peers = append(c.Peers, bgp.Peer{
			Name: p, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), AS: 64501, Families: []bgp.Family{bgp.IPv4},
		})
	}
	return c
}

// prefix returns the nth of many prefixes, of both families in turn.
func prefix(n int) netip.Prefix {
	if n%2 == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(n>>17), byte(n >> 9), byte(n >> 1), 0}), 24)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, byte(n >> 17), byte(n >> 9), byte(n >> 1)}), 48)
}

func route(n int) bgp.Route { return bgp.Route{Prefix: prefix(n), Choice: bgp.Choice(n%3 + 1)} }

// logs keeps what is logged.
type logs struct {
	mu   sync.Mutex
	text []byte
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
