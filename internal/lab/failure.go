package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Blackhole makes the host drop, without a word, everything that it would route
// for others, in both families. It still answers for its own addresses: ARP,
// neighbour discovery and ping. This is the failure behind a gateway that looks
// healthy. Asking for what is already so is no error.
func (h *Host) Blackhole(on bool) error {
	var errs []error
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rule := blackholeRule(family)
		var err error
		if on {
			err = h.nl.RuleAdd(rule)
			if errors.Is(err, unix.EEXIST) {
				err = nil
			}
		} else {
			err = h.nl.RuleDel(rule)
			if errors.Is(err, unix.ENOENT) {
				err = nil
			}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("set blackhole %t on %s: %w", on, h.name, err)
	}
	return nil
}

// silence drops whatever comes to the host, through it or from it, before anything
// else sees it; ARP is not IP and goes on.
const silence = `
table inet silence {
	chain in { type filter hook prerouting priority -500; policy drop; }
	chain out { type filter hook output priority -500; policy drop; }
}`

// Silence makes the host drop, without a word, everything in both families that
// comes to it, through it or from it, while its links stay as they are: the failure
// of a line that only its own end could tell of. Asking for what is already so is
// no error.
func (h *Host) Silence(on bool) error {
	// The first line makes the second one possible where there is no table.
	rules := "table inet silence\ndelete table inet silence\n"
	if on {
		rules += silence
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var said bytes.Buffer
	cmd.Stderr = &said
	err := h.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("set silence %t on %s by nft (apt-get install -y nftables): %w %s", on, h.name, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// blackholeRule matches what came in by a device. The kernel puts it behind the
// rule of the local table, which has the same priority, so that what is for the
// host itself never meets it; "not iif lo" lets the host's own answers out.
func blackholeRule(family int) *netlink.Rule {
	r := netlink.NewRule()
	r.Family = family
	r.Priority = 0
	r.IifName = "lo"
	r.Invert = true
	r.Type = unix.RTN_BLACKHOLE
	return r
}

// DeafGateway makes the host ignore ARP and IPv6 on dev, as a gateway does whose
// processor hangs: whoever sends by it sees the neighbour fail. Packets of IPv4
// that others still address to its MAC are forwarded until their neighbour entry
// expires; combine it with Blackhole for a gateway that is altogether dead. IPv6
// addresses and the routes over dev come back when it hears again. Asking for
// what is already so is no error.
func (h *Host) DeafGateway(dev string, on bool) error {
	if err := h.setDeaf(dev, on); err != nil {
		return fmt.Errorf("set deaf %t on %s %s: %w", on, h.name, dev, err)
	}
	return nil
}

func (h *Host) setDeaf(dev string, on bool) error {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return err
	}
	setARP, disable := h.nl.LinkSetARPOn, "0"
	if on {
		setARP, disable = h.nl.LinkSetARPOff, "1"
	}
	if err := h.Sysctl("net/ipv6/conf/"+dev+"/disable_ipv6", disable); err != nil {
		return err
	}
	if err := setARP(link); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remember(dev).deaf = on
	return h.restore(link)
}
