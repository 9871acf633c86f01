// Package interop has only tests: package bgp against BIRD 2, FRR and a second
// [bgp.Speaker], each session a real one between network namespaces.
//
// # What it needs
//
// Root, /usr/sbin/bird with birdc, and FRR's bgpd, zebra and vtysh: on Debian
// `apt-get install -y bird2 frr`. Nothing of the configuration or of the running
// daemons of the machine is touched: every daemon that a test starts has its
// configuration, its sockets and its pid file in a temporary directory, lives in a
// namespace of the test, and is ended by its process id.
//
// # The scene
//
//	us ---------- eth0 ---------- far       IPv4, IPv6 and IPv6 link-local sessions
//
// Each Speaker is a process of its own, as in the daemon: this test program, started
// once more in the namespace, which takes orders on its standard input and tells what
// it learns on its standard output. So it can be killed, frozen and started again as
// the other daemons can. All sessions of a test run side by side; what holds for one
// path is asked of all of them.
//
// References: RFC 4271, 4724, 5082, 8212, 8326, 8538, 8950, 9003.
package interop
