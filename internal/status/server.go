package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const (
	// maxClients bounds the open connections, so that a leaking script cannot
	// eat the descriptors that the daemon needs for its probes.
	maxClients = 64
	// maxWatchers bounds the ones that stay, and leaves room for questions.
	maxWatchers = 32
	// writeTimeout is how long a client may leave its socket full.
	writeTimeout = 5 * time.Second
	// readTimeout is how long a client may take to ask.
	readTimeout = 5 * time.Second
	// idleTimeout closes connections that are kept for a next question.
	idleTimeout = time.Minute
	// watchInterval is how often a watcher gets a document when nothing has
	// changed: ages, round-trip times and losses move without a change.
	watchInterval = time.Second
	// watchGap joins changes that follow each other this closely, so that a
	// flapping line does not keep all watchers busy.
	watchGap = 50 * time.Millisecond
	// stopTimeout is how long running answers may take at the stop.
	stopTimeout = time.Second
)

// Server answers questions about the daemon over HTTP on a unix socket:
//
//	GET /v1/status             one [Status] as JSON
//	GET /v1/status?watch=true  one [Status] per line: at once, after each
//	                           change, and once a second
//	GET /v1/routes             the paths of prefixes ([RouteList]); with
//	                           prefix, longer and limit
//	POST /v1/drain, /v1/undrain  empty an uplink, or fill it ([DrainRequest])
//	GET /metrics               the same in the text format of Prometheus
//	GET /healthz               200 while the process serves
//
// It never waits for a client in a way that the daemon could feel: the snapshot
// function is called on the goroutine of the client, writes have deadlines, and
// the number of clients is bounded. A handler that panics loses its connection
// and nothing else.
type Server struct {
	socket   string
	snapshot func() Status
	log      *slog.Logger
	listener *net.UnixListener
	own      fs.FileInfo
	runtime  prometheus.Gatherer
	watchers chan struct{}
	interval time.Duration // watchInterval, but in tests

	drainer Drainer
	routes  func(ctx context.Context, q RouteQuery) ([]Route, error)
	asking  chan struct{} // holds the questions for routes that are not answered yet

	mu      sync.Mutex
	changed chan struct{} // closed by the next Changed
}

// Option adds to what a [Server] can be asked.
type Option func(*Server)

// NewServer binds socket, with mode 0600, and makes its directory if that is
// missing. A socket that a crashed daemon left is replaced; one that somebody
// answers is refused, and nothing but a socket is ever removed. The function
// snapshot may be called by many goroutines at once and must not block on the
// engine. The caller calls Run, or Close if it never comes to that.
func NewServer(socket string, snapshot func() Status, log *slog.Logger, options ...Option) (*Server, error) {
	l, err := listen(context.Background(), socket)
	if err != nil {
		return nil, err
	}
	own, err := os.Lstat(socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at socket %s: %w", socket, err), l.Close())
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &Server{
		socket:   socket,
		snapshot: snapshot,
		log:      log,
		listener: l,
		own:      own,
		runtime:  reg,
		watchers: make(chan struct{}, maxWatchers),
		interval: watchInterval,
		asking:   make(chan struct{}, maxRouteQuestions),
		changed:  make(chan struct{}),
	}
	for _, o := range options {
		o(s)
	}
	return s, nil
}

// Close unbinds the socket of a server that does not run. It may be called after
// Run and more than once.
func (s *Server) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, unlinkOwn(s.socket, s.own))
}

// Changed tells the watchers that there is something new. It does not block.
func (s *Server) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// news returns a channel that the next Changed closes.
func (s *Server) news() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Run serves until ctx ends, closes all connections, removes the socket and
// returns nil. Any other return is an error: the socket is gone then, and a new
// Server is needed.
func (s *Server) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return serving },
	}
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(&boundedListener{Listener: s.listener, slots: make(chan struct{}, maxClients), log: s.log})
	}()

	select {
	case err := <-served:
		stop()
		return errors.Join(fmt.Errorf("serve status on %s: %w", s.socket, err), srv.Close(), s.Close())
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		// Somebody does not read. The connection is cut; no harm is done.
		_ = srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		s.log.Warn("status server ended badly", "reason", err)
	}
	return s.Close()
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.serveStatus)
	mux.HandleFunc("GET /v1/routes", s.serveRoutes)
	mux.HandleFunc("POST /v1/drain", s.serveDrain)
	mux.HandleFunc("POST /v1/undrain", s.serveUndrain)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	return mux
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	switch watch := r.URL.Query().Get("watch"); watch {
	case "", "false", "0":
	case "true", "1":
		s.serveWatch(w, r)
		return
	default:
		http.Error(w, "watch is true or false", http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(s.snapshot())
	if err != nil {
		http.Error(w, "encode status: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that has gone away is no error of ours.
	_, _ = w.Write(append(body, '\n'))
}

// serveWatch writes documents until the client goes, does not read for
// writeTimeout, or the server stops.
func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request) {
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
	default:
		http.Error(w, fmt.Sprintf("%d watchers are connected already; close one", maxWatchers), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctl := http.NewResponseController(w)
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		// The channel is taken before the snapshot, so that a change between
		// the two is told by the next document.
		news := s.news()
		if err := writeDocument(w, ctl, s.snapshot()); err != nil {
			return
		}
		if !pause(r.Context(), watchGap) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-news:
		case <-tick.C:
		}
	}
}

func writeDocument(w http.ResponseWriter, ctl *http.ResponseController, doc Status) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	if err := ctl.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := w.Write(append(body, '\n')); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	if err := ctl.Flush(); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

// pause waits for d and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// boundedListener hangs up on clients beyond the bound at once, where a bound
// on Accept would leave them waiting without a word.
type boundedListener struct {
	net.Listener

	slots chan struct{}
	log   *slog.Logger

	full bool // only used by the one goroutine that accepts
}

// Accept returns the next client for which there is room.
func (b *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case b.slots <- struct{}{}:
			b.full = false
			return &boundedConn{Conn: conn, release: sync.OnceFunc(func() { <-b.slots })}, nil
		default:
			if !b.full {
				b.log.Warn("too many status clients; new ones are refused", "limit", cap(b.slots))
			}
			b.full = true
			_ = conn.Close()
		}
	}
}

type boundedConn struct {
	net.Conn

	release func()
}

// Close frees the place of the client.
func (c *boundedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
