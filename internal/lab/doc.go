// Package lab builds networks of Linux network namespaces: for the tests of this
// module, for `multihomed demo` and for the benchmarks.
//
// # What it owns
//
// A [Lab] is a set of hosts. A [Host] is one network namespace, anonymous: it has
// no name under /run/netns, it lives only through one locked OS thread and a few
// descriptors of this process. When the process ends, in whatever way, the kernel
// removes the namespaces with all their links, routes and rules; the programs
// that [Host.Start] started are killed with it (PR_SET_PDEATHSIG). Nothing outside
// of these namespaces is ever changed, and any number of labs run side by side.
//
// # Goroutines and blocking
//
// Each host has one goroutine, locked to its thread, which runs the functions
// given to [Host.Do] one after the other; it ends with [Lab.Close]. Each side of a
// [Tunnel] has a goroutine that relays packets. Everything that changes links,
// addresses and routes blocks for one netlink exchange.
//
// # Rights
//
// Making a network namespace needs CAP_SYS_ADMIN. [Enter] gets it for an
// ordinary user by running the program again in a user namespace of its own
// (user_namespaces(7)).
//
// References: network_namespaces(7), veth(4), Documentation/networking/tuntap.rst.
package lab
