package interop

import (
	"fmt"
	"strings"
	"testing"
)

// TestBFD_PKT_09_InteropNoEcho: FRR, told to use echo, must not as long as we
// announce that we reflect none; the sessions stay up without.
func TestBFD_PKT_09_InteropNoEcho(t *testing.T) {
	t.Parallel()
	with := theirs
	with.echo = true
	d, ok := newFRR(t).(*frr)
	if !ok {
		t.Fatal("FRR is somebody else")
	}
	s := play(t, d, with)
	nft(t, s.us, "chain echoes { type filter hook prerouting priority -300; udp dport 3785 counter; }")
	e := s.speak(t, nil)
	s.comesUp(t, e)
	s.agree(t, e, unchanged, with)
	s.settled(t, e)
	sessions, err := d.sessions()
	must(t, err)
	sent, err := d.counter("echo-packet-output")
	must(t, err)
	must(t, s.each(func(p path) error {
		if f, ok := sessions[p.us]; !ok || f.RemoteEcho != 0 || sent[p.us] != 0 {
			return fmt.Errorf("FRR knows it: %t, takes us to accept echoes each %d ms and has sent %d", ok, f.RemoteEcho, sent[p.us])
		}
		return nil
	})())
	if counted := runOn(t, s.us, "nft", "list table inet interop"); !strings.Contains(counted, "counter packets 0 bytes 0") {
		t.Errorf("echo packets arrived: %s", counted)
	}
	s.steady(t, e)
}
