package engine

import (
	"context"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/speaker"
)

// BGP keeps sessions of BGP. [speaker.Supervisor] is the real one, and says of each
// method what it does.
type BGP interface {
	Run(ctx context.Context)
	Set(c bgp.Config)
	Status() speaker.Status
	BGPRequests
}

// BGPRequests are what is asked of a BGP now and then.
type BGPRequests interface {
	Leave()
	Reset(peer, words string)
	Paths(ctx context.Context, q bgp.Query) ([]bgp.PrefixPaths, error)
}

func newRealBGP(o speaker.Options) BGP { return speaker.NewSupervisor(o) }

// speak makes a first speaker and keeps one running until silence, one after the other
// if they die. Its context is not that of the loop: the loop says at its end whether
// peers are told a word, and only then lets it end.
func (p *peering) speak(ctx context.Context) {
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.renew()
	p.engine.supervise(ctx, "bgp", p.run, func(error) { p.lose() })
}

// renew makes a speaker, which knows nothing yet.
func (p *peering) renew() BGP {
	e := p.engine
	v := e.opts.NewBGP(speaker.Options{
		Start:   speaker.Process,
		Changed: e.board.Poke,
		Begin:   e.bulk.begin,
		Routes:  e.bulk.take,
		Log:     e.log,
	})
	p.mu.Lock()
	p.speaker = v
	p.fresh = true
	p.voices++
	p.mu.Unlock()
	e.board.Poke()
	return v
}

// run runs one speaker until its context ends, or until it fails.
func (p *peering) run(ctx context.Context) {
	v := p.voice()
	if v == nil {
		v = p.renew()
	}
	v.Run(ctx)
}

// lose forgets a speaker that died: the next one is another.
func (p *peering) lose() {
	p.mu.Lock()
	p.speaker = nil
	p.mu.Unlock()
	p.engine.board.Poke()
}

// voice returns the present speaker, nil if there is none.
func (p *peering) voice() BGP {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.speaker
}

// silence ends the speaker: with a word to every peer if what is forwarded now will
// not be any more.
func (p *peering) silence(leave bool) {
	if p.stop == nil {
		return
	}
	if v := p.voice(); v != nil && leave {
		v.Leave()
	}
	p.stop()
}
