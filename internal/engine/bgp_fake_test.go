package engine

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/speaker"
)

// voice is a BGP that says what it is told.
type voice struct {
	opts speaker.Options
	die  chan any

	mu      sync.Mutex // guards what follows
	status  speaker.Status
	sets    []bgp.Config
	resets  []string
	left    bool
	running bool
	paths   []bgp.PrefixPaths
	asked   []bgp.Query
	// panics makes every call panic.
	panics bool
}

func newVoice(o speaker.Options) *voice { return &voice{opts: o, die: make(chan any)} }

func (v *voice) Run(ctx context.Context) {
	v.mu.Lock()
	v.running = true
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		v.running = false
		v.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
	case why := <-v.die:
		panic(why)
	}
}

func (v *voice) Set(c bgp.Config) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.panics {
		panic("no more")
	}
	v.sets = append(v.sets, c)
}

func (v *voice) Status() speaker.Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.panics {
		panic("no more")
	}
	s := v.status
	s.BGP.Peers = slices.Clone(s.BGP.Peers)
	for i := range s.BGP.Peers {
		s.BGP.Peers[i].Families = slices.Clone(s.BGP.Peers[i].Families)
	}
	return s
}

func (v *voice) Reset(peer, words string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.resets = append(v.resets, peer+": "+words)
}

func (v *voice) Leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = true
}

func (v *voice) Paths(_ context.Context, q bgp.Query) ([]bgp.PrefixPaths, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, q)
	if v.paths == nil {
		return nil, errors.New("nothing to tell")
	}
	return v.paths, nil
}

// set returns what it was told last, and how often it was told anything.
func (v *voice) set() (bgp.Config, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.sets) == 0 {
		return bgp.Config{}, 0
	}
	return v.sets[len(v.sets)-1], len(v.sets)
}

// peer returns how a session was described last.
func (v *voice) peer(name string) (bgp.Peer, bool) {
	c, _ := v.set()
	for _, p := range c.Peers {
		if p.Name == name {
			return p, true
		}
	}
	return bgp.Peer{}, false
}

// reset returns what was reset since the last call.
func (v *voice) reset() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := v.resets
	v.resets = nil
	return out
}

// say changes what the speaker says, and tells so.
func (v *voice) say(change func(*speaker.Status)) {
	v.mu.Lock()
	change(&v.status)
	v.mu.Unlock()
	v.opts.Changed()
}

// starts makes a child speak; all sessions that it was told of begin.
func (v *voice) starts(now time.Time) {
	v.say(func(s *speaker.Status) {
		s.Speaking, s.Known, s.Since, s.Trouble = true, true, now, ""
		s.Starts++
		s.PID = 100 + int(s.Starts)
		s.BGP = bgp.Status{}
		if len(v.sets) == 0 {
			return
		}
		for _, p := range v.sets[len(v.sets)-1].Peers {
			st := bgp.PeerStatus{Name: p.Name, Address: p.Address, AS: p.AS, State: bgp.Connect, Since: now}
			for _, f := range p.Families {
				st.Families = append(st.Families, bgp.FamilyStatus{Family: f})
			}
			s.BGP.Peers = append(s.BGP.Peers, st)
		}
	})
}

// dies ends the child.
func (v *voice) dies(why string) {
	v.say(func(s *speaker.Status) { s.Speaking, s.PID, s.Trouble = false, 0, why })
}

// session changes what is said of one session.
func (v *voice) session(name string, change func(*bgp.PeerStatus)) {
	v.say(func(s *speaker.Status) {
		for i := range s.BGP.Peers {
			if s.BGP.Peers[i].Name == name {
				change(&s.BGP.Peers[i])
			}
		}
	})
}

// up establishes a session that brings what is usual.
func (v *voice) up(name string) {
	v.session(name, func(p *bgp.PeerStatus) {
		p.State, p.Trouble = bgp.Established, ""
		for i := range p.Families {
			f := &p.Families[i]
			f.Negotiated, f.Synced, f.Retained, f.Received, f.Accepted = true, true, false, 1, 1
			f.Default = bgp.DefaultRoute{Received: true, Accepted: true}
		}
	})
}

// lost ends a session.
func (v *voice) lost(name, why string) {
	v.session(name, func(p *bgp.PeerStatus) {
		p.State, p.LastError, p.Trouble = bgp.Idle, why, why
		p.Flaps++
		for i := range p.Families {
			p.Families[i].Negotiated, p.Families[i].Synced = false, false
		}
	})
}

// voice returns the present BGP.
func (b *bench) voice() *voice {
	b.t.Helper()
	if len(b.voices) == 0 {
		b.t.Fatal("there is no BGP")
	}
	return b.voices[len(b.voices)-1]
}

// prefix makes a prefix of text.
func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// addr makes an address of text.
func addr(text string) netip.Addr { return netip.MustParseAddr(text) }
