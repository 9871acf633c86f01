package bfd

import (
	"testing"
	"time"
)

// TestBFD_UE_13_BFD_UE_14_BFD_UE_22_Rates: slow before Up and after it, whoever
// listens; provisioned in Up.
func TestBFD_UE_13_BFD_UE_14_BFD_UE_22_Rates(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		conf.DesiredMinTx, conf.RequiredMinRx = 20*time.Millisecond, 777*time.Millisecond
		n := newNeighbourhood(t, conf)
		dead := func(looped) bool { return false }
		n.forward = dead
		count := func(d time.Duration) (mains, tests int) {
			from := len(n.sent)
			n.run(d)
			for _, l := range n.sent[from:] {
				if l.kind() == echoTest {
					tests++
				} else {
					mains++
				}
			}
			return mains, tests
		}
		slow := func(when string) {
			if mains, tests := count(60 * time.Second); mains < 60 || mains > 81 || tests > mains || tests < 30 {
				t.Errorf("%s: %d and %d packets in a minute", when, mains, tests)
			}
		}
		slow("before Up")
		from := len(n.sent)
		for n.s.core.conf.Multiplier < 20 {
			conf.Multiplier = n.s.core.conf.Multiplier + 1
			if err := n.table.update(n.s, conf); err != nil {
				t.Fatal(err)
			}
			n.run(10 * time.Millisecond)
		}
		tests := 0
		for _, l := range n.sent[from:] {
			if l.kind() == echoTest {
				tests++
			}
		}
		if tests > 1 {
			t.Errorf("%d packets of the self-test with urgent ones", tests)
		}
		conf.Multiplier = 3
		if err := n.table.update(n.s, conf); err != nil {
			t.Fatal(err)
		}
		n.forward = nil
		n.run(2 * time.Second)
		if mains, tests := count(10 * time.Second); mains < 500 || mains > 670 || tests != 0 {
			t.Errorf("Up: %d and %d packets in ten seconds", mains, tests)
		}
		n.forward = dead
		n.run(time.Second)
		slow("after Up")
	})
}

func TestBFD_UE_16_Detection(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for _, mult := range []int{1, 3, 200} {
			conf.Multiplier, conf.DesiredMinTx = mult, 10*time.Millisecond
			n := newNeighbourhood(t, conf)
			n.up()
			n.forward = func(looped) bool { return false }
			n.run(n.delay) // what is under way comes back
			last := n.s.core.lastRx
			want := last + time.Duration(mult)*10*time.Millisecond
			n.run(want - n.now - 1)
			if n.s.core.state != Up {
				t.Fatalf("%d times: not up before the detection time", mult)
			}
			n.run(1)
			if n.s.core.state != Down || n.s.core.diag != DiagEchoFailed {
				t.Errorf("%d times: %v, %v", mult, n.s.core.state, n.s.core.diag)
			}
			p := n.sent[len(n.sent)-1].packet(t)
			if p.State != Down || p.Diag != DiagEchoFailed || p.YourDiscriminator != 0 {
				t.Errorf("%d times: sent %v", mult, p)
			}
			if e := n.events[len(n.events)-1]; !e.Failure() || e.Diag != DiagEchoFailed {
				t.Errorf("%d times: told %v", mult, e)
			}
			n.forward = nil
			n.run(2 * time.Second)
			if n.s.core.state != Up {
				t.Errorf("%d times: did not come back", mult)
			}
		}
	})
}

// A way there and back that is longer than the detection time is no loss, and what was
// sent slowly is not missed quickly.
func TestEchoLongWay(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for _, conf.DesiredMinTx = range []time.Duration{time.Millisecond, 20 * time.Millisecond, 500 * time.Millisecond} {
			n := newNeighbourhood(t, conf)
			n.delay = 700 * time.Millisecond
			n.run(20 * time.Second)
			st := n.table.status(n.s)
			if st.State != Up || st.Failures != 0 || st.RTT != n.delay || st.DetectionTime != 3*conf.DesiredMinTx {
				t.Errorf("%+v", st)
			}
			for _, l := range n.sent {
				if l.kind() == echoTest && l.packet(t).State == Up {
					t.Fatal("a self-test in Up")
				}
			}
		}
	})
}

// With more packets under way than moments are kept of, the session may not come up; it
// does not stay up without a packet either.
func TestEchoTooLongWay(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		conf.DesiredMinTx = time.Millisecond
		n := newNeighbourhood(t, conf)
		n.delay = 1500 * time.Millisecond
		n.forward = func(l looped) bool { return l.packet(n.t).State != Up }
		for end := n.now + 10*time.Second; n.now < end && n.s.core.state != Up; {
			n.run(10 * time.Millisecond)
		}
		if n.s.core.state != Up {
			t.Fatal("never Up")
		}
		n.run(3 * time.Second)
		if n.s.failures == 0 {
			t.Error("Up without a packet")
		}
	})
}

// Packets that this process was too late to send are not missing: when it did not run
// for a while the session stays Up, and then counts anew.
func TestEchoStall(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for _, delay := range []time.Duration{time.Millisecond, 400 * time.Millisecond} {
			n := newNeighbourhood(t, conf)
			n.delay = delay
			n.run(4 * time.Second)
			for _, stall := range []time.Duration{120, 160, 1000, 100_000} {
				n.now += stall * time.Millisecond
				n.run(time.Second)
			}
			if n.s.core.state != Up || n.s.failures > 0 {
				t.Fatalf("way of %v: %v after %d failures", delay, n.s.core.state, n.s.failures)
			}
			n.forward = func(looped) bool { return false }
			n.now += time.Second
			// Three packets are sent within 75 to 100 ms.
			n.run(delay + 74*time.Millisecond)
			if n.s.core.state != Up {
				t.Errorf("way of %v: down too early after the stall", delay)
			}
			n.run(27 * time.Millisecond)
			if n.s.core.state != Down {
				t.Errorf("way of %v: not down after the stall", delay)
			}
		}
	})
}

// There is no Final to wait for: a new interval is used at once, either way, without a
// flap.
func TestEchoUpdate(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.up()
		for _, ms := range []time.Duration{500, 10, 2000, 1, 50} {
			conf.DesiredMinTx = ms * time.Millisecond
			if err := n.table.update(n.s, conf); err != nil {
				t.Fatal(err)
			}
			n.run(5 * time.Second)
			st := n.table.status(n.s)
			if st.State != Up || st.Failures != 0 || st.TxInterval != conf.DesiredMinTx || st.RxInterval != conf.DesiredMinTx ||
				st.DetectionTime != 3*conf.DesiredMinTx || st.Polling {
				t.Errorf("%v: %+v", conf.DesiredMinTx, st)
			}
		}
		for _, l := range n.sent {
			if p := l.packet(t); p.Poll || p.Final || p.Demand {
				t.Errorf("sent %v", p)
			}
		}
	})
}

// TestBFD_UE_23_Reordered: a packet from before Up, that comes late or twice, takes
// nothing down and keeps nothing up.
func TestBFD_UE_23_Reordered(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.up()
		for i, l := range n.sent {
			if drop := n.drop(n.datagram(l)); drop != DropEchoOld && i < len(n.sent)-1 {
				t.Fatalf("packet %d, %v: %v", i, l.packet(t).State, drop)
			}
		}
		if n.s.core.state != Up {
			t.Errorf("session %v", n.s.core.state)
		}
		n.forward = func(looped) bool { return false }
		end := n.now + 2*n.s.core.detection()
		for n.now < end {
			n.run(time.Millisecond)
			n.table.input(n.datagram(n.sent[0]), n.now)
		}
		if n.s.core.state != Down {
			t.Error("copies keep the session up")
		}
	})
}

func TestEchoMarkAllocatesNothing(t *testing.T) {
	conf := echoFamilies["IPv6"]
	conf.Auth = Auth{Type: AuthMeticulousSHA1, KeyID: 2, Keys: []Key{{2, Secret("12345678901234567890")}}}
	n := newNeighbourhood(t, conf)
	n.up()
	e := n.s.core.echo
	b := make([]byte, 0, 128)
	var p Packet
	pdu := n.sent[len(n.sent)-1].b[:52]
	if _, drop := p.decode(pdu); drop != DropNone {
		t.Fatal(drop)
	}
	d := n.datagram(n.sent[0])
	if got := testing.AllocsPerRun(100, func() {
		b = e.mark(append(b[:0], pdu...), echoMain, n.now)
		d.payload = b
		if drop := e.admit(&p, b[:52], d); drop != DropNone {
			t.Fatal(drop)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if len(b) > len(n.table.buffer) {
		t.Errorf("%d octets do not fit the buffer of the table", len(b))
	}
}
