package bfd

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// portOwner says who has a UDP port in a network namespace, such as "bfdd (process
// 1234)". net is a directory like /proc/self/net of a thread inside, proc is /proc, own
// are the inodes of sockets that do not count. It reads every process's descriptors,
// which takes a while.
func portOwner(proc, net string, port uint16, v6 bool, own map[uint64]bool) (string, error) {
	// A socket of IPv6 may hold the port of IPv4 as well.
	names := []string{"udp", "udp6"}
	if v6 {
		names = []string{"udp6"}
	}
	wanted := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(net, name))
		if err != nil {
			return "", fmt.Errorf("read table of sockets: %w", err)
		}
		for _, inode := range socketsOn(text, port) {
			if !own[inode] {
				wanted["socket:["+strconv.FormatUint(inode, 10)+"]"] = true
			}
		}
	}
	processes, err := os.ReadDir(proc)
	if err != nil {
		return "", fmt.Errorf("read processes: %w", err)
	}
	var owners []string
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil || !holds(filepath.Join(proc, p.Name(), "fd"), wanted) {
			continue
		}
		// It may have ended meanwhile.
		name, err := os.ReadFile(filepath.Join(proc, p.Name(), "comm"))
		if err == nil {
			owners = append(owners, fmt.Sprintf("%s (process %s)", bytes.TrimSpace(name), p.Name()))
		}
	}
	slices.Sort(owners)
	return strings.Join(slices.Compact(owners), " and "), nil
}

// socketsOn returns the inodes of the sockets on a port, from a table as
// /proc/net/udp, whose fields are explained in proc_net_tcp.rst of the kernel.
func socketsOn(table []byte, port uint16) []uint64 {
	suffix := fmt.Sprintf(":%04X", port)
	var inodes []uint64
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || !strings.HasSuffix(fields[1], suffix) {
			continue
		}
		if inode, err := strconv.ParseUint(fields[9], 10, 64); err == nil && inode != 0 {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

// holds reports whether a directory of descriptors has one of the wanted ones. What
// may not be read has none.
func holds(dir string, wanted map[string]bool) bool {
	descriptors, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, d := range descriptors {
		if target, err := os.Readlink(filepath.Join(dir, d.Name())); err == nil && wanted[target] {
			return true
		}
	}
	return false
}
