package fib

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// Settings of the namespace and the reverse-path filter.

func TestLNX_SYS_01_Defaults(t *testing.T) {
	s := newSite(t)
	for name, want := range map[string]string{
		"net/ipv4/fib_multipath_use_neigh":                  "0",
		"net/ipv4/fib_multipath_hash_policy":                "0",
		"net/ipv4/fib_multipath_hash_fields":                "7",
		"net/ipv4/nexthop_compat_mode":                      "1",
		"net/ipv4/fwmark_reflect":                           "0",
		"net/ipv4/tcp_fwmark_accept":                        "0",
		"net/ipv4/conf/eth1/ignore_routes_with_linkdown":    "0",
		"net/ipv4/conf/eth1/src_valid_mark":                 "0",
		"net/ipv4/conf/eth1/arp_evict_nocarrier":            "1",
		"net/ipv4/conf/eth1/send_redirects":                 "1",
		"net/ipv6/fib_multipath_hash_policy":                "0",
		"net/ipv6/fwmark_reflect":                           "0",
		"net/ipv6/conf/eth1/keep_addr_on_down":              "0",
		"net/ipv6/route/skip_notify_on_dev_down":            "0",
		"net/ipv6/conf/eth1/ignore_routes_with_linkdown":    "0",
		"net/ipv6/conf/all/ignore_routes_with_linkdown":     "0",
		"net/ipv4/conf/default/ignore_routes_with_linkdown": "0",
	} {
		if got, err := s.k.ReadSysctl(name); err != nil || got != want {
			s.differs("%s is %q, %v; not %q", name, got, err, want)
		}
	}
	if _, err := s.k.ReadSysctl("net/ipv4/fib_sync_mem"); !errors.Is(err, fs.ErrNotExist) {
		s.differs("fib_sync_mem is a setting of every namespace: %v", err)
	}
}

// The hash of layer 3 keeps a pair of addresses on one uplink, that of layer 4
// spreads its ports.
func TestLNX_SYS_02_HashPolicy(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.groupDefault(f, "")
		dst := map[Family]string{IPv4: "203.0.113.1", IPv6: "2001:db8:ffff::1"}[f]
		used := func() int {
			ways := map[bool]bool{}
			for port := range 40 {
				out := s.ip(f, "route get %s from %s ipproto udp sport 40000 dport %d", dst, s.addr(f, 1, 1), 1000+port)
				ways[strings.Contains(out, "dev eth1")] = true
			}
			return len(ways)
		}
		if n := used(); n != 1 {
			s.differs("%s: with hash policy 0 one pair of addresses uses %d uplinks", f, n)
		}
		s.set("net/"+settings[f]+"/fib_multipath_hash_policy", "1")
		if n := used(); n != 2 {
			s.differs("%s: with hash policy 1 forty ports use %d uplinks", f, n)
		}
	}
}

// filter sets the reverse-path filter: 0 off, 1 strict, 2 loose.
func (s *site) filter(mode int) {
	s.t.Helper()
	for _, dev := range []string{"all", "eth1", "eth2"} {
		s.set("net/ipv4/conf/"+dev+"/rp_filter", fmt.Sprint(mode))
	}
}

// accepts reports whether a packet from far away that comes in on uplink i to
// dst passes the reverse-path filter.
func (s *site) accepts(i int, dst, extra string) bool {
	s.t.Helper()
	_, err := s.tryIP(IPv4, "route get %s from 203.0.113.5 iif eth%d %s", dst, i, extra)
	return err == nil
}

func (s *site) wantAccepted(when string, i int, want bool, dst, extra string) {
	s.t.Helper()
	if got := s.accepts(i, dst, extra); got != want {
		s.differs("%s a packet on eth%d is accepted: %v, not %v", when, i, got, want)
	}
}

func TestLNX_SYS_04_ReversePathFilter(t *testing.T) {
	s := newSite(t)
	own := s.addr(IPv4, 2, 1).String()
	s.filter(1)
	s.ip(IPv4, "route add default via %s dev eth1 metric 1", s.gateway(IPv4, 1))
	s.ip(IPv4, "route add default via %s dev eth2 metric 2", s.gateway(IPv4, 2))
	s.wantAccepted("strict, on the first uplink,", 1, true, own, "")
	s.wantAccepted("strict, on the backup uplink,", 2, false, own, "")
	s.filter(2)
	s.wantAccepted("loose, on the backup uplink,", 2, true, own, "")
	s.ip(IPv4, "route flush default")
	s.filter(1)
	s.inlineDefault(IPv4)
	for i := 1; i <= 2; i++ {
		s.wantAccepted("strict, over inline multipath,", i, true, own, "")
	}
	s.ip(IPv4, "route del default")
	s.groupDefault(IPv4, "type resilient buckets 32")
	for i := 1; i <= 2; i++ {
		s.wantAccepted("strict, over a group,", i, true, own, "")
	}
}

func TestLNX_SYS_05_DrainedMemberIsDeaf(t *testing.T) {
	s := newSite(t)
	own := s.addr(IPv4, 2, 1).String()
	s.filter(1)
	base := s.groupDefault(IPv4, "")
	s.wantAccepted("strict, as a member,", 2, true, own, "")
	s.ip(FamilyUnknown, "nexthop replace id %d group %d", base, base+1)
	s.wantAccepted("strict, out of the group,", 2, false, own, "")
	s.filter(2)
	s.wantAccepted("loose, out of the group,", 2, true, own, "")
}

func TestLNX_SYS_06_SourceRuleOpensTheFilter(t *testing.T) {
	s := newSite(t)
	own := s.addr(IPv4, 2, 1).String()
	s.filter(1)
	s.set("net/ipv4/ip_forward", "1")
	s.ip(IPv4, "route add default via %s dev eth1", s.gateway(IPv4, 1))
	s.ip(IPv4, "route add default via %s dev eth2 table 202", s.gateway(IPv4, 2))
	s.ip(IPv4, "rule add pref 202 from %s lookup 202", own)
	s.wantAccepted("strict, to the address of the rule,", 2, true, own, "")
	s.wantAccepted("strict, forwarded,", 2, false, s.addr(IPv4, 1, 9).String(), "")
}

func TestLNX_SYS_07_MarkAndTheFilter(t *testing.T) {
	s := newSite(t)
	own := s.addr(IPv4, 2, 1).String()
	s.filter(1)
	s.ip(IPv4, "route add default via %s dev eth1", s.gateway(IPv4, 1))
	s.ip(IPv4, "route add default via %s dev eth2 table 202", s.gateway(IPv4, 2))
	s.ip(IPv4, "rule add pref 202 fwmark 2 lookup 202")
	s.wantAccepted("without src_valid_mark, marked,", 2, false, own, "mark 2")
	s.set("net/ipv4/conf/all/src_valid_mark", "1")
	s.wantAccepted("with src_valid_mark, marked,", 2, true, own, "mark 2")
	s.wantAccepted("with src_valid_mark, unmarked,", 2, false, own, "")
}
