package status

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func mustFail(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// leaveStale makes the socket of a daemon that was killed.
func leaveStale(t *testing.T, socket string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocket_modeIs0600(t *testing.T) {
	s := start(t, healthy)
	info, err := os.Lstat(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeSocket|0o600; got != want {
		t.Errorf("mode: got %v, want %v", got, want)
	}
}

// The mode holds in every moment in which the name exists, not only at the end,
// whatever the umask is.
func TestSocket_modeFromTheFirstMoment(t *testing.T) {
	socket := socketPath(t)
	old := unix.Umask(0)
	defer unix.Umask(old)
	var wrong atomic.Uint32
	var seen atomic.Uint64
	done, looker := make(chan struct{}), sync.WaitGroup{}
	looker.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if info, err := os.Lstat(socket); err == nil {
				seen.Add(1)
				if info.Mode().Perm() != 0o600 {
					wrong.Store(uint32(info.Mode().Perm()))
				}
			}
		}
	})
	for round := 0; round < 200 || seen.Load() < 200; round++ {
		l, err := bind(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Close(), os.Remove(socket)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	looker.Wait()
	if m := wrong.Load(); m != 0 {
		t.Errorf("the socket was seen with mode %#o", m)
	}
}

func TestSocket_makesItsDirectory(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	dir := filepath.Join(filepath.Dir(socketPath(t)), "run", "multihomed")
	s := startOn(t, filepath.Join(dir, "s.sock"), healthy)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o755 {
		t.Errorf("mode of the directory: got %#o, want 0755", got)
	}
	if _, err := Dial(s.socket).Get(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocket_directoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := NewServer(filepath.Join(file, "s.sock"), healthy, discard())
	mustFail(t, err, "make directory "+file, "choose another --socket")
	_, err = NewServer(filepath.Join(file, "sub", "s.sock"), healthy, discard())
	mustFail(t, err, "make directory "+file, "--socket")
	_, err = NewServer("/proc/multihomed/s.sock", healthy, discard())
	mustFail(t, err, "make directory /proc/multihomed", "make it by hand or choose another --socket")
}

func TestSocket_tooLong(t *testing.T) {
	_, err := NewServer("/tmp/"+strings.Repeat("x", 103), healthy, discard())
	mustFail(t, err, "108 bytes", "107 at most", "shorter --socket")
}

func TestSocket_staleIsReplaced(t *testing.T) {
	socket := socketPath(t)
	leaveStale(t, socket)
	startOn(t, socket, healthy)
	got, err := Dial(socket).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "v0.1.0" {
		t.Errorf("version: got %q", got.Version)
	}
}

func TestSocket_liveIsRefused(t *testing.T) {
	s := start(t, healthy)
	_, err := NewServer(s.socket, healthy, discard())
	mustFail(t, err, "another multihomed answers on "+s.socket, "stop it or choose another --socket")
	if _, err := Dial(s.socket).Get(t.Context()); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

// A daemon that is stuck with a full backlog is not dead.
func TestSocket_stuckIsRefused(t *testing.T) {
	socket := socketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: socket}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	connect(t, socket) // fills the backlog
	_, err = NewServer(socket, healthy, discard())
	mustFail(t, err, "somebody holds it and does not answer", "--socket")
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}

func TestSocket_onlySocketsAreRemoved(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"symlink":   func(p string) error { return os.Symlink("elsewhere", p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			socket := socketPath(t)
			if err := make(socket); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(socket)
			if err != nil {
				t.Fatal(err)
			}
			_, err = NewServer(socket, healthy, discard())
			mustFail(t, err, "no socket", "remove it or choose another --socket")
			after, err := os.Lstat(socket)
			if err != nil {
				t.Fatalf("it is gone: %v", err)
			}
			if !os.SameFile(before, after) {
				t.Error("it was replaced")
			}
		})
	}
}

// Of many that start at the same moment on a stale socket exactly one wins, and
// the others say why they do not.
func TestSocket_raceHasOneWinner(t *testing.T) {
	socket := socketPath(t)
	leaveStale(t, socket)
	var group sync.WaitGroup
	servers, errs := make([]*Server, 8), make([]error, 8)
	for i := range servers {
		group.Go(func() { servers[i], errs[i] = NewServer(socket, healthy, discard()) })
	}
	group.Wait()
	t.Cleanup(func() {
		for _, s := range servers {
			if s != nil {
				_ = s.Close()
			}
		}
	})
	won := 0
	for i, s := range servers {
		if s != nil {
			won++
			continue
		}
		mustFail(t, errs[i], "--socket")
	}
	if won != 1 {
		t.Errorf("%d servers listen on one path", won)
	}
}

func TestSocket_isRemovedAtTheEnd(t *testing.T) {
	s := start(t, healthy)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close after Run: %v", err)
	}
}

// A daemon that stops late must not take away the socket of its successor.
func TestSocket_successorKeepsItsSocket(t *testing.T) {
	first := start(t, healthy)
	if err := os.Remove(first.socket); err != nil {
		t.Fatal(err)
	}
	second := startOn(t, first.socket, healthy)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(second.socket).Get(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocket_closeWithoutRun(t *testing.T) {
	socket := socketPath(t)
	s, err := NewServer(socket, healthy, discard())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}
