// Package demo is what `multihomed demo` shows: a real failover, without touching
// the machine.
//
// It builds a LAN, an edge, two ISPs and an internet out of network namespaces,
// runs the multihomed binary on the edge, sends traffic from the LAN, and breaks
// and repairs the ISPs one after the other. What it reports it has seen on the
// wire: taps at the ISPs tell who carries which flow, the sequence numbers of the
// flows tell what was lost. The daemon's own word is shown beside it and must
// agree.
//
// # Goroutines and blocking
//
// [Run] blocks until the demo is over or its context ends; what it starts ends
// with it. It writes below a temporary directory and nowhere else, and keeps that
// directory only if the demo failed.
package demo
