package main_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/multihomed/multihomed/internal/lab"
)

// TestPair: both sessions come up, and a signal ends them in order: each learns
// that the other is administratively down.
func TestPair(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "bfd-embed")
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
	if err := host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	// The pipe ends with the program, and the test's time limit is the limit.
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if up := strings.Join(said, "\n"); strings.Count(up, "to up") == 2 && !strings.Contains(up, "admin") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v; it said %q", err, said)
	}
	if up := strings.Count(strings.Join(said, "\n"), "to up"); up != 2 {
		t.Errorf("%d sessions came up, want 2: %q", up, said)
	}
}
