// Package bgptest is a far end for tests and benchmarks: a BGP speaker that says
// exactly what it is told to say, also what is wrong, and notes what it hears.
//
// It has no tables, no policy and no timers but that of keepalives. Messages are
// octets; there are helpers for the usual ones, and for the tables of an Internet
// that never was: the same seed gives the same prefixes, AS paths and lengths of
// prefixes, distributed as in the real one.
//
//	l, err := bgptest.Socket{}.Listen(ctx, netip.MustParseAddrPort("127.0.0.1:0"))
//	p, err := bgptest.Accept(ctx, l, bgptest.Options{AS: 64501, ID: id})
//	defer p.Close()
//	err = p.Announce(bgptest.Attributes{ASPath: []uint32{64501}, NextHop: id}, prefix)
//	err = p.EndOfRIB(bgptest.IPv4)
//	a, err := p.WaitRoute(ctx, other)
//
// [Connect] and [Accept] return a [Peer] whose session is established; [Start] makes
// one of any connection, with nothing established yet. A connection for another
// network namespace is made by giving Connect a function, or Accept a listener, that
// was made there. [Peer.Wait] waits for anything that may be heard.
//
// [NewTable] makes tables, [NewMalformer] UPDATEs with which something is wrong.
//
// # Goroutines and blocking
//
// A Peer has a goroutine that reads and one that sends keepalives; both end with the
// connection. Sending blocks while the other side does not read, until Close. What
// waits ends with its context, or with the connection.
//
// It is used by tests of everything that speaks BGP, and imports nothing of it.
//
// References: RFC 4271, 4724, 4760, 5492, 6793, 8950; RFC 2385 and 5082 for [Socket].
package bgptest
