package main

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// lockNamespace makes this process the only one that writes with protocol in this
// network namespace, until the returned function is called or the process ends,
// however it ends: two daemons would repair each other for ever. Names of abstract
// unix sockets belong to the network namespace (unix(7)), so no file is left
// behind and no other namespace is in the way.
func lockNamespace(protocol uint8) (release func() error, err error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("@multihomed/%d", protocol), Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("another multihomed with protocol %d runs in this network namespace (perhaps with another --socket): stop it first", protocol)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the network namespace: %w", err)
	}
	return l.Close, nil
}
