package netmon

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config says what to watch.
type Config struct {
	// Neighbours are kept fresh: the kernel is asked to probe each of them
	// every Interval.
	Neighbours []Watch
	// LearnFrom are the names of the links whose foreign default routes are
	// wanted in Snapshot.Defaults. Others are not read: a table may hold a
	// million routes.
	LearnFrom []string
	// OwnProtocol is the route protocol number of our own routes, which are
	// never learned from.
	OwnProtocol uint8
}

// Watch is one neighbour to watch.
type Watch struct {
	Link     string
	Address  netip.Addr
	Interval time.Duration
}

// Options are the parts of a Monitor that tests replace.
type Options struct {
	Log *slog.Logger
	// Poke is called after each new snapshot, also when nothing that the
	// caller knows of has changed. It must not block.
	Poke func()
}
