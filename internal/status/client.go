package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning says that no daemon answers on the socket.
var ErrNotRunning = errors.New("no multihomed answers")

// errSilent is why a client gave up on a daemon that accepts and says nothing.
var errSilent = errors.New("it accepts connections but says nothing; it may be stuck, see `journalctl -u multihomed`")

// answerTimeout bounds the wait for one document. A daemon builds it in
// milliseconds, and a watched one speaks every second.
const answerTimeout = 10 * time.Second

// maxAnswer bounds the text of a refusal that is quoted in an error.
const maxAnswer = 1 << 10

// Client asks a daemon over its socket. It is safe for concurrent use, holds no
// connection open between calls and needs no Close.
type Client struct {
	socket  string
	http    *http.Client
	silence time.Duration
}

// Dial returns a client for the daemon that listens on socket. It does not
// connect yet.
func Dial(socket string) *Client {
	dialer := net.Dialer{Timeout: dialTimeout}
	return &Client{
		socket:  socket,
		silence: answerTimeout,
		http: &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
		}},
	}
}

// Get returns the present status. The error is ErrNotRunning where nobody
// listens, and satisfies errors.Is(err, fs.ErrPermission) where the caller may
// not ask.
func (c *Client) Get(ctx context.Context) (Status, error) {
	var got Status
	err := c.stream(ctx, "/v1/status", func(s Status) error {
		got = s
		return errStop
	})
	if errors.Is(err, errStop) {
		return got, nil
	}
	return Status{}, err
}

// errStop ends a stream after the one document that was wanted.
var errStop = errors.New("stop")

// Watch calls fn with a document at once, after each change and once a second,
// until ctx ends (the error is that of ctx), fn fails (the error is that of fn)
// or the daemon goes away (ErrNotRunning).
func (c *Client) Watch(ctx context.Context, fn func(Status) error) error {
	return c.stream(ctx, "/v1/status?watch=true", fn)
}

// stream calls fn for each document of an answer. It never returns nil.
func (c *Client) stream(ctx context.Context, path string, fn func(Status) error) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.silence, func() { cancel(errSilent) })
	defer silence.Stop()

	req, err := http.NewRequestWithContext(asking, http.MethodGet, "http://multihomed"+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.socket, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(asking, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return fmt.Errorf("ask multihomed on %s: it answers %s: %s", c.socket, resp.Status, strings.TrimSpace(string(text)))
	}
	for documents := json.NewDecoder(resp.Body); ; {
		var s Status
		if err := documents.Decode(&s); err != nil {
			return c.explain(asking, err)
		}
		silence.Stop()
		if err := fn(s); err != nil {
			return err
		}
		silence.Reset(c.silence)
	}
}

// explain turns an error of the transport into one that says what to do.
func (c *Client) explain(ctx context.Context, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		return fmt.Errorf("ask multihomed on %s: %w", c.socket, cause)
	case ctx.Err() != nil:
		return fmt.Errorf("ask multihomed on %s: %w", c.socket, cause)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask multihomed on %s: %w; only root may: run it with sudo", c.socket, fs.ErrPermission)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s: is it running? `systemctl status multihomed` tells; a daemon with another --socket needs the same --socket here",
			ErrNotRunning, c.socket)
	case errors.As(err, &syntax), errors.As(err, &kind):
		return fmt.Errorf("ask multihomed on %s: the answer is not a status: %w; is the daemon of the same version?", c.socket, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), closedUnasked(err):
		return fmt.Errorf("%w on %s any more: it closed the connection, because it stops, restarts or has too many clients; ask again",
			ErrNotRunning, c.socket)
	default:
		return fmt.Errorf("ask multihomed on %s: %w", c.socket, err)
	}
}

// closedUnasked reports whether the daemon closed the connection before it was asked
// anything, which net/http has no exported error for.
func closedUnasked(err error) bool {
	return strings.Contains(err.Error(), "http: server closed idle connection")
}
