package speaker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOutput_Records: what the child logs, the daemon logs, with all that belongs to it
// and in its order.
func TestOutput_Records(t *testing.T) {
	var printed, got, want bytes.Buffer
	text := func(w io.Writer) *slog.Logger {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	say := func(l *slog.Logger) {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.Level(2)} {
			l.Log(t.Context(), level, "a \"message\"\nof two lines", "peer", "fiber/ipv4", "zone", "fe80::1%eth0",
				"count", 1<<60, "way", struct{ A, B any }{1, netip.MustParseAddr("192.0.2.1")}, "share", 1.5, "ok", true, "nothing", nil, "took", "3s",
				slog.Group("deep", "a", 1, slog.Group("deeper", "b", "2")), "error", errors.New("connection refused"))
		}
	}
	synctest.Test(t, func(*testing.T) {
		say(NewLog(&printed))
		say(text(&want).With("component", "bgp"))
	})
	q := new(logQueue)
	newOutput(q, text(&got).With("component", "bgp").Handler()).read(iotest.OneByteReader(&printed))
	q.flush(wait)
	clean := strings.NewReplacer("+00:00", "Z")
	if diff := cmp.Diff(clean.Replace(want.String()), clean.Replace(got.String())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOutput_Lines: what is no record is a line of its own, and nothing that is printed
// can do harm.
func TestOutput_Lines(t *testing.T) {
	for _, c := range []struct{ name, printed, want, last string }{
		{"plain", "hello\n\n  \nworld", "line=hello", "hello / world"},
		{"five lines", "1\n2\n3\n4\n5\n", "line=5", "2 / 3 / 4 / 5"},
		{"no JSON", "{x\n", "line={x", "{x"},
		{"no record", `{"a":1}` + "\n", `line="{\"a\":1}"`, `{"a":1}`},
		{"a bad level", `{"time":"2026-01-01T00:00:00Z","level":"LOUD","msg":"x"}` + "\n", "LOUD", `{"time":"2026-01-01T00:00:00Z","level":"LOUD","msg":"x"}`},
		{"deep", `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"x","a":` + strings.Repeat("[", 5000) + "\n", "line=", `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"x","a":` + strings.Repeat("[", maxLast-60) + "…"},
		{"no text", "a\xffb\n", "line=a?b", "a?b"},
		{"too long", strings.Repeat("x", 3*maxLine) + "\nend\n", "line=end", strings.Repeat("x", maxLast) + "…"},
		{"a panic", "before\npanic: oops\n\ngoroutine 1 [running]:\n{\"time\":1}\nmain.main()\n", `trace="panic: oops\n\ngoroutine 1 [running]:\n{\"time\":1}\nmain.main()\n"`, "panic: oops / goroutine 1 [running]: / {\"time\":1} / main.main()"},
		{"no memory", "fatal error: runtime: out of memory\n", "level=ERROR", "fatal error: runtime: out of memory"},
		{"a long trace", "panic: oops\n" + strings.Repeat(strings.Repeat("y", 1000)+"\n", 1000), `(cut)`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged := &logs{}
			q := new(logQueue)
			o := newOutput(q, slog.NewTextHandler(logged, nil))
			o.read(strings.NewReader(c.printed))
			q.flush(wait)
			if !strings.Contains(logged.String(), c.want) {
				t.Errorf("logged %s, want %s", logged, c.want)
			}
			if last := o.last(); c.last != "" && last != c.last || len(last) > maxLast+len("…") {
				t.Errorf("last words %q, want %q", last, c.last)
			}
			if n := len(logged.String()); n > maxTrace*2+1000 {
				t.Errorf("%d octets were logged", n)
			}
		})
	}
}

// slowHandler is a log that waits.
type slowHandler struct {
	slog.Handler
	wait chan struct{}
}

func (h slowHandler) Handle(ctx context.Context, r slog.Record) error {
	<-h.wait
	return h.Handler.Handle(ctx, r)
}

func (h slowHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return slowHandler{h.Handler.WithAttrs(attrs), h.wait}
}

// TestOutput_SlowLog: a log that hangs does not stop the child; what is lost is
// counted.
func TestOutput_SlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logged := &logs{}
		h := slowHandler{slog.NewTextHandler(logged, nil), make(chan struct{})}
		q := new(logQueue)
		o := newOutput(q, h)
		r, w := io.Pipe()
		over := make(chan struct{})
		go func() { o.read(r); close(over) }()
		child := slog.New(slog.NewJSONHandler(w, nil))
		begin := time.Now()
		for n := range 2000 {
			child.Info("words", "n", n)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("the child waited %v for the log", took)
		}
		close(h.wait)
		synctest.Wait()
		child.Info("at last")
		_ = w.Close()
		<-over
		q.flush(wait)
		text := logged.String()
		if !strings.Contains(text, "records are lost") || !strings.Contains(text, "at last") || strings.Count(text, "msg=words") > maxRecords+2 {
			t.Errorf("%d records, want at most %d, the last, and that some are lost", strings.Count(text, "msg=words"), maxRecords+1)
		}
	})
}

// TestServe_Level: a child does not print what the daemon does not log.
func TestServe_Level(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			r := newRig(t, nil)
			r.log = slog.New(slog.NewTextHandler(&logs{}, &slog.HandlerOptions{Level: level}))
			r.run()
			r.Set(config("a"))
			synctest.Wait()
			l := r.child(0).voice.opts.Log.With("a", 1).WithGroup("b")
			for _, least := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				if got := l.Enabled(t.Context(), least); got != (least >= level) {
					t.Errorf("the daemon logs from %v on: %v is enabled: %v", level, least, got)
				}
			}
			r.end()
		}
	})
}

// FuzzRecord: no line is too strange.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"x","a":{"b":[1,2.5,null,true]}}`))
	f.Add([]byte("panic: x\n\ny"))
	f.Fuzz(func(_ *testing.T, line []byte) {
		parseRecord(line)
		o := newOutput(new(logQueue), slog.DiscardHandler)
		o.read(bytes.NewReader(line))
		o.last()
	})
}
