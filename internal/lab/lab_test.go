package lab

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New(Options{Name: t.Name()})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

func newTestHost(t *testing.T, l *Lab, name string) *Host {
	t.Helper()
	h, err := l.Host(name)
	must(t, err)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor polls a condition that the kernel or another program makes true.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("gave up waiting until %s", what)
		case <-tick.C:
		}
	}
}

// pings sends one echo request with the kernel's ping sockets.
func pings(t *testing.T, h *Host, target netip.Addr, timeout time.Duration) bool {
	t.Helper()
	must(t, h.Sysctl("net/ipv4/ping_group_range", "0 0"))
	fd, protocol, request := -1, unix.IPPROTO_ICMP, []byte{8, 0, 0, 0, 0, 0, 0, 1}
	if target.Is6() {
		protocol, request = unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 0, 0, 1}
	}
	must(t, h.Do(func() (err error) {
		fd, err = unix.Socket(family(target), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol)
		return err
	}))
	defer func() { must(t, unix.Close(fd)) }()
	tv := unix.NsecToTimeval(timeout.Nanoseconds())
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	if err := unix.Sendto(fd, request, 0, sockaddr(target, 0)); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, _, err := unix.Recvfrom(fd, reply, 0)
	return err == nil && n >= 8 && (reply[0] == 0 || reply[0] == 129)
}

const patient = 10 * time.Second

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// pair is two hosts on one cable with addresses of both families.
func pair(t *testing.T, l *Lab) (a, b *Host) {
	t.Helper()
	a, b = newTestHost(t, l, "a"), newTestHost(t, l, "b")
	must(t, l.Veth(a, "eth0", b, "eth0"))
	for _, p := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		must(t, a.AddAddress("eth0", prefix(p)))
	}
	for _, p := range []string{"192.0.2.2/24", "2001:db8::2/64"} {
		must(t, b.AddAddress("eth0", prefix(p)))
	}
	return a, b
}

var pairB = []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}

func TestVethCarriesBothFamilies(t *testing.T) {
	t.Parallel()
	a, _ := pair(t, newTestLab(t))
	for _, target := range pairB {
		if !pings(t, a, target, patient) {
			t.Errorf("no answer from %s", target)
		}
	}
}

func TestStartRunsInsideAndEndsWithTheLab(t *testing.T) {
	t.Parallel()
	l := newTestLab(t)
	h := newTestHost(t, l, "a")
	cmd := exec.Command("sleep", "3600")
	must(t, h.Start(cmd))
	var own string
	must(t, h.Do(func() (err error) { own, err = os.Readlink("/proc/thread-self/ns/net"); return err }))
	theirs, err := os.Readlink("/proc/" + itoa(cmd.Process.Pid) + "/ns/net")
	must(t, err)
	mine, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	if theirs != own || theirs == mine {
		t.Errorf("the program is in %s, the host in %s, the test in %s", theirs, own, mine)
	}
	must(t, l.Close())
	// Dead on return, not only doomed; its status is still there for Wait.
	stat, err := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/stat")
	must(t, err)
	if !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the program is not dead after Close: %s", stat)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Success() {
		t.Errorf("the program ended by itself: %v", err)
	}
	if err := h.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
	if err := h.Start(exec.Command("true")); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
	if _, err := l.Host("b"); !errors.Is(err, ErrClosed) {
		t.Errorf("Host after Close: %v", err)
	}
}

func TestStartReportsWhatCannotStart(t *testing.T) {
	t.Parallel()
	h := newTestHost(t, newTestLab(t), "a")
	if err := h.Start(exec.Command("/nonexistent/program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestIPReportsWhatIPSaid(t *testing.T) {
	t.Parallel()
	h := newTestHost(t, newTestLab(t), "a")
	_, err := h.IP("link", "show", "dev", "nothere0")
	if err == nil || !strings.Contains(err.Error(), "nothere0\" does not exist") {
		t.Errorf("got %v", err)
	}
}

func TestDoSurvivesAPanic(t *testing.T) {
	t.Parallel()
	h := newTestHost(t, newTestLab(t), "a")
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = h.Do(func() error { panic("boom") })
	}()
	must(t, h.Do(func() error { return nil }))
}

func TestDoReportsGoexit(t *testing.T) {
	t.Parallel()
	h := newTestHost(t, newTestLab(t), "a")
	if err := h.Do(func() error { goexit(); return nil }); !errors.Is(err, errGoexit) {
		t.Errorf("got %v", err)
	}
	if err := h.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestSysctlRefusesTheMachinesSettings(t *testing.T) {
	t.Parallel()
	h := newTestHost(t, newTestLab(t), "a")
	for _, name := range []string{"kernel/panic", "net/../kernel/panic", "/net/ipv4/ip_forward", "net.ipv4.ip_forward"} {
		if err := h.Sysctl(name, "0"); err == nil || !strings.Contains(err.Error(), "not a setting of a network namespace") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.Sysctl("net/ipv4/nonsense", "0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestForwardStaysInTheNamespace(t *testing.T) {
	t.Parallel()
	names := []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}
	read := func() (v string) {
		for _, n := range names {
			b, err := os.ReadFile(n)
			must(t, err)
			v += strings.TrimSpace(string(b))
		}
		return v
	}
	outside := read()
	l := newTestLab(t)
	h, other := newTestHost(t, l, "a"), newTestHost(t, l, "b")
	must(t, h.Forward())
	for _, c := range []struct {
		h    *Host
		want string
	}{{h, "11"}, {other, "00"}} {
		var got string
		must(t, c.h.Do(func() error { got = read(); return nil }))
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.h.Name(), got, c.want)
		}
	}
	if read() != outside {
		t.Error("the setting of the machine changed")
	}
}

func TestSetUpRestoresWhatTheKernelDropped(t *testing.T) {
	t.Parallel()
	a, b := pair(t, newTestLab(t))
	far := []netip.Prefix{prefix("198.51.100.1/32"), prefix("2001:db8:ffff::1/128")}
	for i, p := range far {
		must(t, b.AddAddress("lo", p))
		must(t, a.AddRoute(p, pairB[i], "eth0"))
	}
	// A route of the other family's next hop, and one to the device itself.
	must(t, a.AddRoute(prefix("198.51.100.2/32"), pairB[1], "eth0"))
	must(t, b.AddAddress("lo", prefix("198.51.100.2/32")))
	must(t, a.AddRoute(prefix("198.51.100.3/32"), netip.Addr{}, "eth0"))
	must(t, b.AddAddress("lo", prefix("198.51.100.3/32")))

	must(t, a.SetDown("eth0"))
	out, err := a.IP("-6", "address", "show", "dev", "eth0")
	must(t, err)
	if strings.Contains(out, "2001:db8::1") {
		t.Fatalf("the kernel kept the address, this test proves nothing: %s", out)
	}
	must(t, a.SetUp("eth0"))
	must(t, a.SetUp("eth0"))
	for _, target := range append(pairB, far[0].Addr(), far[1].Addr(), addr("198.51.100.2"), addr("198.51.100.3")) {
		if !pings(t, a, target, patient) {
			t.Errorf("no answer from %s after down and up", target)
		}
	}
}

func TestRemoveAddress(t *testing.T) {
	t.Parallel()
	a, _ := pair(t, newTestLab(t))
	must(t, a.RemoveAddress("eth0", prefix("2001:db8::1/64")))
	if err := a.RemoveAddress("eth0", prefix("2001:db8::1/64")); err == nil {
		t.Error("removed an address twice")
	}
	must(t, a.SetDown("eth0"))
	must(t, a.SetUp("eth0"))
	out, err := a.IP("address", "show", "dev", "eth0")
	must(t, err)
	if strings.Contains(out, "2001:db8::1") || !strings.Contains(out, "192.0.2.1") {
		t.Errorf("wrong addresses: %s", out)
	}
}

func TestDeleteLinkForgets(t *testing.T) {
	t.Parallel()
	l := newTestLab(t)
	a, b := pair(t, l)
	must(t, a.DeleteLink("eth0"))
	if err := a.DeleteLink("eth0"); err == nil {
		t.Error("deleted a device twice")
	}
	waitFor(t, "the far end is gone", func() bool { _, err := b.Index("eth0"); return err != nil })
	must(t, l.Veth(a, "eth0", b, "eth0"))
	out, err := a.IP("address", "show", "dev", "eth0")
	must(t, err)
	if strings.Contains(out, "192.0.2.1") {
		t.Errorf("the new device has the addresses of the old one: %s", out)
	}
}

func TestCarrierFollowsTheFarEnd(t *testing.T) {
	t.Parallel()
	a, b := pair(t, newTestLab(t))
	for _, up := range []bool{false, true, false, true} {
		if up {
			must(t, b.SetUp("eth0"))
		} else {
			must(t, b.SetDown("eth0"))
		}
		waitFor(t, "the carrier follows", func() bool {
			out, err := a.IP("-o", "link", "show", "eth0")
			must(t, err)
			return strings.Contains(out, "LOWER_UP") == up
		})
	}
	if !pings(t, a, pairB[0], patient) || !pings(t, a, pairB[1], patient) {
		t.Error("no answer after the carrier came back")
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	a, _ := pair(t, newTestLab(t))
	rx, tx, err := a.Counters("eth0")
	must(t, err)
	if !pings(t, a, pairB[0], patient) {
		t.Fatal("no answer")
	}
	rx2, tx2, err := a.Counters("eth0")
	must(t, err)
	if rx2 <= rx || tx2 <= tx {
		t.Errorf("counters stood still: %d %d, %d %d", rx, tx, rx2, tx2)
	}
	if _, _, err := a.Counters("nothere0"); err == nil {
		t.Error("counters of a device that does not exist")
	}
}
