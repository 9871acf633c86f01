// Package uplink turns evidence into verdicts, and verdicts into the desired
// state of the kernel. It is pure: no goroutine, no I/O, no clock. Time is an
// argument.
//
// # The way of the data
//
//	[]Evidence ── Decide(policy, previous, evidence, now) ──▶ Verdicts ── Layout.Desired(facts, verdicts, choices) ──▶ fib.Desired
//
// [Evidence] is what one source says of one uplink and family. [Decide] weighs
// it: hard evidence (device, carrier, address, gateway) rules a way out because
// the kernel could not use it; soft evidence (neighbour, ICMP, BFD, BGP) only
// suspects it. Down acts at once, up waits; a flapping uplink collects a penalty
// that decays (RFC 2439); an action must improve reachability, so the last
// usable uplink stays in use whatever soft evidence says, and a target that is
// dead through every uplink is the target's fault.
//
// A way that is drained ([Member].Drain) gives its new flows away and keeps the
// ones that it has, as long as another way of its family is fit; undrained, it is
// what it would have been. A way that only waited for the first word of a session has
// had no outage, so it does not wait again.
//
// [Layout.Desired] draws the whole small state anew each time: next hops, one
// group per family, rules, the balanced default and a table per uplink. The ids
// and numbers follow from the position of the uplink in the configuration, so
// the same configuration draws the same picture after a restart.
//
// A [Choice] is a group that many prefixes point at: the uplinks that offer them, in
// ranks, whoever is alive. What its group holds follows the verdicts, so that a
// failover rewrites the few groups and no prefix:
//
//   - the fit ways of the first rank that has one carry the traffic. Fit is what is
//     live, of whatever tier, and what is in use although it waits after an outage;
//   - ways of that rank or one before that drain keep their flows;
//   - ways of later ranks stand by, and those of the default group that are not in it
//     yet, the most trusted first, because the kernel has room for few;
//   - if no way is fit, the members are those of the default group: a prefix is
//     never worse off than everything else.
//
// [Bandwidths] turns bandwidths into weights, which [Fact].Weight brings in.
package uplink
