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
// # Goroutines and blocking
//
// [Prober.Run] runs on the goroutine of its caller until the context ends and
// has one reader goroutine beside it, which ends with it. The report function
// is called from Run and must not block.
//
// References: RFC 792, RFC 4443, RFC 1122 sections 3.2.2 and 3.3.1.4, RFC 816;
// icmp(7), raw(7), Documentation/networking/timestamping.rst.
package probe
