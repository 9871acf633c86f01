// Package engine is the one loop of the daemon: it looks at the evidence, lets
// package uplink decide, and drives the fib writer.
//
// # The way of the data
//
//	netmon ─▶ look (pure): hard evidence, facts ─┐
//	probe  ─▶ Board.Put ─────────────────────────┼─▶ step: Decide ─▶ Desired ─▶ fib.Writer.Sync
//	bfd, bgp ─▶ Board.Put ───────────────────────┘
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
// kernel watcher and one prober per way, each supervised: a panic in one is
// logged and it is started again with backoff. Meanwhile the evidence of a prober
// is unknown, and what the monitor saw last stays as it is.
// [Engine.Status] may be called from any goroutine and never waits for the
// kernel.
package engine
