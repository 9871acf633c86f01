package adversity

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// manners are what the peers of Misbehaviour did.
type manners struct {
	mu sync.Mutex
	// flaps and flapsRefused are sessions and attempts of who flaps.
	flaps, flapsRefused int
	// trickled are prefixes of who never finishes; trickleEnds how often that was ended.
	trickled, trickleEnds int
	// floods are sessions in which too much was sent, floodsEnded those that ended by
	// a Cease because of that, floodsRefused attempts afterwards.
	floods, floodsEnded, floodsRefused int
	// deafAsked are requests of who does not read, deafEnds how often it was ended.
	deafAsked, deafEnds int
}

func (m *manners) note(f func(m *manners)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

// limit is how many prefixes who floods may send.
const limit = 1000

// Misbehaviour lets four peers misbehave for Options.For, each in both families: one
// that flaps every second, one that never finishes its table, one that sends twice as
// many prefixes as it may, and one that stops reading and goes on asking.
func Misbehaviour(ctx context.Context, o Options) (*Report, error) {
	r := &Report{}
	uplinks := slices.Concat(bystanders, []uplink{
		{name: "flaps", lines: "bgp: {peer-as: PEER-AS, import: full}"},
		{name: "endless", lines: "bgp: {peer-as: PEER-AS, import: full}"},
		{name: "floods", lines: "bgp: {peer-as: PEER-AS, import: full, max-prefixes: 1000}"},
		{name: "deaf", lines: "bgp: {peer-as: PEER-AS, import: full}"},
	})
	s, err := newScene(ctx, o, r, uplinks)
	if err != nil {
		return r, err
	}
	m := &manners{}
	err = s.endure(func(ctx context.Context, work *sync.WaitGroup) error {
		for name, act := range map[string]func(f *far, ctx context.Context, m *manners){
			"flaps": (*far).flap, "endless": (*far).trickle, "floods": (*far).flood, "deaf": (*far).deafen,
		} {
			for _, f := range s.fars(name) {
				work.Go(func() { act(f, ctx, m) })
			}
		}
		return nil
	}, func() {
		r.count("who flaps: %d sessions, %d attempts refused", m.flaps, m.flapsRefused)
		r.count("who never finishes: %d prefixes, ended %d times", m.trickled, m.trickleEnds)
		r.count("who sends %d prefixes of %d: %d sessions, %d ended by Cease/1, %d attempts refused", 2*limit, limit, m.floods, m.floodsEnded, m.floodsRefused)
		r.count("who does not read: %d requests for all routes, ended %d times", m.deafAsked, m.deafEnds)
		r.fault(m.flaps >= 2, "who flaps had %d sessions only", m.flaps)
		r.fault(m.trickled > 0 && m.trickleEnds == 0, "who never finishes sent %d prefixes and was ended %d times", m.trickled, m.trickleEnds)
		r.fault(m.floods >= 2 && m.floodsEnded == m.floods, "of %d sessions with too many prefixes, %d were ended", m.floods, m.floodsEnded)
		r.fault(m.deafAsked > 0, "who does not read asked for nothing")
	})
	return r, errors.Join(err, s.close())
}

// once tries to establish a session, within a second.
func (f *far) once(ctx context.Context, o bgptest.Options) *bgptest.Peer {
	conn, err := f.dial(f.line().Gateway)(ctx)
	if err != nil {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	p := bgptest.Start(conn, o)
	if p.WaitEstablished(within) != nil {
		p.Close()
		return nil
	}
	return p
}

// flap is the goroutine of a peer that comes and goes, once a second as far as it is
// allowed to.
func (f *far) flap(ctx context.Context, m *manners) {
	t := f.s.tables[f.ipv6]
	for ; ctx.Err() == nil; pause(ctx, time.Second) {
		p := f.once(ctx, f.options())
		if p == nil {
			m.note(func(m *manners) { m.flapsRefused++ })
			continue
		}
		m.note(func(m *manners) { m.flaps++ })
		_ = p.Send(append(f.defaultRoute(), t.Updates(f.view(), 0, t.Len()/2)...)...) // It ends one way or the other.
		_ = p.EndOfRIB(f.wire)
		pause(ctx, time.Second)
		p.Cut()
	}
}

// trickle is the goroutine of a peer that announces its table over and over, with other
// paths each time, and never says that this is all.
func (f *far) trickle(ctx context.Context, m *manners) {
	t, v := f.s.tables[f.ipv6], f.view()
	for ctx.Err() == nil {
		p := f.once(ctx, f.options())
		if p == nil {
			pause(ctx, retryEvery)
			continue
		}
		for i := 0; pause(ctx, 20*time.Millisecond); i++ {
			v.Extra = i / t.Len() % 3
			at := i % t.Len()
			if err := p.Send(bgptest.Announcement(t.Attributes(v, at), t.Prefix(at))...); err != nil || p.Heard().Closed {
				m.note(func(m *manners) { m.trickleEnds++ })
				break
			}
			m.note(func(m *manners) { m.trickled++ })
		}
		p.Close()
	}
}

// flood is the goroutine of a peer that sends more than it may, and comes again.
func (f *far) flood(ctx context.Context, m *manners) {
	all := bgptest.NewTable(f.wire, 2*limit, seed+1).Updates(f.view(), 0, 2*limit)
	for ; ctx.Err() == nil; pause(ctx, retryEvery) {
		p := f.once(ctx, f.options())
		if p == nil {
			m.note(func(m *manners) { m.floodsRefused++ })
			continue
		}
		m.note(func(m *manners) { m.floods++ })
		_ = p.Send(append(f.defaultRoute(), all...)...) // It ends one way or the other.
		_ = p.EndOfRIB(f.wire)
		// The end of the time is not the end of what must happen.
		patience, cancel := context.WithTimeout(f.s.ctx, f.s.Patience)
		if n, err := p.WaitNotification(patience); err == nil && n.Code == 6 && n.Subcode == 1 {
			m.note(func(m *manners) { m.floodsEnded++ })
		}
		cancel()
		p.Close()
	}
}

// deafen is the goroutine of a peer that stops reading and asks for all routes again
// and again, so that there is ever more to send to it.
func (f *far) deafen(ctx context.Context, m *manners) {
	t := f.s.tables[f.ipv6]
	for ctx.Err() == nil {
		p := f.once(ctx, f.options())
		if p == nil {
			pause(ctx, retryEvery)
			continue
		}
		stop := context.AfterFunc(ctx, p.Close) // Sending may block.
		if c, ok := p.Conn().(*net.TCPConn); ok {
			_ = c.SetReadBuffer(4096) // The kernel has its own smallest one.
		}
		p.Pause()
		err := p.Send(append(f.defaultRoute(), t.Updates(f.view(), 0, t.Len())...)...)
		if err == nil {
			err = p.EndOfRIB(f.wire)
		}
		for err == nil && pause(ctx, 5*time.Millisecond) {
			if err = p.Send(bgptest.RouteRefresh(f.wire)); err == nil {
				m.note(func(m *manners) { m.deafAsked++ })
			}
		}
		if err != nil && ctx.Err() == nil {
			m.note(func(m *manners) { m.deafEnds++ })
		}
		stop()
		p.Close()
	}
}
