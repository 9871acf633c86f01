package main

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/speaker"
)

// TestSpeaker_ByHand: the command says that it is not for hands, and is in no list of
// commands.
func TestSpeaker_ByHand(t *testing.T) {
	if code, _, stderr := runHere(t, speaker.Command); code != exitFailure || !strings.Contains(stderr, `is started by "multihomed run"`) {
		t.Errorf("exit code %d, %q; want %d and who starts it", code, stderr, exitFailure)
	}
	if _, stdout, _ := runHere(t, "--help"); strings.Contains(stdout, speaker.Command) {
		t.Errorf("the help lists it:\n%s", stdout)
	}
}

// TestSpeaker: this program is a child that speaks, with the real speaker, and ends when
// it is told to.
func TestSpeaker(t *testing.T) {
	t.Setenv(asDaemon, "1")
	log := &logBuffer{}
	s := speaker.NewSupervisor(speaker.Options{
		Start: speaker.Process,
		Log:   slog.New(slog.NewTextHandler(log, nil)),
	})
	// It listens nowhere and has no peers: it can be anywhere.
	s.Set(bgp.Config{AS: 64500, RouterID: netip.MustParseAddr("192.0.2.1"), Own: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.Run(ctx)
	}()
	defer func() {
		s.Leave()
		stop()
		<-over
		if st := s.Status(); st.Starts != 1 {
			t.Errorf("%d children were needed:\n%s", st.Starts, log)
		}
	}()
	if err := waitFor(patience, func() bool { return s.Status().Speaking }); err != nil {
		t.Fatalf("nobody speaks: %+v\n%s", s.Status(), log)
	}
	if st := s.Status(); st.BGP.Error != "" || len(st.BGP.Peers) != 0 {
		t.Errorf("%+v, want no error and no peers", st.BGP)
	}
	if paths, err := s.Paths(ctx, bgp.Query{Prefix: netip.MustParsePrefix("198.51.100.0/24")}); err != nil || len(paths) != 0 {
		t.Errorf("paths %v, %v; want none", paths, err)
	}
}
