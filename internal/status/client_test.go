package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClient_notRunning(t *testing.T) {
	stale := socketPath(t)
	leaveStale(t, stale)
	for name, socket := range map[string]string{
		"no socket":    socketPath(t),
		"no directory": filepath.Join(filepath.Dir(stale), "none", "s.sock"),
		"stale":        stale,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(socket).Get(t.Context())
			if !errors.Is(err, ErrNotRunning) {
				t.Errorf("Get: got %v, want ErrNotRunning", err)
			}
			mustFail(t, err, "no multihomed answers on "+socket+": is it running?", "systemctl status multihomed", "--socket")
			err = Dial(socket).Watch(t.Context(), func(Status) error { return nil })
			if !errors.Is(err, ErrNotRunning) {
				t.Errorf("Watch: got %v, want ErrNotRunning", err)
			}
		})
	}
}

// dialAs connects with the file access of another user. The filesystem uid
// belongs to the thread, so everything happens on one that is thrown away.
func dialAs(t *testing.T, socket string, uid int) error {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test must run as root, because it looks at the socket as another user")
	}
	result := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			if err := unix.Setfsuid(uid); err != nil {
				return fmt.Errorf("set filesystem uid: %w", err)
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open socket: %w", err)
			}
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
			return errors.Join(err, unix.Close(fd))
		}()
	}()
	return <-result
}

func TestClient_permissionDenied(t *testing.T) {
	s := start(t, healthy)
	// The way to the socket is open, the socket itself is not.
	if err := os.Chmod(filepath.Dir(s.socket), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Dial(s.socket).Get(t.Context())
	if err != nil {
		t.Fatalf("as root: %v", err)
	}
	err = dialAs(t, s.socket, 65534)
	if !errors.Is(err, syscall.EACCES) {
		t.Fatalf("as nobody: got %v, want EACCES", err)
	}
	explained := Dial(s.socket).explain(t.Context(), err)
	if !errors.Is(explained, fs.ErrPermission) {
		t.Errorf("got %v, want fs.ErrPermission", explained)
	}
	mustFail(t, explained, "ask multihomed on "+s.socket+": permission denied", "sudo")
}

func TestClient_contextEnds(t *testing.T) {
	s := start(t, healthy)
	ctx, cancel := context.WithCancel(t.Context())
	if err := Dial(s.socket).Watch(ctx, func(Status) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: got %v, want context.Canceled", err)
	}
	if _, err := Dial(s.socket).Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: got %v, want context.Canceled", err)
	}
}

// serveText answers every connection with text and, if hang is set, stays.
func serveText(t *testing.T, text string, hang bool) string {
	t.Helper()
	socket := socketPath(t)
	l, err := bind(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func(conn net.Conn) {
				defer func() { _ = conn.Close() }()
				buf := make([]byte, 4096)
				if _, err := conn.Read(buf); err != nil {
					return
				}
				if _, err := io.WriteString(conn, text); err != nil || !hang {
					return
				}
				_, _ = conn.Read(buf) // until the client goes
			}(conn)
		}
	}()
	return socket
}

const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

func TestClient_strangeAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		words []string
	}{
		"not HTTP":       {"hello\r\n", []string{"ask multihomed on ", "malformed HTTP"}},
		"not JSON":       {answer + "hello", []string{"the answer is not a status", "same version"}},
		"another type":   {answer + `{"version": 7}`, []string{"the answer is not a status", "same version"}},
		"nothing":        {"", []string{"no multihomed answers", "closed the connection"}},
		"half an answer": {answer + `{"version": "v`, []string{"no multihomed answers", "closed the connection"}},
		"no document":    {answer, []string{"no multihomed answers", "closed the connection"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(serveText(t, tc.text, false)).Get(t.Context())
			mustFail(t, err, tc.words...)
		})
	}
}

// A newer daemon may say more than an older client knows.
func TestClient_ignoresUnknownFields(t *testing.T) {
	got, err := Dial(serveText(t, answer+`{"version":"v9","weather":"fine"}`, false)).Get(t.Context())
	if err != nil || got.Version != "v9" {
		t.Errorf("got %q, %v", got.Version, err)
	}
}

func TestClient_silentDaemon(t *testing.T) {
	for name, text := range map[string]string{
		"before the answer": "",
		"within the answer": answer + `{"version":"v1"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := Dial(serveText(t, text, true))
			c.silence = 100 * time.Millisecond
			err := c.Watch(t.Context(), func(Status) error { return nil })
			if !errors.Is(err, errSilent) {
				t.Errorf("got %v", err)
			}
			mustFail(t, err, "may be stuck", "journalctl -u multihomed")
		})
	}
}
