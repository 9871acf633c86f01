package fib

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// decodeObject decodes the first message of b as List does.
func decodeObject(t *testing.T, b []byte) (o Object, protocol uint8, strange string) {
	t.Helper()
	h, body, _, err := nextMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	switch h.kind {
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		m, err := decodeNextHop(body)
		if err != nil {
			t.Fatal(err)
		}
		if m.isGroup {
			return m.group, m.protocol, ""
		}
		return m.nextHop, m.protocol, ""
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		m, err := decodeRoute(body)
		if err != nil {
			t.Fatal(err)
		}
		return m.route, m.protocol, m.strange
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		m, err := decodeRule(body)
		if err != nil {
			t.Fatal(err)
		}
		return m.rule, m.protocol, m.strange
	default:
		t.Fatalf("message type %d", h.kind)
		return nil, 0, ""
	}
}

// places are the addresses of the codec tests.
var places = map[Family]struct {
	gateway, source netip.Addr
	net             netip.Prefix
}{
	IPv4: {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.7"), netip.MustParsePrefix("198.51.100.0/24")},
	IPv6: {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::7"), netip.MustParsePrefix("2001:db8:5::/48")},
}

// shapes are objects of every shape, in the form that the kernel gives back.
func shapes(f Family) []Object {
	p := places[f]
	d, e := Device{Index: 3}, Device{Index: 70000}
	list := []Object{
		NextHop{ID: 1, Family: f, Device: d, Gateway: p.gateway},
		NextHop{ID: math.MaxUint32, Family: f, Device: e, Gateway: p.gateway, OnLink: true},
		NextHop{ID: 2, Family: f, Device: d},
		Group{ID: 9, Type: GroupHashThreshold, Members: []Member{{NextHop: 1, Weight: 1}, {NextHop: 2, Weight: 256}}},
		Group{ID: 9, Type: GroupResilient, Members: []Member{{NextHop: 1, Weight: 100}}, Buckets: 65535, IdleTimer: 10 * time.Millisecond},
		Group{ID: 9, Type: GroupResilient, Members: []Member{{NextHop: 1, Weight: 100}}, Buckets: 1, UnbalancedTimer: 9 * time.Hour},
		Rule{Family: f, Priority: 0, Table: 255},
		Rule{Family: f, Priority: math.MaxUint32, Table: math.MaxUint32, From: p.net, To: hostPrefix(p.source)},
		Rule{Family: f, Priority: 49, To: p.net, Goto: 220},
		Rule{Family: f, Priority: 50, Table: 254, MinPrefixLen: 1},
		Rule{Family: f, Priority: 50, Table: 254, MinPrefixLen: 128},
		Rule{Family: f, Priority: 211, Table: 212, Mark: 0x80000000, Mask: 0xff000000},
		Rule{Family: f, Priority: 211, Table: 212, Mask: 1},
	}
	for _, kind := range []RouteType{RouteProhibit, RouteUnreachable, RouteBlackhole} {
		list = append(list, Route{Table: 221, Dst: f.Any(), Metric: 4278198272, Type: kind})
	}
	lone := []Hop{{Device: d, Gateway: p.gateway, Weight: 1}}
	many := []Hop{{Device: d, Gateway: p.gateway, Weight: 1}, {Device: e, Weight: 256}, {Device: e, Gateway: p.gateway, OnLink: true, Weight: 17}}
	for _, hops := range [][]Hop{lone, many, {{Device: d, Weight: 1}}, {{Device: d, Gateway: p.gateway, OnLink: true, Weight: 1}}} {
		list = append(list, Route{Table: math.MaxUint32, Dst: p.net, Metric: 1, Type: RouteUnicast, Hops: hops, Source: p.source})
	}
	if f == IPv4 {
		list = append(list, Route{Table: 1, Dst: p.net, Metric: 1, Type: RouteUnicast, Hops: []Hop{{Device: d, Gateway: places[IPv6].gateway, Weight: 1}}})
	}
	return append(list, Route{Table: 255, Dst: hostPrefix(p.source), Metric: math.MaxUint32, Type: RouteUnicast, NextHopID: 9})
}

func TestCodecRoundTrip(t *testing.T) {
	for _, f := range Families {
		for _, o := range shapes(f) {
			for _, v := range []Verb{Add, Replace} {
				// Behind another message, as in a batch.
				before := []byte("not touched ")
				b, err := encodeOp(bytes.Clone(before), Op{Verb: v, Object: o, Protocol: 133}, 7)
				if err != nil {
					t.Errorf("%s %+v: %v", v, o, err)
					continue
				}
				if !bytes.HasPrefix(b, before) || len(b)%4 != 0 {
					t.Errorf("%s %+v: the batch is damaged: %x", v, o, b)
				}
				got, protocol, strange := decodeObject(t, b[len(before):])
				if diff := cmp.Diff(o, got, compareAddresses); diff != "" || protocol != 133 || strange != "" {
					t.Errorf("%s: protocol %d, strange %q, object (-sent +got):\n%s", v, protocol, strange, diff)
				}
			}
		}
	}
}

// A delete carries the whole key, and our protocol wherever the kernel takes one.
func TestDeleteCarriesTheKey(t *testing.T) {
	for _, f := range Families {
		for _, o := range shapes(f) {
			b, err := encodeOp(nil, Op{Verb: Delete, Object: o, Protocol: 133}, 1)
			if err != nil {
				t.Errorf("%+v: %v", o, err)
				continue
			}
			h, _, _, err := nextMessage(b)
			if err != nil || h.flags != unix.NLM_F_REQUEST|unix.NLM_F_ACK {
				t.Errorf("%+v: flags 0x%x, %v", o, h.flags, err)
			}
			if id := nextHopID(o); id != 0 {
				if want := fmt.Sprintf("%x", append(make([]byte, 8), append([]byte{8, 0, 1, 0}, binary.NativeEndian.AppendUint32(nil, id)...)...)); hex.EncodeToString(b[headerLen:]) != want {
					t.Errorf("delete of id %d: %x, want %s", id, b[headerLen:], want)
				}
				continue
			}
			got, protocol, _ := decodeObject(t, b)
			if protocol != 133 {
				t.Errorf("%+v: protocol %d", o, protocol)
			}
			switch o := o.(type) {
			case Rule:
				if got != o {
					t.Errorf("delete of %+v says %+v", o, got)
				}
			case Route:
				if r, ok := got.(Route); !ok || r.Key() != o.Key() || r.NextHopID != o.NextHopID || r.Source.IsValid() || b[headerLen+6] != unix.RT_SCOPE_NOWHERE {
					t.Errorf("delete of %+v says %+v", o, r)
				}
			}
		}
	}
}

// golden are requests written down from the structures of include/uapi/linux:
// nlmsghdr, then nhmsg, rtmsg or fib_rule_hdr, then one attribute a line.
var golden = []struct {
	name string
	op   Op
	want string
}{
	{
		"next hop over IPv6",
		Op{Replace, NextHop{ID: 0x3ea, Family: IPv6, Device: Device{Index: 3}, Gateway: netip.MustParseAddr("2001:db8::1"), OnLink: true}, 133},
		`3c000000 6800 0505 05000000 00000000
		 0a 00 85 00 04000000
		 0800 0100 ea030000
		 0800 0500 03000000
		 1400 0600 20010db8000000000000000000000001`,
	},
	{
		"LNX_NH_17 the reserved fields of a group are 0",
		Op{Add, Group{ID: 20, Type: GroupResilient, Buckets: 120, IdleTimer: 15 * time.Second, UnbalancedTimer: 70 * time.Second, Members: []Member{{10, 255, true, false}, {12, 1, true, false}}}, 133},
		`58000000 6800 0506 05000000 00000000
		 00 00 85 00 00000000
		 0800 0100 14000000
		 1400 0200 0a000000 fe 00 0000 0c000000 00 00 0000
		 0600 0300 0100 0000
		 1c00 0c80
		   0600 0100 7800 0000
		   0800 0200 dc050000
		   0800 0300 581b0000`,
	},
	{
		"route over a group",
		Op{Add, Route{Table: 221, Dst: IPv4.Any(), Metric: 1, Type: RouteUnicast, NextHopID: 20, Source: netip.MustParseAddr("192.0.2.7")}, 133},
		`3c000000 1800 0506 05000000 00000000
		 02 00 00 00 dd 85 00 01 00000000
		 0800 0f00 dd000000
		 0800 0600 01000000
		 0800 0700 c0000207
		 0800 1e00 14000000`,
	},
	{
		"multipath route in a table that needs an attribute",
		Op{Replace, Route{Table: 1000, Dst: netip.MustParsePrefix("198.51.100.0/24"), Metric: 5, Type: RouteUnicast, Hops: []Hop{
			{Device: Device{Index: 3}, Gateway: netip.MustParseAddr("192.0.2.1"), Weight: 3},
			{Device: Device{Index: 4}, Gateway: netip.MustParseAddr("2001:db8::1"), OnLink: true, Weight: 1},
		}}, 133},
		`68000000 1800 0505 05000000 00000000
		 02 18 00 00 fc 85 00 01 00000000
		 0800 0100 c6336400
		 0800 0f00 e8030000
		 0800 0600 05000000
		 3400 0900
		   1000 00 02 03000000 0800 0500 c0000201
		   2000 04 00 04000000 1600 1200 0a00 20010db8000000000000000000000001 0000`,
	},
	{
		"delete of a guard",
		Op{Delete, Route{Table: 221, Dst: IPv6.Any(), Metric: 4278198272, Type: RouteProhibit}, 133},
		`2c000000 1900 0500 05000000 00000000
		 0a 00 00 00 dd 85 ff 08 00000000
		 0800 0f00 dd000000
		 0800 0600 002000ff`,
	},
	{
		"rule with goto",
		Op{Add, Rule{Family: IPv4, Priority: 49, To: netip.MustParsePrefix("198.51.100.0/24"), Goto: 220}, 133},
		`3c000000 2000 0506 05000000 00000000
		 02 18 00 00 00 00 00 02 00000000
		 0800 0600 31000000
		 0800 0100 c6336400
		 0800 0400 dc000000
		 0500 1500 85 000000`,
	},
	{
		"rule that passes over defaults",
		Op{Delete, Rule{Family: IPv6, Priority: 50, Table: 254, MinPrefixLen: 1}, 133},
		`3c000000 2100 0500 05000000 00000000
		 0a 00 00 00 fe 00 00 01 00000000
		 0800 0600 32000000
		 0800 0f00 fe000000
		 0800 0e00 00000000
		 0500 1500 85 000000`,
	},
	{
		"rule by mark",
		Op{Replace, Rule{Family: IPv4, Priority: 211, Mark: 0x100, Mask: 0xff00, Table: 202}, 133},
		`44000000 2000 0506 05000000 00000000
		 02 00 00 00 ca 00 00 01 00000000
		 0800 0600 d3000000
		 0800 0a00 00010000
		 0800 1000 00ff0000
		 0800 0f00 ca000000
		 0500 1500 85 000000`,
	},
}

// The bytes are those of a little-endian machine.
func TestGolden(t *testing.T) {
	for _, c := range golden {
		t.Run(c.name, func(t *testing.T) {
			got, err := encodeOp(nil, c.op, 5)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.Join(strings.Fields(c.want), ""))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hex.Dump(want), hex.Dump(got)); diff != "" {
				t.Errorf("bytes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	v4, v6 := places[IPv4], places[IPv6]
	dev := Device{Index: 3}
	hop := []Hop{{Device: dev, Gateway: v6.gateway, Weight: 1}}
	route := func(change func(*Route)) Route {
		r := Route{Table: 221, Dst: IPv6.Any(), Metric: 1, Type: RouteUnicast, Hops: hop}
		change(&r)
		return r
	}
	rule := func(change func(*Rule)) Rule {
		r := Rule{Family: IPv4, Priority: 50, Table: 254}
		change(&r)
		return r
	}
	for want, o := range map[string]Object{
		"id 0 lets the kernel choose":           NextHop{Family: IPv4, Device: dev},
		"family is not set":                     NextHop{ID: 1, Device: dev},
		"device if0 has no index":               NextHop{ID: 1, Family: IPv4},
		"gateway 2001:db8::1 is not of family":  NextHop{ID: 1, Family: IPv4, Device: dev, Gateway: v6.gateway},
		"gateway ::ffff:192.0.2.1 is not of":    NextHop{ID: 1, Family: IPv4, Device: dev, Gateway: netip.AddrFrom16(v4.gateway.As16())},
		"group type is not set":                 Group{ID: 1, Members: []Member{{1, 1, false, false}}},
		"a group of 0 members":                  Group{ID: 1, Type: GroupResilient},
		"a group of 9000 members":               Group{ID: 1, Type: GroupHashThreshold, Members: make([]Member, 9000)},
		"member 7: weight 0 is not in 1..256":   Group{ID: 1, Type: GroupHashThreshold, Members: []Member{{7, 0, false, false}}},
		"member 7: weight 257 is not in 1..256": Group{ID: 1, Type: GroupHashThreshold, Members: []Member{{7, 257, false, false}}},
		"a resilient group without buckets":     Group{ID: 1, Type: GroupResilient, Members: []Member{{7, 1, false, false}}},
		"idle timer -1s does not fit":           Group{ID: 1, Type: GroupResilient, Buckets: 1, Members: []Member{{7, 1, false, false}}, IdleTimer: -time.Second},
		"unbalanced timer":                      Group{ID: 1, Type: GroupResilient, Buckets: 1, Members: []Member{{7, 1, false, false}}, UnbalancedTimer: 1 << 62},
		"destination is not a prefix":           route(func(r *Route) { r.Dst = netip.Prefix{} }),
		"has bits behind its length":            route(func(r *Route) { r.Dst = netip.PrefixFrom(v6.source, 64) }),
		"table is not set":                      route(func(r *Route) { r.Table = 0 }),
		"metric 0":                              route(func(r *Route) { r.Metric = 0 }),
		"route type is not set":                 route(func(r *Route) { r.Type = RouteUnknown }),
		"prohibit with a next hop":              route(func(r *Route) { r.Type = RouteProhibit }),
		"unicast needs either":                  route(func(r *Route) { r.NextHopID = 1 }),
		"source 192.0.2.7 is not of family":     route(func(r *Route) { r.Source = v4.source }),
		"gateway 192.0.2.1 is not of family":    route(func(r *Route) { r.Hops = []Hop{{Device: dev, Gateway: v4.gateway, Weight: 1}} }),
		"hop via if3: weight 300":               route(func(r *Route) { r.Hops = []Hop{hop[0], {Device: dev, Weight: 300}} }),
		"4000 hops":                             route(func(r *Route) { r.Hops = make([]Hop, 4000) }),
		"family is not":                         rule(func(r *Rule) { r.Family = FamilyUnknown }),
		"from 2001:db8:5::/48 is not of family": rule(func(r *Rule) { r.From = v6.net }),
		"a rule needs either":                   rule(func(r *Rule) { r.Goto = 100 }),
		"goto 50 does not lead forward from 50": rule(func(r *Rule) { r.Table, r.Goto = 0, 50 }),
		"mark 0x3 has bits outside of mask 0x1": rule(func(r *Rule) { r.Mark, r.Mask = 3, 1 }),
		"shortest prefix length 129":            rule(func(r *Rule) { r.MinPrefixLen = 129 }),
		"a goto looks up no table":              rule(func(r *Rule) { r.Table, r.Goto, r.MinPrefixLen = 0, 60, 1 }),
		"a stray is only ever deleted":          Stray{Text: "x", Request: "xxxx"},
	} {
		before := []byte("kept")
		b, err := encodeOp(before, Op{Verb: Add, Object: o, Protocol: 133}, 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", o, err, want)
		}
		if string(b) != "kept" {
			t.Errorf("%+v: refused, but the batch is %q", o, b)
		}
	}
	for protocol := range uint8(firstFreeProtocol) {
		if _, err := encodeOp(nil, Op{Verb: Delete, Object: route(func(*Route) {}), Protocol: protocol}, 1); err == nil {
			t.Errorf("a delete with protocol %d, which may be anybody's, is encoded", protocol)
		}
	}
}

// Every message that is cut short anywhere is an error or, if the cut falls
// between attributes, an object; never a panic.
func TestDecodeCutShort(t *testing.T) {
	for _, f := range Families {
		for _, o := range shapes(f) {
			b, err := encodeOp(nil, Op{Verb: Add, Object: o, Protocol: 133}, 1)
			if err != nil {
				t.Fatal(err)
			}
			for n := range b {
				if _, _, _, err := nextMessage(b[:n]); !errors.Is(err, errMalformed) {
					t.Fatalf("%d of %d bytes are a message", n, len(b))
				}
				if n >= headerLen {
					_, _ = decodeAny(binary.NativeEndian.Uint16(b[4:]), b[headerLen:n])
				}
			}
		}
	}
}

func TestWeights(t *testing.T) {
	for _, c := range []struct {
		weight    int
		low, high uint8
	}{{1, 0, 0}, {2, 1, 0}, {255, 254, 0}, {256, 255, 0}, {257, 0, 1}, {65536, 255, 255}} {
		if got := weightOf(c.low, c.high); got != c.weight {
			t.Errorf("weight of %d, %d is %d, want %d", c.low, c.high, got, c.weight)
		}
		hops, err := kernelWeight(c.weight)
		if (err != nil) != (c.weight > MaxWeight) || err == nil && hops != c.low {
			t.Errorf("kernel weight of %d is %d, %v", c.weight, hops, err)
		}
	}
}

func TestTimersAreRounded(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		0:                      0,
		4 * time.Millisecond:   0,
		5 * time.Millisecond:   10 * time.Millisecond,
		14 * time.Millisecond:  10 * time.Millisecond,
		15 * time.Second:       15 * time.Second,
		math.MaxUint32 * 10e6:  math.MaxUint32 * 10e6,
		119996 * 1e6 * 1:       120 * time.Second,
		1234567 * 1e3 * 1 * 10: 12350 * time.Millisecond,
	} {
		ticks, err := toTicks(d)
		if err != nil || fromTicks(ticks) != want {
			t.Errorf("%s becomes %s, %v; want %s", d, fromTicks(ticks), err, want)
		}
	}
}

func TestDecodeVerdict(t *testing.T) {
	request := make([]byte, headerLen+8)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	text := &builder{}
	text.attr(nlmsgerrAttrMsg, []byte("Device is not up\x00")...)
	minus := func(errno unix.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))) }
	for name, c := range map[string]struct {
		h    header
		body []byte
		want string
		is   error
	}{
		"success":                 {header{kind: unix.NLMSG_ERROR}, append(minus(0), request...), "", nil},
		"end without number":      {header{kind: unix.NLMSG_DONE}, nil, "", nil},
		"end with error":          {header{kind: unix.NLMSG_DONE}, minus(unix.EPERM), "operation not permitted", unix.EPERM},
		"end with text":           {header{kind: unix.NLMSG_DONE, flags: unix.NLM_F_ACK_TLVS}, append(minus(unix.EINVAL), text.b...), "Device is not up: invalid argument", unix.EINVAL},
		"text behind the request": {header{kind: unix.NLMSG_ERROR, flags: unix.NLM_F_ACK_TLVS}, append(append(minus(unix.ENETDOWN), request...), text.b...), "Device is not up: network is down", unix.ENETDOWN},
		"text behind the header":  {header{kind: unix.NLMSG_ERROR, flags: unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED}, append(append(minus(unix.ENETDOWN), request[:headerLen]...), text.b...), "Device is not up: network is down", unix.ENETDOWN},
		"text that is not there":  {header{kind: unix.NLMSG_ERROR, flags: unix.NLM_F_ACK_TLVS}, append(minus(unix.ENETDOWN), request[:9]...), "network is down", unix.ENETDOWN},
		"request of great length": {header{kind: unix.NLMSG_ERROR, flags: unix.NLM_F_ACK_TLVS}, append(minus(unix.ENETDOWN), bytes.Repeat([]byte{255}, 40)...), "network is down", unix.ENETDOWN},
		"no number":               {header{kind: unix.NLMSG_ERROR}, []byte{1, 2}, "malformed netlink message: a verdict of 2 bytes", errMalformed},
		"positive number":         {header{kind: unix.NLMSG_ERROR}, binary.NativeEndian.AppendUint32(nil, 5), "malformed netlink message: a verdict with error 5", errMalformed},
	} {
		err := decodeVerdict(c.h, c.body)
		if c.is == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, c.is) || err.Error() != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
