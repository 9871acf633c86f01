// Package probe asks distant targets, through one uplink and in one family,
// whether they answer: ICMP echo, with loss and round-trip time over a window.
//
// A [Prober] owns one raw ICMP socket, bound to the device, the source address
// and the firewall mark of its uplink, so that its packets never follow the
// decision that they feed. Every reply must carry our cookie, come from the
// target it was sent to and arrive on the device it left by. The socket is
// reopened with backoff after any error.
//
// The opinion about a target ([Target.Opinion]) is drawn by a pure state
// machine from sent, answered, lost and unreachable events; the quorum over
// targets is not drawn here, because only the one who sees all uplinks can tell
// a dead uplink from a dead target.
//
// Redirects and unreachables that the gateway itself sends are counted as
// advice (RFC 1122 section 3.3.1.4).
//
// # What is believed
//
// A loss is a probe whose answer the kernel did not receive within the timeout,
// or of which a router or the kernel says that it cannot arrive: one lost probe,
// at once. What this host itself cannot send (buffers, a firewall, a missing
// device) is no loss; if it lasts, the targets are Unknown. Answers that are
// late, double, foreign or from another device are counted by reason
// ([Ignored]) and change nothing.
//
// Shares are drawn from a window of 20 probes, of more where LossEnter is finer
// than 10 % (2/LossEnter, at most 1000), once it is half full, and never from
// one probe alone. A silent cut is known after Down intervals and one timeout,
// plus the jitter of 5 % of the interval at both ends.
//
// The gateway's word ([Advice]) never touches an opinion. Redirects are counted
// without the check of the hop limit (RFC 4861 section 8.1), because nothing
// depends on them.
//
// # Wake-ups
//
// At intervals of 500 ms and more the targets of a prober are asked together,
// within the jitter that each may have, and answers are gathered: packets may lie
// in the socket for 5 % of the interval, at most 100 ms, before they are read. A
// round then takes two wake-ups however many targets there are, three where the
// round trips are longer or far apart. Round trips are not changed by it, because
// the kernel stamps each packet when it comes. What changes is that an
// unreachable is a lost probe up to that much later, and a silent loss 1 ms
// later. A first opinion is never kept waiting, and under a flood, which could
// fill the socket, nothing is. At shorter intervals the targets are evenly apart
// and each packet is read at once.
//
// Once a second, and when a send fails, the socket looks whether its device is
// still the one of that name.
//
// # Goroutines and blocking
//
// [Prober.Run] runs on the goroutine of its caller until the context ends, and
// has no other: one wait covers the socket and the next thing that is due. The
// end of the context closes the socket and with it the wait. The report function
// is called from Run and must not block. An idle prober allocates nothing per
// probe beyond what a receive and a report need.
//
// References: RFC 792, RFC 4443, RFC 1122 sections 3.2.2 and 3.3.1.4, RFC 816;
// icmp(7), raw(7), Documentation/networking/timestamping.rst.
package probe
