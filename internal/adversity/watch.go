package adversity

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/multihomed/multihomed/internal/status"
)

// loaded waits until so many routes to prefixes are in the kernel. That no peer is
// awaited any more is not asked for: those that misbehave may never have been there.
func (s *scene) loaded(n int) error {
	last := "nothing"
	err := s.until(fmt.Sprintf("%d prefixes are in the kernel", n), func(st *status.Status) bool {
		if st.BGP == nil || st.BGP.Prefixes == nil {
			return false
		}
		p := st.BGP.Prefixes
		last = fmt.Sprintf("%+v, synced %v", *p, st.BGP.Synced)
		return p.Routes == n && p.Pending == 0 && p.Unclaimed == 0
	})
	if err != nil {
		return fmt.Errorf("%w; there are %s", err, last)
	}
	return nil
}

// level is what the daemon and its child use.
type level struct {
	daemon, child           int64 // resident, octets
	daemonFiles, childFiles int
	goroutines, threads     int // of the daemon, of the child
}

func (l level) String() string {
	return fmt.Sprintf("daemon %d MiB, %d descriptors, %d goroutines; child %d MiB, %d descriptors, %d threads",
		l.daemon>>20, l.daemonFiles, l.goroutines, l.child>>20, l.childFiles, l.threads)
}

// level measures once.
func (s *scene) level() (l level, err error) {
	st, err := s.status()
	if err != nil {
		return l, err
	}
	if l.daemon, l.daemonFiles, _, err = usage(s.daemon.Process.Pid); err != nil {
		return l, err
	}
	if st.BGP != nil && st.BGP.PID > 0 {
		if l.child, l.childFiles, l.threads, err = usage(st.BGP.PID); err != nil {
			return l, err
		}
	}
	l.goroutines, err = s.goroutines()
	return l, err
}

// usage reads resident memory, descriptors and threads of a process.
func usage(pid int) (resident int64, files, threads int, err error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB")) // Others are no numbers.
		switch key {
		case "VmRSS":
			resident = int64(n) << 10
		case "Threads":
			threads = n
		}
	}
	return resident, len(list), threads, nil
}

// goroutines of the daemon, as its metrics say.
func (s *scene) goroutines() (int, error) {
	c := http.Client{Timeout: s.Patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.file("mh.sock"))
	}}}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://daemon/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	answer, err := c.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(v)
		}
	}
	return 0, fmt.Errorf("ask for metrics: go_goroutines is not among them")
}

// watch looks at the daemon all the time.
type watch struct {
	s *scene
	// names are the uplinks that must not notice anything.
	names []string
	quit  chan struct{}
	done  sync.WaitGroup

	last    map[string]string
	changes map[string]int
	flaps   map[string]uint64
	looks   int
	failed  int
	slowest time.Duration
	top     level
}

// lookEvery is how often the status is read.
const lookEvery = 100 * time.Millisecond

// watch begins to look at uplinks that must not notice anything.
func (s *scene) watch(names ...string) *watch {
	w := &watch{
		s: s, names: names, quit: make(chan struct{}),
		last: map[string]string{}, changes: map[string]int{}, flaps: map[string]uint64{},
	}
	w.done.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-w.quit:
				return
			case <-tick.C:
				w.look()
			}
		}
	})
	return w
}

func (w *watch) look() {
	begin := time.Now()
	st, err := w.s.status()
	w.looks++
	w.slowest = max(w.slowest, time.Since(begin))
	if err != nil {
		w.failed++
		return
	}
	for _, u := range st.Uplinks {
		if !slices.Contains(w.names, u.Name) {
			continue
		}
		for _, way := range u.Ways {
			key := u.Name + "/" + way.Family
			// Since changes with the verdict, also between two looks.
			now := fmt.Sprintf("%s, %s since %s", way.Verdict, way.Role, way.Since.Format(time.TimeOnly+".000"))
			if was, ok := w.last[key]; ok && was != now {
				w.changes[key]++
				w.s.report.count("%s was %s and is %s: %v", key, was, now, way.Reasons)
			}
			w.last[key] = now
			if way.BGP != nil {
				w.flaps[key] = way.BGP.Flaps
			}
		}
	}
	if l, err := w.s.level(); err == nil {
		w.top.daemon, w.top.child = max(w.top.daemon, l.daemon), max(w.top.child, l.child)
		w.top.daemonFiles, w.top.childFiles = max(w.top.daemonFiles, l.daemonFiles), max(w.top.childFiles, l.childFiles)
		w.top.goroutines, w.top.threads = max(w.top.goroutines, l.goroutines), max(w.top.threads, l.threads)
	}
}

// end stops looking and reports what was seen.
func (w *watch) end() {
	close(w.quit)
	w.done.Wait()
	r := w.s.report
	r.count("status: read %d times, %d failed, the slowest answer took %v", w.looks, w.failed, w.slowest.Round(time.Millisecond))
	r.fault(w.failed == 0, "the status was not answered %d times of %d", w.failed, w.looks)
	r.fault(len(w.last) == 2*len(w.names), "only %d ways of %d uplinks were seen", len(w.last), len(w.names))
	changes, flaps := 0, uint64(0)
	for key := range w.last {
		changes += w.changes[key]
		flaps += w.flaps[key]
		r.fault(w.changes[key] == 0, "%s changed its verdict or role %d times", key, w.changes[key])
		r.fault(w.flaps[key] == 0, "the session of %s flapped %d times", key, w.flaps[key])
	}
	r.count("uplinks %s: %d changes of verdict or role, %d flaps", strings.Join(w.names, ", "), changes, flaps)
	r.count("at the most: %v", w.top)
}

// lived reports whether the daemon and its child lived through it all.
func (s *scene) lived() {
	st, err := s.status()
	s.report.fault(s.alive() && err == nil, "the daemon does not live: %v", err)
	if err != nil || st.BGP == nil {
		return
	}
	s.report.count("the daemon lives; its child was started %d times", st.BGP.Starts)
	s.report.fault(st.BGP.Starts == 1, "the child died: it was started %d times; %s", st.BGP.Starts, s.lastTrace())
	s.report.fault(st.BGP.Speaking, "nobody speaks: %s", st.BGP.Trouble)
	s.report.fault(st.Kernel.InSync && len(st.Kernel.Errors) == 0, "the kernel is not as it should be: %v", st.Kernel.Errors)
	if p := st.BGP.Prefixes; p != nil {
		s.report.count("routes to prefixes: %d, written %d, refused by the kernel %d", p.Routes, p.Written, p.Failed)
		s.report.fault(p.Failed == 0, "the kernel refused %d routes: %s", p.Failed, p.Error)
	}
}

// lastTrace is what the log says of a panic.
func (s *scene) lastTrace() string {
	text, err := os.ReadFile(s.file("daemon.log"))
	if err != nil {
		return err.Error()
	}
	for _, sign := range []string{"panic: ", "fatal error: ", "SIGSEGV"} {
		if at := bytes.Index(text, []byte(sign)); at >= 0 {
			return string(text[max(0, at-300):min(len(text), at+6000)])
		}
	}
	return "its log has no trace"
}

// returned waits until memory, descriptors and goroutines are at their level again.
func (s *scene) returned(before level) error {
	begin := time.Now()
	var now level
	over := func() (what []string) {
		if now.daemon > before.daemon+s.MemorySlack {
			what = append(what, "memory of the daemon")
		}
		if now.child > before.child+s.MemorySlack {
			what = append(what, "memory of the child")
		}
		if now.daemonFiles > before.daemonFiles+3 || now.childFiles > before.childFiles+3 {
			what = append(what, "descriptors")
		}
		if now.goroutines > before.goroutines+10 {
			what = append(what, "goroutines of the daemon")
		}
		return what
	}
	limit := *s
	limit.Patience = s.MemoryWithin
	var broken error
	err := limit.wait("resources are back", func() bool {
		now, broken = s.level()
		return broken == nil && len(over()) == 0
	})
	s.report.count("before: %v", before)
	s.report.count("%v afterwards: %v", time.Since(begin).Round(time.Millisecond), now)
	if broken != nil || s.ctx.Err() != nil {
		return errors.Join(broken, s.ctx.Err())
	}
	s.report.fault(err == nil, "not back at their level (%d MiB of slack) within %v: %s", s.MemorySlack>>20, s.MemoryWithin, strings.Join(over(), ", "))
	return nil
}
