package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseOverflows adds up RcvbufErrors of /proc/net/snmp and /proc/net/snmp6. The
// first has a line with names and one with values for each protocol, the second a
// line for each counter.
func parseOverflows(snmp, snmp6 string) (uint64, error) {
	const where4, where6 = "RcvbufErrors", "Udp6RcvbufErrors"
	var names []string
	for line := range strings.Lines(snmp) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		i := slices.Index(names, where4)
		if i < 0 || i >= len(fields) {
			return 0, fmt.Errorf("read counters of UDP: no %s", where4)
		}
		four, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read counters of UDP: %w", err)
		}
		six, err := counter6(snmp6, where6)
		return four + six, err
	}
	return 0, fmt.Errorf("read counters of UDP: no %s", where4)
}

func counter6(snmp6, name string) (uint64, error) {
	for line := range strings.Lines(snmp6) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseUint(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read counters of UDP: %w", err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("read counters of UDP: no %s", name)
}
