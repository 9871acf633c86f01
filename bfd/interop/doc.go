// Package interop has only tests: package bfd against BIRD 2 and FRR, each session
// a real one between network namespaces.
//
// # What it needs
//
// Root, /usr/sbin/bird with birdc, and FRR's bfdd, zebra and vtysh: on Debian
// `apt-get install -y bird2 frr`. Nothing of the configuration or of the running
// daemons of the machine is touched: every daemon that a test starts has its
// configuration, its sockets and its pid file in a temporary directory, lives in a
// namespace of the test, and is ended by its process id.
//
// # The scene
//
//	us ---------- eth0 ---------- far       one hop: IPv4, IPv6, IPv6 link-local
//	 \                             /
//	hops0 ---- router ---------- hops0      two hops: IPv4, IPv6
//
// The Speaker under test is in us, BIRD or FRR in far. All five sessions run in
// each test, side by side, and each test runs once against each peer; what holds
// for one path is asked of all of them.
//
// # What the peers do not do
//
// Found with BIRD 2.0.12 and FRR 8.4.4, which is why some cases have one peer only:
//
//   - FRR has no authentication.
//   - BIRD has no administrative shutdown that its peers would learn of: a disabled
//     protocol falls silent. So do both daemons when they end.
//   - BIRD has no echo, and neither asks for Demand mode.
//   - BIRD sends multihop packets with the kernel's default hop limit of 64, not 255:
//     the minimum that we ask for has to follow.
//
// References: RFC 5880, 5881, 5882 and 5883.
package interop
