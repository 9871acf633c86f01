// Package fib makes the forwarding state of a Linux network namespace equal to
// a desired state, and keeps it equal.
//
// # What it owns
//
// Four kinds of kernel objects, and of those only the ones that [Owner]
// recognises from the kernel alone: next hops and next-hop groups (route
// protocol and id range), routes (route protocol), policy rules (rule protocol
// and priority range). Everything else is foreign and is never written.
//
// # The way of the data
//
//	Desired ── lower(capabilities) ──▶ State ─┐
//	                                          ├─ Plan ──▶ []Op ── Kernel.Apply
//	Kernel.List ────────────────────▶ State ──┘
//
// A caller describes what it wants in its own terms ([Desired]): uplinks as
// next hops, groups of them with weights and standbys, routes, rules. Lowering
// turns that into what this kernel can hold: resilient groups whose standbys
// own no bucket, plain groups without standbys, or inline multipath routes on
// kernels without next-hop objects. [Plan] compares that with what the kernel
// holds and orders the writes: the contents of groups first (this is the
// failover), then additions from the leaves up, then deletions from the top
// down. No live object is ever deleted to be added again.
//
// Lowering and planning are pure functions. [Writer] is the only thing here
// with memory: it caches the state that the kernel last acknowledged, so a
// failover needs no dump, and re-reads when told that the kernel may differ.
//
// # Standbys without buckets
//
// Linux removes the next hops of a device from every group the moment the
// device loses its carrier, and deletes a group that this leaves empty together
// with all its routes (net/ipv4/nexthop.c, remove_nexthop_from_groups). So a
// group should never hold a single device while another way exists. In a
// resilient group a member whose rounded share is zero gets no bucket and hence
// no packet, but inherits every bucket when the others vanish: failover in the
// kernel, with no daemon awake. Each desired next hop therefore becomes two
// kernel objects, the active one and its standby twin: leaving the active role
// removes the active object from the group, which moves its buckets at once,
// where a mere change of weight would leave busy flows on a dead way
// (Documentation/networking/nexthop-group-resilient.rst, "Migration of
// buckets").
//
// # Goroutines and blocking
//
// [Writer] has none and is not safe for concurrent use. [Netlink.Watch] and
// [Keep] run on the goroutine of their caller and return when the context ends;
// both survive lost events (ENOBUFS) and interrupted dumps (NLM_F_DUMP_INTR) by
// reading again. Kernel calls block for the time of one netlink exchange,
// bounded by a receive timeout.
//
// References: rtnetlink(7); include/uapi/linux/{rtnetlink,nexthop,fib_rules}.h;
// RFC 2992 for the split of hash-threshold groups.
package fib
