package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

const (
	// endsWithin is how long a process may take to end after SIGTERM.
	endsWithin = 10 * time.Second
	// excerptBytes of a log are shown in an error.
	excerptBytes = 2000
)

// process is a program that runs on a host of a lab.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	// done is closed when the process ended; outcome is valid from then on.
	done    chan struct{}
	outcome error
}

// startProcess starts cmd on h; the context of cmd kills it, and stop ends it. What it writes to standard error, and to standard
// output unless the caller took that, goes to a file in dir.
func startProcess(h *lab.Host, dir, name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd.Stderr = f
	if cmd.Stdout == nil {
		cmd.Stdout = f
	}
	// The program has a descriptor of its own, if it was started.
	if err := errors.Join(h.Start(cmd), f.Close()); err != nil {
		return nil, err
	}
	go func() {
		p.outcome = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// check returns an error, with the end of its log, if the process has ended.
func (p *process) check() error {
	select {
	case <-p.done:
		how := "exit status 0"
		if p.outcome != nil {
			how = p.outcome.Error()
		}
		return fmt.Errorf("%s (process %d) ended: %s: %s", p.name, p.cmd.Process.Pid, how, p.excerpt())
	default:
		return nil
	}
}

// excerpt returns the last lines of the log.
func (p *process) excerpt() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > excerptBytes {
		text = text[len(text)-excerptBytes:]
	}
	return strings.TrimSpace(string(text))
}

// stop ends the process and waits for it: SIGTERM, and SIGKILL for one that does
// not follow. That it had ended before is no error here.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	patience := time.NewTimer(endsWithin)
	defer patience.Stop()
	select {
	case <-p.done:
		return nil
	case <-patience.C:
	}
	err := fmt.Errorf("%s (process %d) did not end within %v and was killed", p.name, p.cmd.Process.Pid, endsWithin)
	if kill := p.cmd.Process.Kill(); kill != nil && !errors.Is(kill, os.ErrProcessDone) {
		return errors.Join(err, kill)
	}
	<-p.done
	return err
}

// kill ends the process at once and waits for it. That it had ended before is no error
// here.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// cpu returns the CPU time of all threads of the process since it began, those
// that ended included, to the nanosecond: /proc/PID/stat has the same sum in
// hundredths of a second.
func (p *process) cpu() (time.Duration, error) {
	if err := p.check(); err != nil {
		return 0, err
	}
	return processCPU(p.cmd.Process.Pid)
}

// cpuClockSched is CPUCLOCK_SCHED, the clock that the scheduler keeps
// (include/linux/posix-timers_types.h).
const cpuClockSched = 2

// processCPU reads the clock of clock_getcpuclockid(3).
func processCPU(pid int) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &t); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// peak returns the largest resident memory that the process ever had, in octets.
func (p *process) peak() (int64, error) {
	if err := p.check(); err != nil {
		return 0, err
	}
	return peakMemory(p.cmd.Process.Pid)
}

func peakMemory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	for line := range bytes.Lines(text) {
		value, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(value)), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("read memory of process %d: no VmHWM, it is ending", pid)
}
