package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// farPeer is the outside of a process that runs a BGP session.
type farPeer struct {
	daemons

	mu   sync.Mutex
	in   io.WriteCloser
	out  *bufio.Reader
	pipe *os.File // below out
}

// tableWithin is how long sending a table may take, or churning.
const tableWithin = 15 * time.Minute

// startPeer runs this program again on h. It returns once the table is encoded.
func startPeer(ctx context.Context, h *lab.Host, dir string, s peerSpec) (*farPeer, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", rolePeer)
	cmd.Args[0] = "bench"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", rolePeer, err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", rolePeer, err)
	}
	cmd.Stdout = outWrite
	p, err := startProcess(h, dir, rolePeer, cmd)
	if err := errors.Join(err, outWrite.Close()); err != nil {
		return nil, errors.Join(err, outRead.Close())
	}
	f := &farPeer{daemons: daemons{p}, in: in, out: bufio.NewReader(outRead), pipe: outRead}
	line, err := json.Marshal(s)
	if err == nil {
		_, err = in.Write(append(line, '\n'))
	}
	if err == nil {
		_, err = f.ask(ctx, peerCommand{Do: peerReady})
	}
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

// ask sends a command and reads the report. It ends with ctx.
func (f *farPeer) ask(ctx context.Context, c peerCommand) (r peerReport, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	line, err := json.Marshal(c)
	if err != nil {
		return r, err
	}
	if err := f.pipe.SetReadDeadline(time.Now().Add(tableWithin)); err != nil {
		return r, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.pipe.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err = f.in.Write(append(line, '\n')); err == nil {
		line, err = f.out.ReadBytes('\n')
	}
	if err != nil {
		p := f.daemons[0]
		return r, errors.Join(fmt.Errorf("ask %s to %s: %w", p.name, c.Do, err), ctx.Err(), p.check())
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("read report of %s: %w", rolePeer, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("let the far end %s: %s", c.Do, r.Error)
	}
	return r, nil
}

// stop ends the process.
func (f *farPeer) stop() error {
	err := f.in.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, f.daemons.stop(), f.pipe.Close())
}
