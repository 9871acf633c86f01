package status

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that a unix socket takes: sun_path has 108
// bytes and the last one is NUL (unix(7)).
const maxSocketPath = 107

// socketMode is the mode of the socket from its first moment: what it tells and
// who may ask is the business of root.
const socketMode = 0o600

// lockWait bounds the wait for another daemon that is just starting on the same
// directory. A start holds the lock for some milliseconds.
const lockWait = 3 * time.Second

// dialTimeout bounds the question whether somebody still answers on a socket.
// A listener that lives accepts into its backlog at once.
const dialTimeout = 2 * time.Second

// listen binds a unix socket at path. A socket that nobody answers is replaced,
// anything else that is in the way is left alone and is an error.
func listen(ctx context.Context, path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path has %d bytes and a unix socket takes %d at most; choose a shorter --socket",
			path, len(path), maxSocketPath)
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	unlock, err := lockDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	return bind(ctx, path)
}

// makeDir makes dir with mode 0755 whatever the umask says, unless it is there.
func makeDir(dir string) error {
	switch info, err := os.Stat(dir); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("make directory %s: there is something else of that name; choose another --socket", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("make directory %s: %w; choose another --socket", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w; make it by hand or choose another --socket", dir, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	return nil
}

// lockDir keeps two daemons that start at the same time from taking each
// other's fresh socket for a stale one. The lock is on the directory itself, so
// that no lock file stays behind.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock directory %s: %w; choose another --socket", dir, err)
	}
	deadline := time.NewTimer(lockWait)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			// Closing the only descriptor gives the lock back.
			return func() { _ = d.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock directory %s: %w", dir, err), d.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock directory %s: %w", dir, context.Cause(ctx)), d.Close())
		case <-deadline.C:
			return nil, errors.Join(fmt.Errorf("lock directory %s: another process has held the lock for %v; choose another --socket",
				dir, lockWait), d.Close())
		case <-again.C:
		}
	}
}

// removeStale unlinks the socket of a daemon that is gone. The caller holds the
// lock of the directory.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen on %s: there is something that is no socket; remove it or choose another --socket", path)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("listen on %s: another multihomed answers on %s; stop it or choose another --socket", path, path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		// A full backlog, for one, is no proof of death.
		return fmt.Errorf("listen on %s: somebody holds it and does not answer: %w; stop it or choose another --socket", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket %s: %w", path, err)
	}
	return nil
}

// bind makes the socket with its final mode. Linux gives a unix socket the mode
// of the inode behind the unbound descriptor (net/unix/af_unix.c,
// unix_bind_bsd), so a chmod before bind leaves no moment in which others may
// connect, and does not touch the umask, which belongs to the whole process.
func bind(ctx context.Context, path string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmodErr error
		if err := raw.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), socketMode) }); err != nil {
			return err
		}
		return chmodErr
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: got a %T", path, l), l.Close())
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Perm()&^socketMode != 0 {
		err = fmt.Errorf("the kernel made it with mode %v", info.Mode().Perm())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), ul.Close())
	}
	// The socket is unlinked by unlinkOwn, which looks first whether it is ours.
	ul.SetUnlinkOnClose(false)
	return ul, nil
}

// unlinkOwn removes path if it still is the socket that own describes.
func unlinkOwn(path string, own fs.FileInfo) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("remove socket %s: %w", path, err)
	case !os.SameFile(info, own):
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove socket %s: %w", path, err)
	}
	return nil
}
