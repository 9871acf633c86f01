// Package uplink turns evidence into verdicts, and verdicts into the desired
// state of the kernel. It is pure: no goroutine, no I/O, no clock. Time is an
// argument.
//
// # The way of the data
//
//	[]Evidence ── Decide(policy, previous, evidence, now) ──▶ Verdicts ── Layout.Desired(facts, verdicts) ──▶ fib.Desired
//
// [Evidence] is what one source says of one uplink and family. [Decide] weighs
// it: hard evidence (device, carrier, address, gateway) rules a way out because
// the kernel could not use it; soft evidence (neighbour, ICMP, BFD, BGP) only
// suspects it. Down acts at once, up waits; a flapping uplink collects a penalty
// that decays (RFC 2439); an action must improve reachability, so the last
// usable uplink stays in use whatever soft evidence says, and a target that is
// dead through every uplink is the target's fault.
//
// [Layout.Desired] draws the whole small state anew each time: next hops, one
// group per family, rules, the balanced default and a table per uplink. The ids
// and numbers follow from the position of the uplink in the configuration, so
// the same configuration draws the same picture after a restart.
package uplink
