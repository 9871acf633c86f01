// Package netmon watches the links, addresses, neighbours and foreign default
// routes of the host.
//
// It owns one netlink subscription and the latest [Snapshot]. An event is never
// applied: it means "look again". The monitor reads the parts that may have
// changed, publishes a new snapshot and pokes its owner. The first event after a
// quiet time is looked at at once, a burst every 10 ms. Lost events (ENOBUFS) make
// it read everything, a failed socket makes it open another and read everything, an
// interrupted dump is read again; and once a minute it reads everything for no
// reason at all.
//
// It also keeps watched neighbours fresh. It never sends ARP or neighbour
// solicitations of its own: it asks the kernel to probe, so that the kernel's
// retransmission timer (one per second, RFC 4861 section 7.3.3) holds for the
// host as a whole.
//
// # Goroutines and blocking
//
// [Monitor.Run] runs on the goroutine of its caller until the context ends; it
// never returns for any other reason. Beside it run a goroutine that reads the
// event socket and, while default routes are read, one more: a table may hold a
// million routes and the news of a lost carrier must not wait behind them.
// [Monitor.Snapshot] never blocks on the kernel. The poke function must not block.
//
// A panic in any of them is contained and logged with its stack; that part is started
// again with backoff and reads everything, and the last snapshot stays meanwhile.
//
// # Namespace and rights
//
// All sockets belong to the network namespace of the thread that called [New],
// also those that are opened again later from another thread. Probing neighbours
// needs CAP_NET_ADMIN; only a monitor whose namespace is not that of the process
// needs CAP_SYS_ADMIN (setns(2)) on top. Linux 5.0 or newer.
//
// References: rtnetlink(7), netlink(7), RFC 4861 section 7.3 (neighbour states),
// RFC 7048 (patience with a silent neighbour), include/uapi/linux/neighbour.h,
// net/core/neighbour.c.
package netmon
