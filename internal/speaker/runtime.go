package speaker

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/bgp"
)

// How the process of the speaker is set up. It is busy in bursts, with a full table of
// small objects, beside a daemon whose packets have to be in time.
const (
	// nice is how far the speaker steps back behind the daemon, of 0..19. Each step is
	// a tenth of the share of a busy processor (sched(7)): 5 leaves it a quarter
	// against a daemon that computes too, and everything otherwise. It can only be
	// raised without rights.
	nice = 5
	// oomScore makes the kernel end the speaker first when memory runs out
	// (proc_pid_oom_score_adj(5)): its loss costs the sessions, which restart, and no
	// packet. The daemon has 0, or -900 from its unit.
	oomScore = 500
	// garbage is how many octets the collector lets come to be beside what lives, which is
	// about idleHeap and pathHeap for each path; but no more percent of that than gcMost,
	// and no less than gcLeast. A table is many small objects, and collecting is half of
	// the work of loading it at 100 percent, which is Go's own: 500,000 paths took 8.5 s
	// and 0.6 GiB at 100, 7.3 s and 1.0 GiB at 200, 6.0 s and 1.1 GiB at 400 (two cores;
	// FRR 7.3 s and 1.4 GiB).
	garbage  = 700 << 20
	idleHeap = 100 << 20
	pathHeap = 430
	gcMost   = 400
	gcLeast  = 50
	// memoryShare: from one part in so many of the memory of the machine on, the
	// collector works harder instead of letting the heap grow (runtime/debug,
	// SetMemoryLimit). It is no hard limit.
	memoryShare = 2
	// name is what ps and top show, at most 15 octets; without it they show "exe".
	name = "multihomed-bgp"
)

// Settle sets this process up as a speaker. The variables GOGC, GOMEMLIMIT and
// GOMAXPROCS are respected; the last is left to Go, which takes all processors that it
// may use: GoBGP decodes on one and we rank on the other, and whoever is nice does not
// need fewer. What cannot be had is logged, and harmless.
func Settle(log *slog.Logger) {
	// A service manager sends SIGTERM to all processes of the daemon, and a terminal may
	// hang up: when and how this one ends is for the daemon to say.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent(0))
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		log.Warn("cannot read the size of the memory; the collector has no limit", "error", err)
	} else if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(info.Totalram) * int64(info.Unit) / memoryShare)
	}
	if err := offerToOOM("/proc/self/oom_score_adj"); err != nil {
		log.Warn("cannot offer the BGP speaker to the kernel as the first to end when memory runs out", "error", err)
	}
	if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
		log.Debug("cannot name the process", "error", err)
	}
	if extra, err := extraRights(); err != nil || extra != 0 {
		log.Warn("the BGP speaker has more rights than it needs", "capabilities", fmt.Sprintf("%#x", extra), "error", err)
	}
}

// pacer follows the number of paths with the pace of the garbage collector.
type pacer struct{ percent int }

// follow sets the pace for what st counts.
func (p *pacer) follow(st bgp.Status) {
	paths := 0
	for _, peer := range st.Peers {
		for _, f := range peer.Families {
			paths += f.Received
		}
	}
	if percent := gcPercent(paths); percent != p.percent && os.Getenv("GOGC") == "" {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
}

// gcPercent is the pace for a number of paths, in steps of ten: each change stops the
// process for a moment.
func gcPercent(paths int) int {
	percent := 100 * garbage / (idleHeap + pathHeap*paths) / 10 * 10
	return min(max(percent, gcLeast), gcMost)
}

// offerToOOM raises a score to oomScore. Lowering one takes rights, and whoever set a
// higher one meant it.
func offerToOOM(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	score, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if score >= oomScore {
		return nil
	}
	return os.WriteFile(file, []byte(strconv.Itoa(oomScore)), 0)
}

// extraRights returns the effective capabilities of this process beyond childRights, one
// bit each.
func extraRights() (uint64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if hex, is := strings.CutPrefix(line, "CapEff:"); is {
			have, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			for _, c := range childRights {
				have &^= 1 << c
			}
			return have, err
		}
	}
	return 0, fmt.Errorf("read capabilities: /proc/self/status has none")
}
