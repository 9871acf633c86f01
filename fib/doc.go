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
// A way that drains ([Member.Draining]) is the opposite case: it keeps its active
// object with a share that rounds to nothing, so that the buckets in use stay with
// it and the idle ones leave. [Netlink.Buckets] tells how many it still has.
//
// # Bulk
//
// The small state is computed whole and compared whole. The routes that a routing
// protocol brings are too many for that, and change by increments: [Bulk] keeps
// them in a table and under a protocol number of their own, and never looks at
// anything else.
//
//	Bulk.Set(prefix -> group) ──▶ entries, 16 octets each ──▶ queue ── BulkKernel.ApplyBulk
//	Bulk.Groups(group -> kernel id) ─┘          BulkKernel.ListBulk ──┘ look, repair
//
// A route leads to a group, by the id that Desired gives it, and a failover changes
// what the group holds: it is one write of the Writer, however many routes lead
// there. The two meet in the groups only. Whoever drives both calls, in this order
// and on one goroutine: [Bulk.InUse], whose groups are part of Desired until it
// names them no more; [Writer.Sync]; [Bulk.Groups] with [Writer.GroupIDs], after each
// Sync; and [Bulk.Invalidate] when a Sync had to make a group again, because the
// routes of the one before went with it. A group that InUse leaves out is led to no
// more until Groups has named it again, so it can be removed without a race.
//
// What is there and has not been told of is left alone until [Bulk.Sweep]: that is a
// restart, or after [Bulk.Unclaim] the restart of whoever calls Set. Routes of ours
// are created only where nothing is, replaced in place where ours are, and removed by
// protocol and metric. What the kernel refuses is tried again when groups change, or
// after a second to a minute, and stands in no other route's way. The table is read at
// the start, when somebody says that it may differ, and every ten minutes.
//
// Bulk writes go out 64 at a time over sockets of their own, and hold back while an
// Apply is at work. [Netlink.Watch] hears nothing of them. While Watch listens,
// [Netlink.List] reads only the tables that can have routes of the small state.
//
// # Goroutines and blocking
//
// [Writer] has none and is not safe for concurrent use. [Netlink.Watch] and
// [Keep] run on the goroutine of their caller and return when the context ends,
// and so does [Bulk.Run]. [Bulk.Set] waits while 200,000 prefixes are unwritten; the
// other methods of Bulk wait for a lock that is held for some 100 µs at a time. All
// survive lost events (ENOBUFS) and interrupted dumps (NLM_F_DUMP_INTR) by
// reading again. Kernel calls block for the time of one netlink exchange,
// bounded by a receive timeout.
//
// References: rtnetlink(7); include/uapi/linux/{rtnetlink,nexthop,fib_rules}.h;
// RFC 2992 for the split of hash-threshold groups.
package fib
