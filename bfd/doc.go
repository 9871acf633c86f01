// Package bfd is Bidirectional Forwarding Detection: RFC 5880, over one hop
// (RFC 5881) and over several (RFC 5883), with authentication, and unaffiliated
// echo (RFC 9747) for neighbours that run no BFD.
//
// A [Speaker] owns the sockets of one network namespace and one thread that
// serves them. Sessions are opened on it; each reports its changes of state to a
// function of its owner. What a change means to a route or to a routing protocol
// is the owner's business (RFC 5882; [Event.Failure] says what that document asks
// not to be taken for a failure).
//
//	speaker, err := bfd.NewSpeaker(bfd.Options{})
//	session, err := speaker.Open(bfd.Config{
//		Peer: netip.MustParseAddr("203.0.113.1"), Interface: "eth1",
//		DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond,
//	}, func(e bfd.Event) { fmt.Println(e) })
//	err = speaker.Run(ctx)
//
// # Layers
//
// Each is pure but the last; time is an argument, and nothing sleeps.
//
//	packet.go, auth.go    octets to [Packet] and back; sections signed and verified
//	fsm.go                the table over all states and events
//	core*.go, poll.go     the variables of one session (RFC 5880 section 6.8.1):
//	                      receive, advance, and when there is something to do
//	echo.go               the same for a session whose packets come back to it
//	table.go, demux.go    all sessions: checks in the order of section 6.8.6, which
//	                      session a packet is for, one heap of deadlines
//	speaker.go, loop.go   the thread; socket_*.go, the sockets
//
// A packet goes up: datagram, table (checks and demultiplexing), core (section
// 6.8.6), event. It comes down: heap, core, table, socket.
//
// # Time
//
// A deadline is judged by when packets arrived, not by when they were read: the
// kernel's receive timestamp feeds the detection timer, and no session expires
// before everything that had arrived by its deadline, and everything that lies in
// the sockets by then, was taken into account. A busy process is late to notice a
// failure; it never makes one up. What it can do is send late, and have the peer
// notice: [Stats.WorstLateness] tells.
//
// # Goroutines and blocking
//
// [Speaker.Run] runs on the goroutine of its caller, locked to a thread, until its
// context ends; there is no goroutine or timer per session. One lock covers all
// sessions; it is held for as long as one batch of packets takes and never while
// a function of the owner runs. Such functions are called from Run, in the order
// of events; they must not block, because every session waits for them.
package bfd
