package config

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// patience is how long a test waits for what must come. It is far longer than
// anything takes, so that a busy machine does not matter.
const patience = 30 * time.Second

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

func (b *logBuffer) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// watching is a watch under test.
type watching struct {
	t    *testing.T
	path string
	// calls receives what the file holds at each call of changed, "" if it
	// cannot be read.
	calls chan string
	log   *logBuffer
}

// start runs a watch until the test ends. The safety look is out of reach, so
// that only events and the polling without them are tested.
func start(t *testing.T, path string, adjust func(*watch)) *watching {
	t.Helper()
	s := &watching{t: t, path: path, calls: make(chan string, 100), log: &logBuffer{}}
	ready := make(chan struct{})
	var once sync.Once
	w := &watch{
		path: path,
		changed: func() {
			data, _ := os.ReadFile(path)
			s.calls <- string(data)
		},
		log:      slog.New(slog.NewTextHandler(s.log, nil)),
		settle:   20 * time.Millisecond,
		poll:     50 * time.Millisecond,
		safety:   time.Hour,
		notifier: fsnotify.NewWatcher,
	}
	if adjust != nil {
		adjust(w)
	}
	notifier := w.notifier
	w.notifier = func() (*fsnotify.Watcher, error) {
		// By now the first signature has been taken.
		once.Do(func() { close(ready) })
		return notifier()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the watch does not end with its context")
		}
	})
	<-ready
	return s
}

// wants waits for the call at which the file holds text. Calls with older
// contents may come before it, never after it.
func (s *watching) wants(text string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-s.calls:
			if got == text {
				return
			}
		case <-deadline:
			s.t.Fatalf("no call for %q; log:\n%s", text, s.log.all())
		}
	}
}

// logs waits until part was logged n times.
func (s *watching) logs(part string, n int) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for s.log.count(part) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("%q is not %d times in the log:\n%s", part, n, s.log.all())
		}
		<-time.After(5 * time.Millisecond)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rename writes a new file and moves it over path, as editors do.
func rename(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+"~", text)
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kinds are a watch with events, and one that has to poll.
var kinds = map[string]func(*watch){
	"inotify": func(w *watch) { w.poll = time.Hour },
	"polling": func(w *watch) {
		w.notifier = func() (*fsnotify.Watcher, error) { return nil, errors.New("no more instances") }
	},
}

func TestWatchSeesWritesAndRenames(t *testing.T) {
	for kind, adjust := range kinds {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.yaml")
			write(t, path, "one")
			s := start(t, path, adjust)
			write(t, path, "two")
			s.wants("two")
			rename(t, path, "three")
			s.wants("three")
			rename(t, path, "fouro")
			s.wants("fouro")
			// The same size and time, but another mode.
			must(t, os.Chmod(path, 0o640))
			s.wants("fouro")
		})
	}
}

// The polling is announced once, however often inotify fails.
func TestWatchSaysOnceThatItPolls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	write(t, path, "0")
	s := start(t, path, kinds["polling"])
	for _, text := range []string{"one", "two", "three"} {
		write(t, path, text)
		s.wants(text)
	}
	if n := s.log.count("inotify cannot be had"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// Other files of the directory are not our business, and a busy directory does
// not put the look off.
func TestWatchInABusyDirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.yaml")
	write(t, path, "one")
	s := start(t, path, func(w *watch) {
		// Long enough that the events never pause for it.
		w.poll, w.settle = time.Hour, 300*time.Millisecond
	})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(filepath.Join(dir, "other"), []byte("x"), 0o600)
			}
		}
	}()
	rename(t, path, "two")
	s.wants("two")
	close(stop)
	<-done
	rename(t, path, "three")
	select {
	case got := <-s.calls:
		if got != "three" {
			t.Errorf("a call for %q without a change", got)
		}
	case <-time.After(patience):
		t.Fatal("no call")
	}
}

func TestWatchSurvivesTheFileGoing(t *testing.T) {
	for kind, adjust := range kinds {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.yaml")
			write(t, path, "one")
			s := start(t, path, adjust)
			for i, text := range []string{"two", "three"} {
				must(t, os.Remove(path))
				s.logs("cannot be seen", i+1)
				rename(t, path, text)
				s.wants(text)
			}
			// Nothing was reported while it was gone, and nothing twice.
			select {
			case got := <-s.calls:
				t.Errorf("a call with %q", got)
			default:
			}
		})
	}
}

// A file that did not exist when the watch began is a change when it appears.
func TestWatchBeforeTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	s := start(t, path, kinds["inotify"])
	write(t, path, "one")
	s.wants("one")
}

// The directory may go, and another one come in its place. Without its events
// only polling can find that out.
func TestWatchSurvivesTheDirectoryGoing(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "etc")
	path := filepath.Join(dir, "a.yaml")
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, "one")
	s := start(t, path, nil)
	must(t, os.RemoveAll(dir))
	s.logs("cannot be seen", 1)
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, "two")
	s.wants("two")
	// Renamed away with the file in it, and replaced.
	must(t, os.Rename(dir, filepath.Join(top, "old")))
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, "three")
	s.wants("three")
	rename(t, path, "four")
	s.wants("four")
}

// The directory may move away with one above it, of which no event tells, while
// another one takes its name: the watch must not stay with the old one.
func TestWatchSurvivesADirectoryAboveGoing(t *testing.T) {
	top := t.TempDir()
	above, old := filepath.Join(top, "above"), filepath.Join(top, "old")
	path := filepath.Join(above, "etc", "a.yaml")
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	write(t, path, "one")
	// Without polling, but with a look from time to time.
	s := start(t, path, func(w *watch) { w.poll, w.safety = 50*time.Millisecond, 50*time.Millisecond })
	must(t, os.Rename(above, old))
	s.logs("cannot be seen", 1)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	rename(t, path, "two")
	s.wants("two")
}

// One look after the other, without goroutines and time: when changed is called
// and when to look next.
func TestLooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	write(t, path, "one")
	calls, settle, poll, safety := 0, time.Second, time.Minute, time.Hour
	w := &watch{
		path: path, changed: func() { calls++ }, log: slog.New(slog.DiscardHandler),
		settle: settle, poll: poll, safety: safety, notifier: fsnotify.NewWatcher,
	}
	defer w.close()
	w.reported, _ = look(path)
	w.seen = w.reported
	w.subscribe()
	for i, step := range []struct {
		what  string
		do    func()
		calls int
		next  time.Duration
	}{
		{"nothing happened", func() {}, 0, safety},
		{"a change is seen", func() { rename(t, path, "two") }, 0, settle},
		{"it goes on changing", func() { rename(t, path, "three") }, 0, settle},
		{"it is quiet", func() {}, 1, safety},
		{"it stays quiet", func() {}, 1, safety},
		{"it goes, and a new watch is made", func() { must(t, os.Rename(path, path+".away")) }, 1, settle},
		{"it stays away", func() {}, 1, poll},
		{"another one comes", func() { rename(t, path, "four") }, 1, settle},
		{"it is quiet, and a new watch is made", func() {}, 2, settle},
		{"it stays quiet", func() {}, 2, safety},
		{"the watch is lost", func() { w.close() }, 2, settle},
		{"the watch is back", func() {}, 2, safety},
	} {
		step.do()
		next := w.look()
		if calls != step.calls || next != step.next {
			t.Errorf("step %d, %s: %d calls, next look in %v; want %d, %v", i, step.what, calls, next, step.calls, step.next)
		}
	}
}

// A watch of the old directory under the name of the new one would be silent.
func TestWatchIsMadeAnewForANewDirectory(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "above", "a.yaml")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	write(t, path, "one")
	w := &watch{
		path: path, changed: func() {}, log: slog.New(slog.DiscardHandler),
		settle: 1, poll: 2, safety: 3, notifier: fsnotify.NewWatcher,
	}
	defer w.close()
	w.subscribe()
	must(t, os.Rename(filepath.Dir(path), filepath.Join(top, "old")))
	w.look()
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	write(t, path, "two")
	// Seen, reported, watched.
	for range 3 {
		w.look()
	}
	write(t, filepath.Join(top, "above", "event"), "")
	deadline := time.After(patience)
	for {
		select {
		case e := <-w.inotify.Events:
			if filepath.Base(e.Name) == "event" {
				return
			}
		case <-deadline:
			t.Fatal("the new directory is not watched")
		}
	}
}

// Kubernetes puts a new directory beside the old one and moves the link ..data.
func TestWatchKubernetes(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "a.yaml"), text)
		must(t, os.Symlink(name, filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", "one")
	path := filepath.Join(dir, "a.yaml")
	must(t, os.Symlink("..data/a.yaml", path))
	s := start(t, path, kinds["inotify"])
	version("..2", "two")
	must(t, os.RemoveAll(filepath.Join(dir, "..1")))
	s.wants("two")
	version("..3", "three")
	must(t, os.RemoveAll(filepath.Join(dir, "..2")))
	s.wants("three")
}

// A link into another directory: writes there are seen as well.
func TestWatchThroughALink(t *testing.T) {
	near, far := t.TempDir(), t.TempDir()
	target, path := filepath.Join(far, "real.yaml"), filepath.Join(near, "a.yaml")
	write(t, target, "one")
	must(t, os.Symlink(target, path))
	s := start(t, path, kinds["inotify"])
	write(t, target, "two")
	s.wants("two")
	rename(t, target, "three")
	s.wants("three")
}

// The exported function: the real times, and the end with the context.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	ctx, cancel := context.WithCancel(context.Background())
	calls, done := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, path, func() { calls <- struct{}{} }, nil)
	}()
	// The watch may begin before or after the first write; one of the later ones
	// is a change in any case.
	deadline := time.After(patience)
	for n, seen := 0, false; !seen; n++ {
		rename(t, path, strings.Repeat("x", n))
		select {
		case <-calls:
			seen = true
		case <-time.After(2 * time.Second):
		case <-deadline:
			t.Fatal("no call")
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Watch does not end with its context")
	}
}
