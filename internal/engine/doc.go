// Package engine is the one loop of the daemon: it looks at the evidence, lets
// package uplink decide, and drives the fib writer.
//
// # The way of the data
//
//	netmon ─▶ look (pure): hard evidence, facts ─┐
//	probe  ─▶ Board.Put ─────────────────────────┼─▶ step: Decide ─▶ Desired ─▶ fib.Writer.Sync
//	bfd    ─▶ Board.Put ─────────────────────────┤
//	speaker: sessions ─▶ evidence, drains, weights┘   after Sync: bgp.Config ─▶ speaker
//	speaker: routes ─▶ fib.Bulk ─▶ kernel         groups in use ─▶ Desired, groups held ─▶ fib.Bulk
//	kernel events ─▶ fib.Changes ─▶ Writer.Invalidate
//	SIGHUP, file  ─▶ Reload
//
// Every input only pokes the loop, which then looks at everything. Whoever has
// evidence of another kind puts it on the [Board] and is done.
//
// # BGP
//
// The sessions are those of package speaker, in a process of its own. The loop reads
// what they say before it decides (bgp_evidence.go says what it means), and tells after
// the kernel was written what is wanted of them: the whole of it, each time that it
// differs. That the process dies touches nothing; see bgp_evidence.go for how long what
// it said last is believed.
//
// Prefixes do not come by the loop: package fib leads them to groups on a goroutine of
// its own, and the loop draws a group for each choice that is in use, in the same pass as
// the default (bgp_bulk.go). What is drained, and which session has which place in a
// choice, is remembered in a file ([Options.Memory]): groups in the kernel outlive us.
//
// # Goroutines and blocking
//
// [Engine.Run] is the loop: one goroutine, one select, one timer, and the only
// place where anything is decided or written. Beside it run the monitor, the
// kernel watcher, one prober per way, the speakers of BFD and BGP from when an uplink
// first wants them, and the writer of prefixes while there are any, each supervised: a panic in one is logged and it is started
// again with backoff. Meanwhile the evidence of a prober or a session is unknown
// (a failed session stays failed), and what the monitor saw last stays as it is.
// The thread of the speaker puts a failure on the board itself; it waits for no
// lock that is held while something is written, asked or logged.
// [Engine.Status], [Engine.Drain] and [Engine.Undrain] may be called from any goroutine
// and never wait for the kernel; [Engine.Routes] waits for the speaker's answer.
package engine
