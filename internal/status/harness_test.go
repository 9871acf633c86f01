package status

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is generous because
// the machines that run tests are busy.
const patience = 30 * time.Second

// source is a changing status, as the engine would hold it.
type source struct{ doc atomic.Pointer[Status] }

func newSource(s Status) *source {
	var src source
	src.doc.Store(&s)
	return &src
}

func (s *source) get() Status { return *s.doc.Load() }

// set replaces the document by one with another version, which tests use to
// tell documents apart.
func (s *source) set(version string) {
	doc := s.get()
	doc.Version = version
	s.doc.Store(&doc)
}

// logs collects the log of a server.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// running is a server that runs until stop or the end of the test.
type running struct {
	*Server

	socket string
	log    *logs
	// stop ends Run and returns its error.
	stop func() error
}

// socketPath returns a short path, because a unix socket takes 107 bytes and
// the temporary directory of a test bears its name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mh") //nolint:usetesting // the path of t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "s.sock")
}

func start(t *testing.T, snapshot func() Status) *running {
	t.Helper()
	return startOn(t, socketPath(t), snapshot)
}

func startOn(t *testing.T, socket string, snapshot func() Status) *running {
	t.Helper()
	return startWith(t, socket, snapshot, watchInterval)
}

// onlyChanges is an interval for watchers that no test lives to see: what comes
// was brought by Changed.
const onlyChanges = time.Hour

func startWith(t *testing.T, socket string, snapshot func() Status, interval time.Duration, options ...Option) *running {
	t.Helper()
	log := new(logs)
	s, err := NewServer(socket, snapshot, slog.New(slog.NewTextHandler(log, nil)), options...)
	if err != nil {
		t.Fatal(err)
	}
	s.interval = interval
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Error("the server does not stop")
			return nil
		}
	})
	t.Cleanup(func() { _ = stop() })
	return &running{Server: s, socket: socket, log: log, stop: stop}
}

func connect(t *testing.T, socket string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// eventually waits until ok, looking again every few milliseconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		case <-again.C:
		}
	}
}
