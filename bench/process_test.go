package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The CPU clock says what /proc/PID/stat says, at a hundred times the resolution.
func TestProcessCPU(t *testing.T) {
	pid := os.Getpid()
	stat := func() time.Duration {
		text, err := os.ReadFile("/proc/self/stat")
		if err != nil {
			t.Fatal(err)
		}
		// The name before may contain anything, but not another bracket behind.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		var ticks int
		for _, f := range fields[11:13] { // utime and stime, fields 14 and 15
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			ticks += n
		}
		return time.Duration(ticks) * 10 * time.Millisecond
	}
	begin, err := processCPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	for x := 0; ; x++ {
		if now, err := processCPU(pid); err != nil {
			t.Fatal(err)
		} else if now-begin > 200*time.Millisecond {
			break
		}
	}
	before := stat()
	clock, err := processCPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	after := stat()
	if slack := 50 * time.Millisecond; clock < before-slack || clock > after+slack {
		t.Errorf("clock %v, /proc/self/stat %v before and %v after", clock, before, after)
	}
}

func TestProcessCPU_gone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := processCPU(cmd.Process.Pid); err == nil {
		t.Error("a process that is gone has CPU time")
	}
	if _, err := peakMemory(cmd.Process.Pid); err == nil {
		t.Error("a process that is gone has memory")
	}
}

func TestPeakMemory(t *testing.T) {
	const size = 64 << 20
	before, err := peakMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	after, err := peakMemory(os.Getpid())
	if err != nil || after < size || after < before {
		t.Errorf("peak %d, and %d before %d more were used; error %v", after, before, len(block), err)
	}
}

func TestProcess(t *testing.T) {
	w := newTestWire(t, 1, false)
	start := func(script string) *process {
		p, err := startProcess(w.near, t.TempDir(), "script", exec.CommandContext(t.Context(), "sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Run("ended by itself", func(t *testing.T) {
		p := start("echo in trouble >&2; exit 3")
		<-p.done
		err := p.check()
		if err == nil || !strings.Contains(err.Error(), "exit status 3: in trouble") {
			t.Errorf("check says %v", err)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("ended by us", func(t *testing.T) {
		p := start("exec sleep 1000")
		if err := p.check(); err != nil {
			t.Error(err)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if p.check() == nil {
			t.Error("it is still there")
		}
	})
}
