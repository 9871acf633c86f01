package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// notice is what the library logs of a session and tells in no other way: the
// contents of NOTIFICATION messages, and why a connection could not be had.
type notice struct {
	kind noticeKind
	at   time.Time
	notification
	words string
	// timeout: the error is that of time that is over.
	timeout bool
}

type noticeKind uint8

const (
	noticeSent noticeKind = iota + 1
	noticeReceived
	noticeDial
	// noticeSecond: the peer connected though there is a connection already.
	noticeSecond
	// noticeUnread: the library calls an UPDATE withdrawn (RFC 7606) of which it has
	// not read what it is about.
	noticeUnread
	// noticeUnsent: the kernel gave up on what the peer did not take.
	noticeUnsent
)

// logTap is the library's log. It passes on what may interest somebody who looks
// closely, and reads what is told nowhere else.
type logTap struct {
	out  slog.Handler
	peer netip.Addr
	// flags say of each peer that it has a session, and talking is that of this one;
	// then the library's finest grain, which has a line for each UPDATE, is not even
	// made.
	flags   *flags
	talking *atomic.Bool
	note    func(netip.Addr, notice)
	// deaf is called when the library stops accepting connections because of an error.
	deaf func()
}

// flags are one bit for each peer.
type flags struct {
	bits sync.Map
	// heard counts what was read of the library's paths. Whoever logs looks at it, and
	// so comes after that in the order of memory: the library logs before it marks
	// paths.
	heard atomic.Uint64
	// brake slows down sessions that read faster than what they read is judged.
	brake brake
}

func (f *flags) of(a netip.Addr) *atomic.Bool {
	b, _ := f.bits.LoadOrStore(a, new(atomic.Bool))
	return b.(*atomic.Bool) //nolint:errcheck,forcetypeassert // Nothing else is in there.
}

func (f *flags) set(a netip.Addr, to bool) { f.of(a).Store(to) }

func (f *flags) forget(a netip.Addr) { f.bits.Delete(a) }

// Enabled says which lines are made.
func (t *logTap) Enabled(_ context.Context, level slog.Level) bool {
	t.flags.heard.Load()
	if level >= slog.LevelInfo {
		return true
	}
	if t.talking == nil {
		return false
	}
	established := t.talking.Load()
	if established {
		t.flags.brake.wait()
	}
	return !established
}

// Handle reads a line and passes it on. What is an error to the library is a fault
// of one peer to us, and told in the status.
func (t *logTap) Handle(ctx context.Context, r slog.Record) error {
	if t.peer.IsValid() {
		if n, ok := readNotice(&r); ok {
			t.note(t.peer, n)
		}
	}
	if r.Message == "Failed to AcceptTCP" || r.Message == "Failed to SetKeepAlive" {
		t.deaf()
	}
	if r.Level < slog.LevelInfo {
		return nil
	}
	r.Level = slog.LevelDebug
	if !t.out.Enabled(ctx, r.Level) {
		return nil
	}
	line := slog.NewRecord(r.Time, r.Level, "library: "+r.Message, r.PC)
	if t.peer.IsValid() {
		line.AddAttrs(slog.String("peer", t.peer.String()))
	}
	r.Attrs(func(a slog.Attr) bool {
		line.AddAttrs(a)
		return true
	})
	return t.out.Handle(ctx, line)
}

func readNotice(r *slog.Record) (notice, bool) {
	n := notice{at: time.Now()}
	switch r.Message {
	case "sent notification":
		n.kind = noticeSent
	case "received notification":
		n.kind = noticeReceived
	case "failed to connect":
		n.kind = noticeDial
	case "Closed an accepted connection":
		n.kind = noticeSecond
	case "failed to send":
		n.kind = noticeUnsent
	case "the received Update message was treated as withdraw":
		n.kind = noticeUnread
	default:
		return n, false
	}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "Code":
			n.code = uint8(a.Value.Resolve().Int64()) //nolint:gosec // One octet.
		case "Subcode":
			n.subcode = uint8(a.Value.Resolve().Int64()) //nolint:gosec // One octet.
		case "Communicated-Reason":
			n.text = a.Value.String()
		case "Data":
			n.data, _ = a.Value.Any().([]byte)
			err, _ := a.Value.Any().(error)
			n.timeout = errors.Is(err, syscall.ETIMEDOUT)
		case "Error":
			n.words = dialWords(a.Value.String())
		}
		return true
	})
	return n, (n.kind != noticeUnread || overruns[n.words]) && (n.kind != noticeUnsent || n.timeout)
}

// overruns are the errors after which the library does not read the prefixes of an
// UPDATE. Where an attribute that overruns is wrong in another way too, the library
// names that, and nobody can tell.
var overruns = map[string]bool{
	"attribute header length is short":                       true,
	"attribute value length is short":                        true,
	"path attribute length exceeds path attributes boundary": true,
	"attribute length is short":                              true,
}

// WithAttrs learns which peer the lines are about.
func (t *logTap) WithAttrs(attrs []slog.Attr) slog.Handler {
	u := *t
	for _, a := range attrs {
		if a.Key != "Key" {
			continue
		}
		if addr, err := netip.ParseAddr(a.Value.String()); err == nil {
			u.peer, u.talking = addr, t.flags.of(addr)
		}
	}
	return &u
}

// WithGroup changes nothing: the library has no groups.
func (t *logTap) WithGroup(string) slog.Handler { return t }
