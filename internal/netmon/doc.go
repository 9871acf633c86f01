// Package netmon watches the links, addresses, neighbours and foreign default
// routes of the host.
//
// It owns one netlink subscription and the latest [Snapshot]. An event is never
// applied: it means "look again". The monitor reads the parts that may have
// changed, publishes a new snapshot and pokes its owner. A lost event (ENOBUFS),
// an interrupted dump or a closed socket makes it reconnect and read everything.
//
// # Goroutines and blocking
//
// [Monitor.Run] runs on the goroutine of its caller until the context ends; it
// never returns for any other reason. [Monitor.Snapshot] never blocks on the
// kernel. The poke function must not block.
//
// References: rtnetlink(7), RFC 4861 section 7.3 (neighbour states),
// include/uapi/linux/neighbour.h.
package netmon
