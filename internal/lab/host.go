package lab

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace. Its methods may be called from several
// goroutines.
type Host struct {
	name   string
	log    *slog.Logger
	thread *thread
	ns     netns.NsHandle
	nl     *netlink.Handle

	mu       sync.Mutex
	closed   bool
	commands []*exec.Cmd
	// memory of what was added per device, because the kernel drops IPv6
	// addresses and all static routes of a device that goes down.
	memory map[string]*memory
}

func newHost(name string, log *slog.Logger) (*Host, error) {
	t, err := startThread()
	if err != nil {
		return nil, err
	}
	h := &Host{name: name, log: log.With("host", name), thread: t, ns: t.ns, memory: map[string]*memory{}}
	if err := h.prepare(); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// prepare makes hosts equal on every machine: the IPv4 settings of a new
// namespace are copied from those of the machine.
func (h *Host) prepare() error {
	err := h.Do(func() (err error) {
		h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	for _, s := range []struct{ name, value string }{
		{"net/ipv4/ip_forward", "0"},
		{"net/ipv6/conf/all/forwarding", "0"},
		{"net/ipv4/conf/all/rp_filter", "0"},
		{"net/ipv4/conf/default/rp_filter", "0"},
		{"net/ipv6/conf/all/accept_dad", "0"},
		{"net/ipv6/conf/default/accept_dad", "0"},
		{"net/ipv6/conf/all/disable_ipv6", "0"},
		{"net/ipv6/conf/default/disable_ipv6", "0"},
	} {
		if err := h.Sysctl(s.name, s.value); err != nil {
			return err
		}
	}
	return h.SetUp("lo")
}

// Name is the name that was given to Lab.Host.
func (h *Host) Name() string { return h.name }

// Do runs fn on the host's own thread, inside the namespace: sockets that fn
// opens, programs that it starts and files under /proc/sys/net belong to the
// host, and descriptors stay what they are afterwards. Calls are serialised, so
// fn must not block for long, must not call Do, Start, IP or Sysctl of the same
// host and must not end its goroutine (t.Fatal). A panic of fn is passed on to the caller.
func (h *Host) Do(fn func() error) error { return h.thread.do(fn) }

// Start starts cmd inside the namespace. The program is killed when the lab
// closes and when this process dies. As ever, the caller calls cmd.Wait.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The signal comes when the thread that started the program ends, which is
	// the host's own: it lives until the lab closes.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := h.Do(cmd.Start); err != nil {
		return fmt.Errorf("start %s on %s: %w", cmd.Path, h.name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.Join(fmt.Errorf("start %s on %s: %w", cmd.Path, h.name, ErrClosed), end(cmd))
	}
	h.commands = append(h.commands, cmd)
	return nil
}

// IP runs iproute2's ip with args inside the namespace and returns its output. It
// is a witness for tests and people; the lab itself speaks netlink.
func (h *Host) IP(args ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.Command("ip", args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := h.Do(cmd.Start); err != nil {
		return "", fmt.Errorf("run ip %s on %s: %w", strings.Join(args, " "), h.name, err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("run ip %s on %s: %w: %s%s",
			strings.Join(args, " "), h.name, err, out.String(), strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// Sysctl writes a setting of the namespace, with slashes: "net/ipv4/ip_forward".
// Only names below net/ are accepted, because others belong to the whole machine;
// below net/ the kernel shows a namespace no more than its own.
func (h *Host) Sysctl(name, value string) error {
	if !strings.HasPrefix(name, "net/") || path.Clean(name) != name {
		return fmt.Errorf("set %s on %s: not a setting of a network namespace, use a name like net/ipv4/ip_forward", name, h.name)
	}
	err := h.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("set %s=%s on %s: %w", name, value, h.name, err)
	}
	return nil
}

// Forward turns the host into a router of both families.
func (h *Host) Forward() error {
	return errors.Join(
		h.Sysctl("net/ipv4/ip_forward", "1"),
		h.Sysctl("net/ipv6/conf/all/forwarding", "1"),
	)
}

// close ends programs, netlink and thread, in this order.
func (h *Host) close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	commands := h.commands
	h.mu.Unlock()

	var errs []error
	for _, cmd := range commands {
		errs = append(errs, end(cmd))
	}
	if h.nl != nil {
		h.nl.Close()
	}
	errs = append(errs, h.thread.stop())
	return errors.Join(errs...)
}

// end kills the program and waits until it is dead, but leaves its exit status to
// the cmd.Wait of whoever started it.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return fmt.Errorf("kill %s: %w", cmd.Path, err)
	}
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case err == nil, errors.Is(err, unix.ECHILD):
			return nil
		case errors.Is(err, unix.EINTR):
		default:
			return fmt.Errorf("wait for %s: %w", cmd.Path, err)
		}
	}
}
