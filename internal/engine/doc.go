// Package engine is the one loop of the daemon: it looks at the evidence, lets
// package uplink decide, and drives the fib writer.
//
// # The way of the data
//
//	netmon ─▶ look (pure): hard evidence, facts ─┐
//	probe  ─▶ Board.Put ─────────────────────────┼─▶ step: Decide ─▶ Desired ─▶ fib.Writer.Sync
//	bfd    ─▶ Board.Put ─────────────────────────┘
//	kernel events ─▶ fib.Changes ─▶ Writer.Invalidate
//	SIGHUP, file  ─▶ Reload
//
// Every input only pokes the loop, which then looks at everything. Whoever has
// evidence of another kind (BFD, BGP) puts it on the [Board] and is done.
//
// # Goroutines and blocking
//
// [Engine.Run] is the loop: one goroutine, one select, one timer, and the only
// place where anything is decided or written. Beside it run the monitor, the
// kernel watcher, one prober per way, and the speaker of BFD from when an uplink
// first wants it, each supervised: a panic in one is logged and it is started
// again with backoff. Meanwhile the evidence of a prober or a session is unknown
// (a failed session stays failed), and what the monitor saw last stays as it is.
// The thread of the speaker puts a failure on the board itself; it waits for no
// lock that is held while something is written, asked or logged.
// [Engine.Status] may be called from any goroutine and never waits for the
// kernel.
package engine
