// Package speaker runs the BGP part of the daemon as a process of its own, and is
// its voice in this one.
//
// # Why a process
//
// A full table is half a gigabyte of small objects and, at times, both cores busy.
// In one process with BFD that is late packets (bench/, bfd-heap), and an error in a
// decoder would end everything. In a process of its own it is neither: the kernel
// forwards, BFD and probes go on, and the daemon keeps the routes, says so, and
// starts the process again.
//
// # The way of the data
//
//	daemon                                 child: "multihomed bgp-speaker"
//	Supervisor.Set(bgp.Config) ─ frame ──▶ Serve ─▶ bgp.Speaker.Set
//	Supervisor.Status  ◀─ last frame ───── bgp.Speaker.Status, when it changed
//	Options.Routes     ◀─ frames ───────── bgp.Speaker.Next
//	Supervisor.Paths   ◀─ answer ───────── bgp.Speaker.Paths
//
// The frames go over one pair of sockets (frame.go, message.go): JSON, and a binary
// form for routes. Everything is level: a child that was started again is told the whole
// configuration, and tells every route; whoever keeps them finds the difference. Routes
// that the daemon is slow to take stay in the child, one per prefix: it sends no more
// frames of them than the daemon has room for, so states, answers and signs of life
// never wait behind routes.
//
// # Life and death
//
// The child ends, without a word to its peers, when its socket is closed, so it
// never outlives a daemon that was killed, and peers with graceful restart keep what
// they were told. A child that does not answer for 10 s is killed; a daemon that says
// nothing for 30 s is given up. A child whose process answers and whose speaker does not,
// for 60 s, ends itself: it asks bgp.Speaker.Alive all the time, and bounds what it
// tells the speaker to do. All of these count questions, not time, so that a machine that
// was suspended finds everything as it was. A child that ended is started again with backoff;
// meanwhile its last routes stay where they are, and Supervisor.Status says that nobody
// speaks, and why: how the child ended and what it printed last. What it logs is logged
// here, and if it panics the trace is.
//
// The child is not trusted to be sane: what cannot be understood ends it. Nor is it
// given more than it needs: see [Process] and runtime.go.
//
// # Goroutines and blocking
//
// [Supervisor.Run] runs the child, and hands routes on; goroutines of its own read and
// write frames, ask for signs of life, and read what the child prints. They all end with
// the child. Another one logs, while there is something to log, and nobody waits for it
// but the end of Run, for a second. Reset, Leave and Status never block, Set takes the
// time to encode a configuration; Paths waits for its answer. Changed is called from any
// of them, without a lock.
//
// [Serve] has a goroutine for each of: frames, configurations and resets, status,
// routes, pings, signs of life of the speaker, the speaker itself; one for each question;
// and one that watches each call that is bounded.
package speaker
