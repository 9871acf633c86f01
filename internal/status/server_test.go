package status

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ask sends one request and returns code, content type and body.
func ask(t *testing.T, socket, method, path string) (code int, contentType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://multihomed"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Dial(socket).http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(text)
}

func TestServer_paths(t *testing.T) {
	s := start(t, healthy)
	for _, tc := range []struct {
		method, path string
		code         int
		contentType  string
		has          string
	}{
		{http.MethodGet, "/v1/status", 200, "application/json", `"version":"v0.1.0"`},
		{http.MethodGet, "/v1/status?watch=false", 200, "application/json", `"ready":true`},
		{http.MethodGet, "/v1/status?watch=maybe", 400, "text/plain; charset=utf-8", "watch is true or false"},
		{http.MethodGet, "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", "multihomed_ready 1"},
		{http.MethodGet, "/healthz", 200, "text/plain; charset=utf-8", "ok"},
		{http.MethodPost, "/v1/status", 405, "text/plain; charset=utf-8", "Method Not Allowed"},
		{http.MethodGet, "/", 404, "text/plain; charset=utf-8", "not found"},
	} {
		code, contentType, body := ask(t, s.socket, tc.method, tc.path)
		if code != tc.code || contentType != tc.contentType || !strings.Contains(body, tc.has) {
			t.Errorf("%s %s: got %d, %q, %.200q; want %d, %q and %q in it", tc.method, tc.path, code, contentType, body, tc.code, tc.contentType, tc.has)
		}
	}
}

func TestServer_roundTrip(t *testing.T) {
	s := start(t, broken)
	got, err := Dial(s.socket).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(broken(), got); diff != "" {
		t.Errorf("the document changed on its way (-want +got):\n%s", diff)
	}
}

func TestServer_watch(t *testing.T) {
	src := newSource(healthy())
	s := startWith(t, socketPath(t), src.get, onlyChanges)
	var seen []string
	errEnough := errors.New("enough")
	err := Dial(s.socket).Watch(t.Context(), func(doc Status) error {
		if len(seen) == 0 || seen[len(seen)-1] != doc.Version {
			seen = append(seen, doc.Version)
			if doc.Version == "end" {
				return errEnough
			}
			src.set(map[string]string{"v0.1.0": "second", "second": "end"}[doc.Version])
			s.Changed()
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v0.1.0", "second", "end"}, seen); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Without a change a document comes all the same, for as long as one watches:
// longer than any deadline that is meant for questions.
func TestServer_watchOutlivesTheDeadlines(t *testing.T) {
	t.Parallel()
	s := start(t, healthy)
	begin := time.Now()
	errEnough := errors.New("enough")
	documents := 0
	err := Dial(s.socket).Watch(t.Context(), func(Status) error {
		if documents++; time.Since(begin) > max(readTimeout, writeTimeout)+2*watchInterval {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %v: %v", time.Since(begin), err)
	}
	if limit := int(time.Since(begin)/watchInterval) + 2; documents < 2 || documents > limit {
		t.Errorf("%d documents in %v, want 2..%d", documents, time.Since(begin), limit)
	}
}

// Changes that follow each other closely are joined, and the last one is told.
func TestServer_changesAreJoined(t *testing.T) {
	src := newSource(healthy())
	s := startWith(t, socketPath(t), src.get, onlyChanges)
	storm := make(chan int, 1)
	greeted := make(chan struct{})
	go func() {
		<-greeted
		n := 0
		for begin := time.Now(); time.Since(begin) < 10*watchGap; n++ {
			s.Changed()
		}
		src.set("end")
		s.Changed()
		storm <- n
	}()
	errEnough := errors.New("enough")
	begin, documents := time.Now(), 0
	err := Dial(s.socket).Watch(t.Context(), func(doc Status) error {
		if documents++; documents == 1 {
			close(greeted)
		}
		if doc.Version == "end" {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	changes, limit := <-storm, int(time.Since(begin)/watchGap)+2
	if changes < 10*limit {
		t.Fatalf("only %d changes, which proves nothing", changes)
	}
	if documents > limit {
		t.Errorf("%d documents for %d changes, want %d at most", documents, changes, limit)
	}
}

func TestServer_manyWatchers(t *testing.T) {
	src := newSource(healthy())
	s := startWith(t, socketPath(t), src.get, onlyChanges)
	var first, second atomic.Int32
	errEnough := errors.New("enough")
	errs := make([]error, maxWatchers)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			greeted := false
			errs[i] = Dial(s.socket).Watch(t.Context(), func(doc Status) error {
				if !greeted {
					greeted = true
					first.Add(1)
				}
				if doc.Version != "changed" {
					return nil
				}
				second.Add(1)
				// All stay until all have it, so that the bound can be seen.
				eventually(t, "all watchers see the change", func() bool { return second.Load() == maxWatchers })
				return errEnough
			})
		})
	}
	eventually(t, "all watchers have a document", func() bool { return first.Load() == maxWatchers })

	err := Dial(s.socket).Watch(t.Context(), func(Status) error { return nil })
	mustFail(t, err, "503", "32 watchers are connected already")
	if _, err := Dial(s.socket).Get(t.Context()); err != nil {
		t.Errorf("a question among watchers: %v", err)
	}

	src.set("changed")
	s.Changed()
	group.Wait()
	for _, err := range errs {
		if !errors.Is(err, errEnough) {
			t.Error(err)
		}
	}
	eventually(t, "the places are free again", func() bool { return len(s.watchers) == 0 })
}

// stuckWatcher asks and never reads.
func stuckWatcher(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn := connect(t, socket)
	if _, err := io.WriteString(conn, "GET /v1/status?watch=true HTTP/1.1\r\nHost: multihomed\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// big is a document that fills the buffer of a socket quickly.
func big() Status {
	s := healthy()
	for range 10_000 {
		s.Warnings = append(s.Warnings, strings.Repeat("w", 100))
	}
	return s
}

func TestServer_watcherThatNeverReads(t *testing.T) {
	t.Parallel()
	s := start(t, big)
	conn := stuckWatcher(t, s.socket)
	eventually(t, "the watcher is served", func() bool { return len(s.watchers) == 1 })
	// Neither the daemon nor another client feels it.
	for range 1000 {
		s.Changed()
	}
	if _, err := Dial(s.socket).Get(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "the watcher is given up", func() bool { return len(s.watchers) == 0 })
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.EOF) {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Error("the connection is still open")
		}
	}
}

func TestServer_stopClosesWatchers(t *testing.T) {
	t.Parallel()
	s := start(t, big)
	stuckWatcher(t, s.socket)
	greeted := make(chan struct{})
	watched := make(chan error, 1)
	go func() {
		once := sync.OnceFunc(func() { close(greeted) })
		watched <- Dial(s.socket).Watch(t.Context(), func(Status) error { once(); return nil })
	}()
	<-greeted
	connect(t, s.socket) // one that never asks
	begin := time.Now()
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if d := time.Since(begin); d > writeTimeout {
		t.Errorf("the stop took %v", d)
	}
	select {
	case err := <-watched:
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("the watcher got %v, want ErrNotRunning", err)
		}
	case <-time.After(patience):
		t.Error("the watcher still waits")
	}
}

func TestServer_panicLosesOneConnection(t *testing.T) {
	var calls atomic.Int32
	s := start(t, func() Status {
		if calls.Add(1) <= 3 {
			panic("no status today")
		}
		return healthy()
	})
	for _, path := range []string{"/v1/status", "/v1/status?watch=true", "/metrics"} {
		conn := connect(t, s.socket)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: multihomed\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err == nil && len(text) > 0 {
			t.Errorf("%s: an answer in spite of the panic: %q", path, text)
		}
	}
	if _, err := Dial(s.socket).Get(t.Context()); err != nil {
		t.Errorf("the next client: %v", err)
	}
	if !strings.Contains(s.log.String(), "no status today") {
		t.Error("the log does not tell of the panic")
	}
	eventually(t, "the place of the panicked watcher is free", func() bool { return len(s.watchers) == 0 })
}

func TestServer_boundsClients(t *testing.T) {
	s := start(t, healthy)
	var idle []net.Conn
	for range maxClients {
		conn := connect(t, s.socket)
		// An answer proves that the connection has its place.
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: multihomed\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	for range 3 {
		_, err := Dial(s.socket).Get(t.Context())
		if !errors.Is(err, ErrNotRunning) {
			t.Fatalf("beyond the bound: got %v", err)
		}
		mustFail(t, err, "too many clients")
	}
	if n := strings.Count(s.log.String(), "too many status clients"); n != 1 {
		t.Errorf("%d lines in the log, want 1:\n%s", n, s.log)
	}
	if err := idle[0].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room again", func() bool {
		_, err := Dial(s.socket).Get(t.Context())
		return err == nil
	})
}

func TestServer_leavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		s := start(t, healthy)
		ctx, cancel := context.WithCancel(t.Context())
		_ = Dial(s.socket).Watch(ctx, func(Status) error { cancel(); return nil })
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestServer_runReportsALostListener(t *testing.T) {
	s, err := NewServer(socketPath(t), healthy, discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.listener.Close(); err != nil {
		t.Fatal(err)
	}
	mustFail(t, s.Run(t.Context()), "serve status on "+s.socket)
}

func BenchmarkChanged(b *testing.B) {
	s := &Server{changed: make(chan struct{})}
	b.ReportAllocs()
	for b.Loop() {
		s.Changed()
	}
}
