package main_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestPair: what one speaker announces is offered to the other, and a signal ends both.
func TestPair(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "bgp-embed")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := lab.New(lab.Options{Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host, err := l.Host("host")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	// The pipe ends with the program, and the test's time limit is the limit.
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var said []string
	want := []string{"198.51.100.0/24: isp is first", "that is all"}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if slices.Contains(said, want[0]) && slices.Contains(said, want[1]) {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v; it said %q\n%s", err, said, log.String())
	}
	for _, w := range want {
		if !slices.Contains(said, w) {
			t.Errorf("it said %q, without %q\n%s", said, w, log.String())
		}
	}
}
