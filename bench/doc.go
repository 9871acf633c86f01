// Command bench measures multihomed, FRR and BIRD side by side: the same
// scenarios, one after the other in one run on the same machine, each in network
// namespaces of its own.
//
//	go run ./bench                        all scenarios
//	go run ./bench -sessions 100 bfd-scale
//	go run ./bench -prefixes 500000 bgp-load bgp-failover
//
// # What is compared
//
// Every candidate talks to the same far end, a second process of this program
// with package bfd. What a candidate costs is read from outside: the CPU clocks of
// all its processes, their peak resident memory, the packets that its network
// device counted. Whether a session flapped is asked of both ends. FRR and BIRD
// are Debian's packages with configurations, sockets and process ids in a
// temporary directory; an installation of them on the machine is not touched.
//
// CPU time is what the scheduler counted for the threads of a process, in user
// mode and in the kernel, and includes what the kernel did on its behalf while it
// was sending. Work of interrupts counts for whoever was interrupted, as on every
// Linux; that blurs small figures and is the same for all.
//
// # BGP
//
// The candidate of multihomed is the whole daemon, built from these sources unless
// -daemon names another. Each ISP is a host of its own with two more processes of this
// program: one with package bfd, which runs before all others as if it had a machine to
// itself, and one that announces a table of internal/bgptest, the same for all
// candidates and encoded before anything is measured.
//
// That a table is in the kernel is told by lookups of some two thousand of its prefixes,
// and once they are there by the kernel's own count of routes; both cost nothing that
// could be seen in the figures. A table has settled when those prefixes lead to the ISP
// with the shorter path. Memory is the sum of the high water marks of all processes of
// the candidate and of those that they started; "at one time" is the largest sum that a
// look every fifth of a second found.
//
// A session of BGP that ends while it is measured is an error. On a machine that is busy
// with something else, BFD at 3 x 50 ms ends some: choose a longer -interval for figures
// of bgp-load then, and say so.
//
// # What a result is
//
// A figure is the median of the runs, with the lowest and the highest. A
// candidate that did not come up, or died, or lost a session before the
// measurement began, is an error in the table and in the exit code, and has no
// figures. Ratios are to multihomed, which is 1: of what costs something, less is
// better.
//
// # Goroutines and blocking
//
// Scenarios run one after the other, and candidates too: nothing else that this
// program does runs while a candidate is measured, but for the far end and, in a
// flood, its sender. A process that was started is ended by its id, whatever
// happens; the kernel ends it if this program is killed (PR_SET_PDEATHSIG).
package main
