package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/adversity"
)

// adverse runs one of the scenes with the program under test. bench has them for minutes
// and with full tables.
func adverse(t *testing.T, scene func(context.Context, adversity.Options) (*adversity.Report, error), o adversity.Options) {
	t.Helper()
	o.Command = func(args ...string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), asDaemon+"=1")
		return cmd
	}
	o.Dir, o.Patience, o.MemoryWithin = t.TempDir(), patience, patience
	// The race detector keeps several times what it watches.
	o.MemorySlack = 256 << 20
	// The test's own context ends before its cleanup.
	report, err := scene(context.WithoutCancel(t.Context()), o)
	for _, l := range report.Lines() {
		t.Log(l)
	}
	for _, f := range report.Faults() {
		t.Error(f)
	}
	if err != nil {
		t.Error(err)
	}
	if t.Failed() {
		log, err := os.ReadFile(o.Dir + "/daemon.log")
		t.Logf("log of the daemon: %v\n%s", err, tail(string(log), 6000))
	}
}

// TestBGP_Malformed: peers that send malformed UPDATEs in fresh sessions, and strangers,
// do no harm to anybody else.
func TestBGP_Malformed(t *testing.T) {
	adverse(t, adversity.Malformed, adversity.Options{For: 5 * time.Second, Prefixes: 2000, Rate: 200, Peers: 5})
}

// TestBGP_Misbehaviour: a peer that flaps, one that never finishes its table, one that
// sends too much and one that stops reading do no harm to anybody else.
func TestBGP_Misbehaviour(t *testing.T) {
	adverse(t, adversity.Misbehaviour, adversity.Options{For: 5 * time.Second, Prefixes: 2000})
}

// TestBGP_RestartWithTable: the death of the daemon, and of the process that speaks BGP,
// with a full table from two peers with graceful restart costs no packet, and removes
// only what does not come back, once it is known that it does not.
func TestBGP_RestartWithTable(t *testing.T) {
	adverse(t, adversity.Restart, adversity.Options{Prefixes: 20_000})
}
