package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
	"github.com/multihomed/multihomed/internal/status"
)

// daemon is the multihomed process on the edge.
type daemon struct {
	exe, socket, log string
	cmd              *exec.Cmd
	// ended is closed after the process ended, with how in err.
	ended chan struct{}
	err   error
}

const (
	// answerWithin bounds one `multihomed status`.
	answerWithin = 5 * time.Second
	// stopWithin is how long a clean stop may take before the lab kills it.
	stopWithin = 10 * time.Second
	// logTailBytes of the log are shown after a failure.
	logTailBytes = 2000
)

func startDaemon(edge *lab.Host, exe, config, dir string) (*daemon, error) {
	d := &daemon{
		exe: exe, socket: filepath.Join(dir, "socket"), log: filepath.Join(dir, "daemon.log"),
		ended: make(chan struct{}),
	}
	out, err := os.Create(d.log)
	if err != nil {
		return nil, fmt.Errorf("start daemon: %w", err)
	}
	// The process has its own descriptor of the log.
	defer func() { _ = out.Close() }()
	d.cmd = exec.Command(exe, "run", "--config", config, "--socket", d.socket, "--log-level", "info")
	d.cmd.Stdout, d.cmd.Stderr = out, out
	// Its own process group: a Ctrl-C at the terminal is for the demo, which
	// then stops the daemon in order.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := edge.Start(d.cmd); err != nil {
		return nil, fmt.Errorf("start daemon: %w", err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	return d, nil
}

// alive is an error once the process ended.
func (d *daemon) alive() error {
	select {
	case <-d.ended:
		if d.err == nil {
			return errors.New("the daemon ended without being asked")
		}
		return fmt.Errorf("the daemon ended: %w", d.err)
	default:
		return nil
	}
}

// status asks as an operator does.
func (d *daemon) status(ctx context.Context) (status.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var s status.Status
	cmd := exec.CommandContext(ctx, d.exe, "status", "--socket", d.socket, "-o", "json")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return s, fmt.Errorf("ask daemon: %w: %s", err, bytes.TrimSpace(errOut.Bytes()))
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	return s, nil
}

// stop ends the process in order. One that does not end is an error and is killed
// with the lab; one that had ended before was reported by alive.
func (d *daemon) stop() error {
	if d.alive() != nil {
		return nil
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop daemon: %w", err)
	}
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-d.ended:
	case <-timer.C:
		return fmt.Errorf("stop daemon: it still ran %s after SIGTERM", stopWithin)
	}
	if d.err != nil {
		return fmt.Errorf("stop daemon: %w", d.err)
	}
	return nil
}

// logTail is the end of the daemon's log.
func (d *daemon) logTail() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	if len(b) > logTailBytes {
		b = b[len(b)-logTailBytes:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(bytes.TrimSpace(b))
}
