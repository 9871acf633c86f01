package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// missingRights returns an error that names the capabilities which this process
// lacks and needs, or nil. Without them every single write would fail.
func missingRights() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	var missing []string
	for _, c := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("this needs %s: run it as root, or give the program its capabilities as contrib/systemd/multihomed.service does", strings.Join(missing, " and "))
}
