package engine

import (
	"context"
	"sync"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// peering keeps the sessions of BGP that ways want, and turns what they say into
// evidence, drains and weights. The loop calls it; the speaker is told and asked, and
// never waited for.
type peering struct {
	engine *Engine

	// The rest down to mu belongs to the loop.
	stop context.CancelFunc
	// wishes are the sessions that are wanted, host the view that they were drawn from.
	wishes []peerWish
	host   *netmon.Snapshot
	// peers are the sessions as they were described last, by name.
	peers map[string]bgp.Peer
	slots slots
	// full are the sessions for which there is no slot.
	full []string
	// ways is what is remembered of the session of each way.
	ways map[uplink.Way]*wayMemory
	// said is what the speaker said last.
	said speaker.Status
	// silent is since when nobody speaks, zero while somebody does; begun is when the
	// first speaker was made.
	silent, begun time.Time
	bandwidths    bandwidths
	unfit         map[uplink.Way]bool
	// adopted: a previous life left forwarding state in the kernel.
	adopted bool
	// forwards are the families of that state.
	forwards map[fib.Family]bool
	// set is what the speaker was told last.
	set bgp.Config
	// established are the sessions that stood at the last look, mute is why the speaker
	// could not be asked then, and logged why it could not before: for the log.
	established  map[string]bool
	mute, logged string

	mu      sync.Mutex // guards what follows
	speaker BGP
	// fresh: the present speaker was told nothing yet. voices counts speakers.
	fresh  bool
	voices int
	// shown is what Status reads.
	shown *peeringShown
}

// wayMemory is what is remembered of the session of a way.
type wayMemory struct {
	// peer identifies the session: another one has another history.
	peer peerIdentity
	// since is when it was first wanted, inUse that the way was live then.
	since time.Time
	inUse bool
	// before is what the session last said of itself.
	before concluded
	// draining is since when the ISP announces a graceful shutdown, zero if it does
	// not.
	draining time.Time
	// lacking: it stands, and does not bring what it should.
	lacking bool
	// synced: it stands and has sent its table.
	synced bool
	// failures counts the failures of BFD for which it was reset.
	failures uint64
	// anew is until when it is awaited because a reload makes it begin anew; stood is
	// since when the one before stood.
	anew, stood time.Time
}

// peerIdentity says who is at the other end of a session.
type peerIdentity struct {
	name        string
	address     string
	as, localAS uint32
}

func newPeering(e *Engine, m memory) *peering {
	return &peering{
		engine: e, slots: m.slots(), peers: map[string]bgp.Peer{}, ways: map[uplink.Way]*wayMemory{},
		bandwidths: newBandwidths(), unfit: map[uplink.Way]bool{}, established: map[string]bool{},
	}
}

// startPatience is how long a first speaker may take to say something before that it
// says nothing counts: a way that no session was heard of is not in use at a start.
const startPatience = 10 * time.Second

// look draws the sessions that are wanted from the host and the configuration.
func (p *peering) look(ctx context.Context, t *site, views map[uplink.Way]view, s *netmon.Snapshot, now time.Time) {
	p.host, p.wishes = s, nil
	if t.config.BGP != nil {
		p.wishes = t.peerWishes(views, s, p.engine.found.draws, p.peers)
	}
	p.peers = map[string]bgp.Peer{}
	wanted := map[uplink.Way]bool{}
	for _, w := range p.wishes {
		p.peers[w.conf.Name] = w.conf
		who := peerIdentity{w.conf.Name, w.conf.Address.String(), w.conf.AS, w.conf.LocalAS}
		for _, way := range w.ways {
			wanted[way] = true
			if m := p.ways[way]; m == nil || m.peer != who {
				p.ways[way] = &wayMemory{peer: who, since: now, inUse: p.engine.verdicts[way].State == uplink.Live, failures: p.engine.sessions.failuresOf(way)}
			}
		}
	}
	for way := range p.ways {
		if !wanted[way] {
			delete(p.ways, way)
			delete(p.bandwidths.heard, way)
			p.engine.board.Drop(uplink.Source{Way: way, Kind: uplink.KindBGP})
		}
	}
	p.assign()
	if len(p.wishes) > 0 && p.stop == nil {
		p.begun = now
		p.speak(ctx)
	}
}

// assign gives the sessions their places, before the groups of choices are drawn.
func (p *peering) assign() {
	var changed bool
	if p.full, changed = p.slots.assign(p.wishes, p.engine.bulk.choices(p.engine.site.layout, p.slots)); changed {
		p.engine.drains.keep(p.slots)
	}
}

// hear takes what the speaker says: evidence goes on the board, drains and bandwidths
// are noted. It returns when it is to be called again although nothing happens.
func (p *peering) hear(now time.Time) (wake time.Time) {
	if p.stop == nil || len(p.ways) == 0 {
		return time.Time{}
	}
	p.listen(now)
	e := p.engine
	board := e.board.Snapshot()
	for _, w := range p.wishes {
		for _, way := range w.ways {
			m := p.ways[way]
			v, at := p.view(w, way, board, now)
			c, settled := bgpEvidence(v, now)
			if settled {
				m.before = c
			}
			wake = earlier(wake, at)
			m.note(v, c, now)
			if v.told && v.speaking {
				p.bandwidths.hear(way, v.peer, v.family)
			}
			e.board.Put(uplink.Evidence{
				Source: uplink.Source{Way: way, Kind: uplink.KindBGP}, Opinion: c.opinion, Reason: c.reason, Since: now,
			})
		}
	}
	p.bandwidths.weigh(e.site)
	return wake
}

// listen asks the speaker what it has to say.
func (p *peering) listen(now time.Time) {
	said := speaker.Status{Trouble: "the BGP part is started again"}
	p.mute = ""
	if v := p.voice(); v != nil {
		if err := safely(func() error { said = v.Status(); return nil }); err != nil {
			p.mute = err.Error()
			said = speaker.Status{Trouble: p.mute}
		}
	}
	if !said.Known {
		said.BGP = p.said.BGP // The last one knew something.
	}
	p.said = said
	switch {
	case said.Speaking && said.Known:
		p.silent = time.Time{}
	case p.silent.IsZero():
		p.silent = now
	}
}

// view gathers what the evidence of one way is drawn from, and says when time alone
// may change it.
func (p *peering) view(w peerWish, way uplink.Way, board uplink.Snapshot, now time.Time) (v bgpView, wake time.Time) {
	e, m := p.engine, p.ways[way]
	v = bgpView{mode: importMode(w.conf.Import.Mode), why: w.why, speaking: p.silent.IsZero(), lack: lackOf(p.said), before: m.before}
	v.shut, v.drained = p.shutFor(w, board, now)
	v.peer, v.told = peerStatus(p.said, w.conf)
	v.family.Family = bgpFamily(way.Family)
	for _, f := range v.peer.Families {
		if f.Family == v.family.Family {
			v.family = f
		}
	}
	one, _ := e.drains.of(way)
	m.returned(v)
	v.back = "undrained"
	if v.returning = one.returning; one.again.After(v.returning) {
		v.returning = one.again
	}
	if m.anew.After(v.returning) {
		v.returning, v.back = m.anew, "begun anew by the new configuration"
	}
	v.alive = gatewayAlive(way, board)
	deferral := e.site.config.BGP.Deferral
	if !v.speaking && !p.again() && !m.inUse {
		v.starting = p.begun.Add(startPatience)
		wake = future(wake, v.starting, now)
	}
	switch {
	case m.before.opinion == uplink.Up && !v.speaking:
		v.until = p.silent.Add(deferral)
	case m.before.opinion == uplink.Up && p.again():
		v.until = p.said.Since.Add(deferral)
	case m.inUse:
		v.until = m.since.Add(deferral)
	}
	wake = future(wake, v.until, now)
	return v, future(wake, v.returning, now)
}

// again reports whether the child that speaks follows one that died.
func (p *peering) again() bool { return p.said.Starts > 1 || p.voiceCount() > 1 }

func (p *peering) voiceCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.voices
}

// future returns the earlier of two times, of which the second counts only while it is
// to come.
func future(wake, t, now time.Time) time.Time {
	if t.After(now) {
		return earlier(wake, t)
	}
	return wake
}

// note keeps what announcements and the drain of the way depend on.
func (m *wayMemory) note(v bgpView, c concluded, now time.Time) {
	m.synced = v.speaking && v.peer.State == bgp.Established && v.family.Synced
	m.lacking = m.synced && c.opinion == uplink.Down
	d := v.family.Default
	isp := v.told && v.shut == "" && (v.family.Draining || v.mode == config.ImportDefault && d.Accepted && d.Draining)
	switch {
	case !isp:
		m.draining = time.Time{}
	case m.draining.IsZero():
		m.draining = now
	}
}

// shutFor says why a session is not to be had at present, in words; empty if it is.
// drained says that it is so because all that it serves was emptied.
func (p *peering) shutFor(w peerWish, board uplink.Snapshot, now time.Time) (words string, drained bool) {
	e := p.engine
	drained = len(w.ways) > 0
	for _, way := range w.ways {
		one, _ := e.drains.of(way)
		drained = drained && one.shut
	}
	if drained {
		return "drained by the operator", true
	}
	u := e.site.uplinkNamed(w.uplink)
	if u.BFD == nil || !u.BFD.Require {
		return "", false
	}
	for _, way := range w.ways {
		b, ok := board[uplink.Source{Way: way, Kind: uplink.KindBFD}]
		m := p.ways[way]
		awaited := m.inUse && now.Before(m.since.Add(e.site.config.BGP.Deferral))
		if ok && b.Opinion != uplink.Up && !(b.Opinion == uplink.Unknown && awaited) {
			return "waiting for BFD", false
		}
	}
	return "", false
}

// peerStatus returns what a speaker said of a session, and false if it did not speak
// of it, or of another one under its name.
func peerStatus(s speaker.Status, conf bgp.Peer) (bgp.PeerStatus, bool) {
	for _, have := range s.BGP.Peers {
		if have.Name == conf.Name && have.Address.WithZone("") == conf.Address.WithZone("") && have.AS == conf.AS {
			return have, true
		}
	}
	return bgp.PeerStatus{Address: conf.Address, AS: conf.AS}, false
}

func importMode(m bgp.ImportMode) config.ImportMode {
	switch m {
	case bgp.ImportDefault:
		return config.ImportDefault
	case bgp.ImportPrefixes:
		return config.ImportPrefixes
	case bgp.ImportFull:
		return config.ImportFull
	case bgp.ImportNone:
		return 0
	default:
		panic("engine: unhandled import mode")
	}
}

// logHeard logs what was heard before the kernel was written.
func (p *peering) logHeard() {
	if p.mute != "" && p.mute != p.logged {
		p.engine.log.Error("cannot ask the BGP part", "error", p.mute)
	}
	p.logged = p.mute
	for _, w := range p.wishes {
		peer, told := peerStatus(p.said, w.conf)
		p.logState(w, peer, told)
	}
}

// logState logs when a session comes up or is lost.
func (p *peering) logState(w peerWish, s bgp.PeerStatus, told bool) {
	if !told || !p.silent.IsZero() {
		return
	}
	up := s.State == bgp.Established
	if up == p.established[w.conf.Name] {
		return
	}
	p.established[w.conf.Name] = up
	log := p.engine.log.With("uplink", w.uplink, "peer", w.conf.Name, "address", s.Address.String(), "as", s.AS)
	if up {
		log.Info("BGP session is up", "hold_time", s.HoldTime, "graceful_restart", s.Restart)
	} else {
		log.Warn("BGP session is down", "reason", orWords(s.LastError, s.Trouble))
	}
}
