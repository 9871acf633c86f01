package main_test

import (
	"bytes"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/lab"
)

// patience bounds every wait: machines that run the tests are busy.
const patience = 30 * time.Second

// build compiles the example.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "embed")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func TestUsage(t *testing.T) {
	binary := build(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "usage: embed [--table N] INTERFACE,GATEWAY,WEIGHT ..."},
		{nil, 1, "no gateway given"},
		{[]string{"lo"}, 1, "want INTERFACE,GATEWAY,WEIGHT"},
		{[]string{"nowhere,192.0.2.1,1"}, 1, "no such network interface"},
		{[]string{"lo,here,1"}, 1, `ParseAddr("here")`},
		{[]string{"lo,192.0.2.1,257"}, 1, `weight "257" is not in 1..256`},
		{[]string{"--table", "x"}, 2, "invalid value"},
	} {
		cmd := exec.Command(binary, tt.args...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != tt.code || !strings.Contains(string(out), tt.want) {
			t.Errorf("%q: %v, want code %d and %q in:\n%s", tt.args, err, tt.code, tt.want, out)
		}
	}
}

// newEdge is a host with an ethernet to each of two others, in both families.
func newEdge(t *testing.T) *lab.Host {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := lab.New(lab.Options{Name: t.Name()})
	must(err)
	t.Cleanup(func() { must(l.Close()) })
	edge, err := l.Host("edge")
	must(err)
	for _, n := range []string{"1", "2"} {
		isp, err := l.Host("isp" + n)
		must(err)
		must(l.Veth(edge, "eth"+n, isp, "eth0"))
		for _, prefix := range []string{"10.0." + n + ".2/24", "2001:db8:" + n + "::2/64"} {
			must(edge.AddAddress("eth"+n, netip.MustParsePrefix(prefix)))
		}
	}
	return edge
}

// show runs ip and returns its output with single spaces.
func show(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.IP(args...)
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(out), " ")
}

// await waits until ip prints a text that holds.
func await(t *testing.T, h *lab.Host, what string, holds func(string) bool, args ...string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if holds(show(t, h, args...)) {
			return
		}
	}
	t.Fatalf("%s: ip %q says %q", what, args, show(t, h, args...))
}

func contains(parts ...string) func(string) bool {
	return func(out string) bool {
		for _, p := range parts {
			if !strings.Contains(out, p) {
				return false
			}
		}
		return true
	}
}

func TestKeepsAndWithdraws(t *testing.T) {
	edge := newEdge(t)
	var log bytes.Buffer
	cmd := exec.Command(build(t), "--table", "301",
		"eth1,10.0.1.1,3", "eth2,10.0.2.1,2", "eth1,2001:db8:1::1,3", "eth2,2001:db8:2::1,2")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := edge.Start(cmd); err != nil {
		t.Fatal(err)
	}
	for family, group := range map[string]string{"-4": "7080", "-6": "7081"} {
		await(t, edge, "default", contains("default nhid "+group), family, "route", "show", "table", "301")
		if _, err := edge.IP(family, "route", "del", "default", "table", "301"); err != nil {
			t.Fatal(err)
		}
		await(t, edge, "default restored", contains("default nhid "+group), family, "route", "show", "table", "301")
	}
	await(t, edge, "groups", contains("id 7080 group 7000,255/7002,170 type resilient", "id 7081 group 7004,255/7006,170 type resilient"), "nexthop", "show")

	if err := edge.SetDown("eth1"); err != nil {
		t.Fatal(err)
	}
	await(t, edge, "group without the dead link", contains("id 7080 group 7002"), "nexthop", "show")
	if err := edge.SetUp("eth1"); err != nil {
		t.Fatal(err)
	}
	await(t, edge, "group with the returned link", contains("id 7080 group 7000,255/7002,170", "id 7081 group 7004,255/7006,170"), "nexthop", "show")

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("end: %v\n%s", err, log.String())
	}
	if left := show(t, edge, "nexthop", "show"); left != "" {
		t.Errorf("next hops left: %s\n%s", left, log.String())
	}
	for _, family := range []string{"-4", "-6"} {
		if left := show(t, edge, family, "route", "show", "table", "all", "proto", "250"); left != "" {
			t.Errorf("routes left: %s\n%s", left, log.String())
		}
	}
}
