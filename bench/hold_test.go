package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// roleHold is a process that starts daemons, tells their ids, and then only waits.
const roleHold = "hold"

func hold() error {
	ctx := context.Background()
	w, err := newWire(ctx, 1, false)
	if err != nil {
		return err
	}
	for _, c := range []candidate{frr{}, bird{}} {
		dir, err := os.MkdirTemp(os.Getenv("HOLD_DIR"), "")
		if err != nil {
			return err
		}
		r, err := c.start(ctx, task{wire: w, dir: dir, interval: testInterval, multiplier: 3})
		if err != nil {
			return err
		}
		for _, p := range r.processes() {
			fmt.Println(p.cmd.Process.Pid)
		}
		// Each has its own host, and so the ports to itself.
		w = w.swapped()
	}
	fmt.Println(0)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// alive tells a process from one that is gone, or dead and waits for init to see it.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	state, _ := field(string(text), "State")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// Whatever kills this program, nothing that it started outlives it: not FRR's
// daemons either, which would change their user.
func TestKilled(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", roleHold)
	cmd.Env = append(os.Environ(), "HOLD_DIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // the other end is gone by then
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for {
		var pid int
		if _, err := fmt.Fscan(out, &pid); err != nil {
			t.Fatal(err)
		}
		if pid == 0 {
			break
		}
		pids = append(pids, pid)
	}
	if len(pids) != 3 {
		t.Errorf("processes %v, want zebra, bfdd and bird", pids)
	}
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %d is not there", pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as it says
	eventually(ctx, t, "all are gone", func() (bool, error) {
		for _, pid := range pids {
			if alive(pid) {
				return false, nil
			}
		}
		return true, nil
	})
}
