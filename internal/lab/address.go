package lab

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockaddr is the address and port as the system calls want it.
func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}
