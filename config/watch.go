package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// What a Watch waits for.
const (
	// settle is how long the file must look the same before it is reported:
	// editors and copies write in several steps.
	settle = 200 * time.Millisecond
	// pollInterval is how often the file is looked at while inotify cannot be
	// had.
	pollInterval = 2 * time.Second
	// safetyInterval is how often it is looked at all the same: events may get
	// lost, and what a symbolic link points to may be on another machine.
	safetyInterval = 30 * time.Second
)

// Watch calls changed whenever the file at path may have changed, until ctx
// ends; then it returns. It blocks, and calls changed on its own goroutine.
//
// It compares what is at path, through symbolic links, with what was there when
// it was called or when it last called changed. A file that is replaced by
// renaming, as editors do, or by moving a link to its directory, as Kubernetes
// does, counts as a change, and so does a new mode or owner. A file that
// disappears does not: that is logged, and changed is called when it is back.
// The directory may disappear and come back as well.
//
// A change between the caller's Load and the call of Watch is not seen: load
// again after Watch was started if that matters.
//
// If inotify cannot be had, that is logged once and the file is looked at every
// two seconds. A nil log discards what there is to say.
func Watch(ctx context.Context, path string, changed func(), log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := watch{
		path: path, changed: changed, log: log,
		settle: settle, poll: pollInterval, safety: safetyInterval,
		notifier: fsnotify.NewWatcher,
	}
	w.run(ctx)
}

// signature tells two states of a file apart without reading it. The zero value
// is a file that is not there.
type signature struct {
	device, inode    uint64
	size             int64
	modified, change syscall.Timespec
}

// look reads the signature of what path leads to.
func look(path string) (signature, error) {
	info, err := os.Stat(path)
	if err != nil {
		return signature{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return signature{}, fmt.Errorf("stat %s: the system returned no inode", path)
	}
	// The change time sees what the modification time hides: another mode, and
	// a file that was put back with its old time.
	return signature{s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim}, nil
}

// watch is one call of Watch.
type watch struct {
	path    string
	changed func()
	log     *slog.Logger

	settle, poll, safety time.Duration
	notifier             func() (*fsnotify.Watcher, error)

	inotify *fsnotify.Watcher
	// watched are the directories whose events arrive.
	watched map[string]bool
	// reported is what changed was called for last; seen is the last look.
	reported, seen signature
	missing, blind bool
}

func (w *watch) run(ctx context.Context) {
	w.reported, _ = look(w.path)
	w.seen = w.reported
	defer w.close()
	w.subscribe()
	// The first look closes the gap between the signature and the watch.
	again := time.NewTimer(w.settle)
	defer again.Stop()
	// soon is set while a look is due within settle: events must not put it off,
	// or a busy directory would do so for ever.
	soon := true
	for {
		var events chan fsnotify.Event
		var failures chan error
		if w.inotify != nil {
			events, failures = w.inotify.Events, w.inotify.Errors
		}
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			w.event(e, ok)
		case err, ok := <-failures:
			// An overflow, or a watcher that is gone: what was said is lost.
			if !ok {
				w.close()
			} else {
				w.log.Debug("events about the configuration were lost", "error", err)
			}
		case <-again.C:
			next := w.look()
			again.Reset(next)
			soon = next <= w.settle
			continue
		}
		if !soon {
			again.Reset(w.settle)
			soon = true
		}
	}
}

// event notes what an event says about the watch itself; about the file it says
// only "look again".
func (w *watch) event(e fsnotify.Event, ok bool) {
	if !ok {
		w.close()
		return
	}
	if w.watched[e.Name] && e.Has(fsnotify.Remove|fsnotify.Rename) {
		// A directory that moved away keeps its watch under the wrong name.
		_ = w.inotify.Remove(e.Name)
		delete(w.watched, e.Name)
	}
}

// look compares, calls changed once the file is the same in two looks, and
// returns when to look next.
func (w *watch) look() time.Duration {
	now, err := look(w.path)
	if (err != nil) != w.missing {
		// What came or went may be a directory on the way: the watch of the old
		// one would stay, under the name of the new one.
		w.forget()
	}
	switch {
	case err != nil:
		if !w.missing {
			w.log.Warn("the configuration file cannot be seen; what it said stays in force until it is back", "path", w.path, "error", err)
		}
	case now != w.seen:
		w.seen, w.missing = now, false
		return w.settle
	case now != w.reported:
		w.reported = now
		w.changed()
	}
	w.missing = err != nil
	switch added, complete := w.subscribe(); {
	case added:
		return w.settle
	case complete && !w.missing:
		return w.safety
	default:
		return w.poll
	}
}

// directories are those whose events matter: the one of the path and the one
// that its links lead to, by their real names so that each appears once.
func (w *watch) directories() map[string]bool {
	wanted := map[string]bool{}
	dir := filepath.Dir(w.path)
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	wanted[dir] = true
	if target, err := filepath.EvalSymlinks(w.path); err == nil {
		wanted[filepath.Dir(target)] = true
	}
	return wanted
}

// subscribe makes inotify watch the directories. It is called again and again,
// because they may come and go. added says that one is new, so that what
// happened before has to be looked for; complete that all are watched.
func (w *watch) subscribe() (added, complete bool) {
	if w.inotify == nil {
		inotify, err := w.notifier()
		if err != nil {
			w.complain(err)
			return false, false
		}
		w.inotify, w.watched = inotify, map[string]bool{}
	}
	wanted := w.directories()
	for dir := range w.watched {
		if !wanted[dir] {
			_ = w.inotify.Remove(dir)
			delete(w.watched, dir)
		}
	}
	for dir := range wanted {
		if w.watched[dir] {
			continue
		}
		switch err := w.inotify.Add(dir); {
		case err == nil:
			w.watched[dir], added = true, true
		case !errors.Is(err, fs.ErrNotExist):
			w.complain(err)
		}
	}
	complete = len(w.watched) == len(wanted)
	if complete {
		w.blind = false
	}
	return added, complete
}

// complain says once that events do not arrive.
func (w *watch) complain(err error) {
	if !w.blind {
		w.blind = true
		w.log.Warn("inotify cannot be had; the configuration file is looked at every few seconds instead", "path", w.path, "interval", w.poll, "error", err)
	}
}

// forget ends the watches but keeps inotify.
func (w *watch) forget() {
	for dir := range w.watched {
		_ = w.inotify.Remove(dir)
	}
	clear(w.watched)
}

func (w *watch) close() {
	if w.inotify != nil {
		_ = w.inotify.Close()
	}
	w.inotify, w.watched = nil, nil
}
