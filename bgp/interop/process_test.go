package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// limit is for everything that happens at once, or after a few seconds, on a machine
// that has nothing else to do. Ours may have.
const limit = 60 * time.Second

// pollEvery is how often something is asked for. Asking FRR is a program of its own.
const pollEvery = 100 * time.Millisecond

// process is a program that a test started. It ends with the test at the latest.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	// output is the file of what it says.
	output string
}

// start starts a program on a host. What it says goes to a file in dir, and the end
// of it is shown if the test fails.
func start(t *testing.T, h *lab.Host, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	name := filepath.Base(cmd.Path)
	out, err := os.OpenFile(filepath.Join(dir, name+".out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	p := &process{name: name, cmd: cmd, ended: make(chan struct{}), output: out.Name()}
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	must(t, h.Start(cmd), out.Close())
	go func() {
		defer close(p.ended)
		// How it ends is the business of whoever ended it.
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("%s (process %d) said at the end:\n%s", p.name, cmd.Process.Pid, p.tail(400))
		}
	})
	return p
}

// kill ends it without a warning.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.end(t, syscall.SIGKILL)
}

func (p *process) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	// A process that has ended already is no error; os.Process never signals
	// another one with its id.
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("send %s to %s: %v", s, p.name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(limit):
		t.Errorf("%s did not end within %s of %s", p.name, limit, s)
	}
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// said is what it wrote so far.
func (p *process) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.output)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.Split(strings.TrimRight(string(text), "\n"), "\n"), func(line string) bool {
		return strings.Contains(line, "Update Group Hash") || strings.Contains(line, "timer expire)")
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// run runs a command of the machine and returns what it printed. Sockets with a
// path are reached from every namespace.
func run(name string, args ...string) (string, error) {
	return finish(exec.Command(name, args...), (*exec.Cmd).Start)
}

func finish(cmd *exec.Cmd, begin func(*exec.Cmd) error) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := begin(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// directory makes one with a short name: the path of a socket has at most 107
// octets, and that of t.TempDir holds the name of the test.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bgp") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ask finds nothing to object to.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-poll.C:
		}
	}
}
