package bfd

import (
	"testing"
)

// A packet socket reports that its interface went down, and hears again when it is up:
// it is not to be opened anew for that, again and again.
func TestEchoInterfaceDown(t *testing.T) {
	onEchoSites(t, func(t *testing.T, conf Config) {
		s := newEchoSite(t, conf)
		index, err := s.edge.Index("wan")
		s.must(err)
		var r *receiver
		s.must(s.edge.Do(func() (err error) {
			r, err = openReceiver(receiverKey{port: portEcho, v6: conf.Peer.Is6(), device: "wan", index: index})
			return err
		}))
		s.must(s.edge.SetDown("wan"))
		c, b := newClock(systemClock(epoch)), newBatch()
		for range 10 {
			if n, _, err := r.read(b, c); err != nil || n != 0 {
				t.Fatalf("%d packets, %v", n, err)
			}
		}
		// Two sockets cannot park on the port.
		r.close()
		s.must(s.edge.SetUp("wan"))
		run := s.start(conf)
		run.untilUp()
		s.must(s.edge.SetDown("wan"))
		run.until("Down", func(st Status) bool { return st.State == Down && st.Problem != "" })
		s.must(s.edge.SetUp("wan"))
		run.untilUp()
	})
}
