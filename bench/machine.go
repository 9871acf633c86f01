package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where a result comes from.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	// LoadBefore and LoadAfter are the load averages of a minute: more than the
	// candidates themselves means that the machine was not ours alone.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
}

func describeMachine() (machine, error) {
	m := machine{Cores: runtime.NumCPU(), CPU: runtime.GOARCH}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	if name, ok := field(string(text), "model name"); ok {
		m.CPU = name
	}
	if text, err = os.ReadFile("/proc/meminfo"); err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	total, _ := field(string(text), "MemTotal")
	kib, err := strconv.ParseUint(strings.TrimSuffix(total, " kB"), 10, 64)
	if err != nil {
		return m, fmt.Errorf("describe machine: MemTotal: %w", err)
	}
	m.Memory = kib << 10
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	m.Kernel = "Linux " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	m.LoadBefore, err = loadAverage()
	return m, err
}

// field finds the first line "name : value".
func field(text, name string) (string, bool) {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// hertz is USER_HZ, the unit of /proc/stat, the same on every architecture that Go
// knows.
const hertz = 100

// busyTime is what all cores together spent on anything but idling since the machine
// started, other guests of its host (steal) included.
func busyTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read busy time: %w", err)
	}
	return parseBusy(string(text))
}

// parseBusy reads the first line: user, nice, system, idle, iowait, irq, softirq,
// steal. What follows is part of user and nice.
func parseBusy(stat string) (time.Duration, error) {
	first, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read busy time: /proc/stat begins with %q", first)
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read busy time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / hertz, nil
}

func loadAverage() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, fmt.Errorf("read load average: %w", err)
	}
	one, _, _ := strings.Cut(string(text), " ")
	return strconv.ParseFloat(one, 64)
}
