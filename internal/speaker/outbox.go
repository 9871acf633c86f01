package speaker

import (
	"encoding/binary"
	"sync"
)

// outbox is what the daemon has to tell its child. It never blocks who puts
// something in and never grows beyond what is asked at the same time: what replaces
// something older takes its place.
type outbox struct {
	// wake has one slot: there is something to send.
	wake chan struct{}

	mu sync.Mutex
	// config is what the child was not told yet, nil if it was.
	config []byte
	credit uint32
	ping   bool
	leave  bool
	// resets are words by peer.
	resets map[string]string
	// questions that were not sent yet; cancels of those that were.
	questions []question
	cancels   []uint64
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put changes the box under its lock.
func (o *outbox) put(f func()) {
	o.mu.Lock()
	f()
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) configure(document []byte) { o.put(func() { o.config = document }) }
func (o *outbox) grant(frames uint32)       { o.put(func() { o.credit += frames }) }
func (o *outbox) askForLife()               { o.put(func() { o.ping = true }) }
func (o *outbox) takeLeave()                { o.put(func() { o.leave = true }) }

func (o *outbox) reset(peer, words string) {
	o.put(func() {
		if o.resets == nil {
			o.resets = make(map[string]string)
		}
		o.resets[peer] = words
	})
}

func (o *outbox) ask(q question) { o.put(func() { o.questions = append(o.questions, q) }) }

// cancel takes a question back, or tells the child that nobody waits for it.
func (o *outbox) cancel(id uint64) {
	o.put(func() {
		for i, q := range o.questions {
			if q.ID == id {
				o.questions = append(o.questions[:i], o.questions[i+1:]...)
				return
			}
		}
		o.cancels = append(o.cancels, id)
	})
}

// frame is one that is ready to go.
type frame struct {
	kind    kind
	payload []byte
}

// take empties the box. The configuration comes first, because the rest is about
// what it names, and the leave last.
func (o *outbox) take() ([]frame, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var frames []frame
	add := func(k kind, p []byte) { frames = append(frames, frame{k, p}) }
	document := func(k kind, v any) error {
		p, err := encode(v)
		if err == nil {
			add(k, p)
		}
		return err
	}
	if o.config != nil {
		add(kindConfig, o.config)
	}
	for peer, words := range o.resets {
		if err := document(kindReset, resetOrder{peer, words}); err != nil {
			return nil, err
		}
	}
	for _, id := range o.cancels {
		add(kindCancel, binary.BigEndian.AppendUint64(nil, id))
	}
	for _, q := range o.questions {
		if err := document(kindQuestion, q); err != nil {
			return nil, err
		}
	}
	if o.credit > 0 {
		add(kindCredit, binary.BigEndian.AppendUint32(nil, o.credit))
	}
	if o.ping {
		add(kindPing, nil)
	}
	if o.leave {
		add(kindLeave, nil)
	}
	o.config, o.resets, o.cancels, o.questions = nil, nil, nil, nil
	o.credit, o.ping, o.leave = 0, false, false
	return frames, nil
}
