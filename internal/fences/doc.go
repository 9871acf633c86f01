// Package fences keeps the rules of this module that a compiler does not: who
// may import whom, which library stays in which package, and what code and tests
// never do. It holds only tests.
//
// The import graph points one way:
//
//	cmd ─▶ internal/engine ─▶ leaves
//
// Leaves (fib, config, internal/netmon, internal/probe, internal/status, bgp,
// bfd) import nothing else of this module, so that each can be used and tested
// alone. A new package needs a line in the table of imports_test.go before it
// can be imported or import anything.
package fences
