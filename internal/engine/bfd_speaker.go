package engine

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/multihomed/multihomed/bfd"
)

// Speaker runs BFD sessions. [bfd.Speaker] is the real one, and says of each method
// what it does.
type Speaker interface {
	Open(c bfd.Config, notify func(bfd.Event)) (Session, error)
	Run(ctx context.Context) error
	Stats() bfd.Stats
	ResetLateness()
}

// Session is a session of a Speaker. [bfd.Session] is the real one.
type Session interface {
	Status() bfd.Status
	Update(c bfd.Config) error
	Close()
}

// realSpeaker is a bfd.Speaker in the words of this package.
type realSpeaker struct{ *bfd.Speaker }

// Open returns an interface, which must not hold a nil pointer.
func (s realSpeaker) Open(c bfd.Config, notify func(bfd.Event)) (Session, error) {
	session, err := s.Speaker.Open(c, notify)
	if err != nil {
		return nil, err
	}
	return session, nil
}

func newRealSpeaker(o bfd.Options) (Speaker, error) {
	s, err := bfd.NewSpeaker(o)
	if err != nil {
		return nil, err
	}
	return realSpeaker{s}, nil
}

// speak makes a first speaker, so that sessions can be opened at once, and keeps one
// running until ctx ends, one after the other if they die. It is called once: a speaker
// that ends still holds its ports for a while, and a second one beside it would not
// get them.
func (p *sessions) speak(ctx context.Context) {
	p.renew()
	p.engine.supervise(ctx, "bfd", p.run, p.died)
}

// voice returns the present speaker, nil if there is none.
func (p *sessions) voice() Speaker {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.speaker
}

// renew makes a speaker, nil if it cannot, and tells the loop to open the sessions on
// it.
func (p *sessions) renew() Speaker {
	var s Speaker
	err := safely(func() (err error) {
		s, err = p.engine.opts.NewSpeaker(bfd.Options{Logger: p.engine.log})
		return err
	})
	p.mu.Lock()
	p.speaker, p.lack, p.renewed = s, "", true
	if err != nil {
		s, p.speaker = nil, nil
		p.lack = fmt.Sprintf("the BFD part cannot start: %v; it is tried again within %s: mend that, or take bfd out of the configuration and reload",
			err, restartMost)
	}
	p.mu.Unlock()
	p.engine.board.Poke()
	return s
}

// run runs one speaker. It returns only with its context, or when the speaker
// failed.
func (p *sessions) run(ctx context.Context) {
	s := p.voice()
	if s == nil {
		if s = p.renew(); s == nil {
			return
		}
	}
	if err := s.Run(ctx); err != nil && ctx.Err() == nil {
		p.mu.Lock()
		p.lack = stopped(err)
		p.mu.Unlock()
	}
}

// died makes the sessions say nothing but that they failed, if they did: their speaker
// is gone, and they are not to be touched any more.
func (p *sessions) died(err error) {
	p.mu.Lock()
	p.speaker = nil
	if p.lack == "" {
		p.lack = stopped(err)
	}
	lack := p.lack
	for _, s := range p.all {
		s.lose(lack)
	}
	p.mu.Unlock()
	p.engine.log.Warn("there is no BFD at present", "reason", lack)
}

func stopped(err error) string { return "the BFD part stopped and is started again: " + err.Error() }

// safely calls f and turns a panic into an error: what a session does must not take
// the loop, and with it the forwarding, down.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	return f()
}
