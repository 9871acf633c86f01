package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sampler watches the memory of a candidate: all its processes and theirs.
type sampler struct {
	roots []*process
	quit  chan struct{}
	done  sync.WaitGroup

	mu sync.Mutex
	// together is the largest sum of resident memory at one time; marks are the high
	// water marks of each process, also of those that ended.
	together int64
	marks    map[int]int64
	// cpu of each process at its last sight.
	cpu map[int]time.Duration
}

// sampleEvery is often enough to see a peak that lasts.
const sampleEvery = 200 * time.Millisecond

func startSampler(roots []*process) *sampler {
	s := &sampler{roots: roots, quit: make(chan struct{}), marks: map[int]int64{}, cpu: map[int]time.Duration{}}
	s.look()
	s.done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-s.quit:
				return
			case <-tick.C:
				s.look()
			}
		}
	})
	return s
}

func (s *sampler) stop() {
	close(s.quit)
	s.done.Wait()
}

// look reads everything once. A process that ended meanwhile is left at what it had.
func (s *sampler) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum int64
	for _, root := range s.roots {
		for _, pid := range tree(root.cmd.Process.Pid) {
			mark, resident, err := memoryOf(pid)
			if err != nil {
				continue
			}
			sum += resident
			s.marks[pid] = mark
			if t, err := processCPU(pid); err == nil {
				s.cpu[pid] = t
			}
		}
	}
	s.together = max(s.together, sum)
}

// used is what was used since the processes began: CPU time, the sum of the high
// water marks, and the largest sum at one time, in octets.
func (s *sampler) used() (cpu time.Duration, marks, together int64) {
	s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid, mark := range s.marks {
		marks += mark
		cpu += s.cpu[pid]
	}
	return cpu, marks, s.together
}

// tree returns pid and all that descend from it.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		dir := fmt.Sprintf("/proc/%d/task", all[i])
		threads, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, thread := range threads {
			text, err := os.ReadFile(dir + "/" + thread.Name() + "/children")
			if err != nil {
				continue
			}
			for word := range strings.FieldsSeq(string(text)) {
				if child, err := strconv.Atoi(word); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// memoryOf returns VmHWM and VmRSS, in octets.
func memoryOf(pid int) (mark, resident int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for key, into := range map[string]*int64{"VmHWM": &mark, "VmRSS": &resident} {
		value, ok := field(string(text), key)
		if !ok {
			return 0, 0, fmt.Errorf("read memory of process %d: no %s, it is ending", pid, key)
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		*into = kib << 10
	}
	return mark, resident, nil
}

// hurryPriority is the lowest of those that the kernel prefers to all usual ones.
const hurryPriority = 1

// hurry lets the threads of a process run before all others: a far end stands for a
// machine of its own, which a candidate does not slow down. Threads that come later
// inherit it.
func hurry(pid int) error {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("prefer process %d: %w", pid, err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			return fmt.Errorf("prefer process %d: %w", pid, err)
		}
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: hurryPriority}
		err = unix.SchedSetAttr(tid, &attr, 0)
		// One that is not allowed to anybody is no reason not to measure.
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("prefer process %d: %w", pid, err)
		}
	}
	return nil
}

// selfCPU is the CPU time of this process.
func selfCPU() time.Duration {
	t, err := processCPU(os.Getpid())
	if err != nil {
		// Its own clock is there.
		panic(err)
	}
	return t
}
