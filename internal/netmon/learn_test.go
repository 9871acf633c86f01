package netmon

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLearnGateway(t *testing.T) {
	v4 := func(index int, gw string, metric uint32, protocol uint8, table uint32) Default {
		d := Default{LinkIndex: index, Dst: prefix("0.0.0.0/0"), Metric: metric, Protocol: protocol, Table: table}
		if gw != "" {
			d.Gateway = addr(gw)
		}
		return d
	}
	v6 := func(index int, gw string, metric uint32, protocol uint8) Default {
		return Default{LinkIndex: index, Dst: prefix("::/0"), Gateway: addr(gw), Metric: metric, Protocol: protocol, Table: unix.RT_TABLE_MAIN}
	}
	main := uint32(unix.RT_TABLE_MAIN)
	for _, tc := range []struct {
		name     string
		link     string
		ipv6     bool
		defaults []Default
		gw       string
		device   bool
		reason   string
		ok       bool
	}{
		{name: "DHCP", link: "eth1", defaults: []Default{v4(2, "192.0.2.254", 100, unix.RTPROT_DHCP, main)},
			gw: "192.0.2.254", ok: true, reason: "gateway 192.0.2.254 from the default route over eth1 (proto dhcp metric 100)"},
		{name: "lowest metric", link: "eth1", defaults: []Default{v4(2, "192.0.2.9", 200, 3, main), v4(2, "192.0.2.254", 100, 3, main), v4(2, "192.0.2.8", 300, 3, main)},
			gw: "192.0.2.254", ok: true, reason: "gateway 192.0.2.254 from the default route over eth1 (proto boot metric 100)"},
		{name: "main before other tables", link: "eth1", defaults: []Default{v4(2, "192.0.2.9", 100, 4, 10), v4(2, "192.0.2.254", 100, 4, main)},
			gw: "192.0.2.254", ok: true, reason: "gateway 192.0.2.254 from the default route over eth1 (proto static metric 100)"},
		{name: "another table", link: "eth1", defaults: []Default{v4(2, "192.0.2.9", 0, 186, 10)},
			gw: "192.0.2.9", ok: true, reason: "gateway 192.0.2.9 from the default route over eth1 (proto 186 metric 0)"},
		{name: "another link", link: "eth1", defaults: []Default{v4(3, "192.0.2.9", 0, 3, main)},
			reason: "no default route over eth1: configure gateway, or let the DHCP client install one"},
		{name: "another family", link: "eth1", ipv6: true, defaults: []Default{v4(2, "192.0.2.9", 0, 3, main)},
			reason: "no IPv6 default route over eth1: configure gateway, or accept router advertisements (net.ipv6.conf.eth1.accept_ra)"},
		{name: "router advertisement", link: "eth1", ipv6: true, defaults: []Default{v6(2, "fe80::fe", 1024, unix.RTPROT_RA), v4(2, "192.0.2.9", 0, 3, main)},
			gw: "fe80::fe", ok: true, reason: "gateway fe80::fe from the default route over eth1 (proto ra metric 1024)"},
		{name: "device route", link: "eth1", defaults: []Default{v4(2, "", 5, 3, main)},
			device: true, ok: true, reason: "the default route over eth1 has no gateway (proto boot metric 5)"},
		{name: "point-to-point without a route", link: "ppp0", device: true, ok: true, reason: "ppp0 is point-to-point and needs no gateway"},
		{name: "point-to-point, IPv6", link: "ppp0", ipv6: true, device: true, ok: true, reason: "ppp0 is point-to-point and needs no gateway"},
		{name: "point-to-point with a gateway", link: "ppp0", defaults: []Default{v4(4, "192.0.2.7", 0, unix.RTPROT_KERNEL, main)},
			gw: "192.0.2.7", ok: true, reason: "gateway 192.0.2.7 from the default route over ppp0 (proto kernel metric 0)"},
		{name: "IPv6 gateway of an IPv4 route", link: "eth1", defaults: []Default{v4(2, "fe80::fe", 0, 4, main)},
			gw: "fe80::fe", ok: true, reason: "gateway fe80::fe from the default route over eth1 (proto static metric 0)"},
		{name: "no link", link: "wlan0", reason: "no link wlan0: it does not exist (yet)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &Snapshot{
				Links: map[string]Link{
					"eth1": {Name: "eth1", Index: 2}, "eth2": {Name: "eth2", Index: 3},
					"ppp0": {Name: "ppp0", Index: 4, PointToPoint: true},
				},
				Defaults: tc.defaults,
			}
			var want netip.Addr
			if tc.gw != "" {
				want = addr(tc.gw)
			}
			gw, device, reason, ok := LearnGateway(s, tc.link, tc.ipv6)
			if gw != want || device != tc.device || reason != tc.reason || ok != tc.ok {
				t.Errorf("got %v, %v, %q, %v\nwant %v, %v, %q, %v", gw, device, reason, ok, want, tc.device, tc.reason, tc.ok)
			}
		})
	}
}
