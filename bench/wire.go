package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/multihomed/multihomed/internal/lab"
)

// device is the name of the wire's ends, on both hosts.
const device = "wire0"

// pair is the two addresses of one session.
type pair struct{ near, far netip.Addr }

// wire is two hosts with one cable between them, and a subnet for each session:
// a session over one hop is known by its interface and the address of its peer.
type wire struct {
	lab       *lab.Lab
	near, far *lab.Host
	pairs     []pair
}

// First addresses of the sessions' subnets, of 31 and 127 bits.
var (
	firstIPv4 = netip.MustParseAddr("10.0.0.0")
	firstIPv6 = netip.MustParseAddr("fd00:b:f:d::")
)

// newWire builds it for n sessions, 1 to 10,000.
func newWire(ctx context.Context, n int, ipv6 bool) (*wire, error) {
	l, err := lab.New(lab.Options{Name: "bench"})
	if err != nil {
		return nil, err
	}
	w := &wire{lab: l, pairs: makePairs(n, ipv6)}
	if err := w.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("build network: %w", err), l.Close())
	}
	return w, nil
}

func makePairs(n int, ipv6 bool) []pair {
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i] = pair{near: nth(2*i, ipv6), far: nth(2*i+1, ipv6)}
	}
	return pairs
}

// nth returns the address that is n after the first.
func nth(n int, ipv6 bool) netip.Addr {
	if ipv6 {
		a := firstIPv6.As16()
		binary.BigEndian.PutUint32(a[12:], uint32(n))
		return netip.AddrFrom16(a)
	}
	a := firstIPv4.As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(n))
	return netip.AddrFrom4(a)
}

func (w *wire) build(ctx context.Context) (err error) {
	if w.near, err = w.lab.Host("near"); err != nil {
		return err
	}
	if w.far, err = w.lab.Host("far"); err != nil {
		return err
	}
	if err := w.lab.Veth(w.near, device, w.far, device); err != nil {
		return err
	}
	nearMAC, err := hardwareAddress(w.near)
	if err != nil {
		return err
	}
	farMAC, err := hardwareAddress(w.far)
	if err != nil {
		return err
	}
	var near, far []netip.Addr
	for _, p := range w.pairs {
		near, far = append(near, p.near), append(far, p.far)
	}
	if err := populate(ctx, w.near, near, far, farMAC); err != nil {
		return err
	}
	return populate(ctx, w.far, far, near, nearMAC)
}

func hardwareAddress(h *lab.Host) (mac net.HardwareAddr, err error) {
	err = h.Do(func() error {
		dev, err := net.InterfaceByName(device)
		if err == nil {
			mac = dev.HardwareAddr
		}
		return err
	})
	return mac, err
}

// populate gives h its addresses, and permanent neighbour entries for the others:
// the kernel's limit for all that are learned (1,024 by default, for all network
// namespaces together) does not count those.
func populate(ctx context.Context, h *lab.Host, own, others []netip.Addr, mac net.HardwareAddr) error {
	for _, a := range own {
		if err := h.AddAddress(device, netip.PrefixFrom(a, a.BitLen()-1)); err != nil {
			return err
		}
	}
	var batch, out strings.Builder
	for _, a := range others {
		fmt.Fprintf(&batch, "neigh replace %s lladdr %s dev %s nud permanent\n", a, mac, device)
	}
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(batch.String()), &out, &out
	if err := h.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("add neighbours to %s: %w: %s", h.Name(), err, out.String())
	}
	return nil
}

// packets are those that the near host sent and received so far.
func (w *wire) packets() (uint64, error) {
	received, sent, err := w.near.Counters(device)
	return received + sent, err
}

// overflows returns how many datagrams the kernel of the near host could not put
// into a socket's receive buffer so far, of both families.
func (w *wire) overflows() (uint64, error) {
	var snmp, snmp6 []byte
	err := w.near.Do(func() (err error) {
		if snmp, err = os.ReadFile("/proc/thread-self/net/snmp"); err != nil {
			return err
		}
		snmp6, err = os.ReadFile("/proc/thread-self/net/snmp6")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read counters of UDP: %w", err)
	}
	return parseOverflows(string(snmp), string(snmp6))
}

func (w *wire) close() error { return w.lab.Close() }
