package netmon

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// packet builds one message with its header.
func packet(kind, flags uint16, seq uint32, body []byte) []byte {
	b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, 0)
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func routeBody(family, dstLen, protocol uint8) []byte {
	return []byte{family, dstLen, 0, 0, unix.RT_TABLE_MAIN, protocol, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
}

func neighbourBody(index uint32, a netip.Addr) []byte {
	return neighbourRequest(NeighbourKey{LinkIndex: int(index), Address: a}, unix.NUD_STALE, 0)
}

func objectBody(id uint32) []byte { return appendUint32(make([]byte, sizeofNhmsg), unix.NHA_ID, id) }

var testInterest = &interest{
	neighbours: map[NeighbourKey]struct{}{
		{LinkIndex: 2, Address: addr("192.0.2.254")}: {},
		{LinkIndex: 2, Address: addr("fe80::fe")}:    {},
	},
	learn:       true,
	ownProtocol: 196,
	objects:     map[uint32]struct{}{7: {}},
}

func TestClassify(t *testing.T) {
	bridge := make([]byte, unix.SizeofIfInfomsg)
	bridge[0] = unix.AF_BRIDGE
	cloned := routeBody(unix.AF_INET6, 0, unix.RTPROT_RA)
	native.PutUint32(cloned[8:], unix.RTM_F_CLONED)
	unknownObjects := *testInterest
	unknownObjects.objects = nil
	for _, tc := range []struct {
		name     string
		interest *interest
		kind     uint16
		body     []byte
		want     part
	}{
		{"link", &interest{}, unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg), partLinks},
		{"link gone", &interest{}, unix.RTM_DELLINK, make([]byte, unix.SizeofIfInfomsg), partLinks},
		{"bridge port", &interest{}, unix.RTM_DELLINK, bridge, 0},
		{"address", &interest{}, unix.RTM_NEWADDR, nil, partLinks},
		{"address gone", &interest{}, unix.RTM_DELADDR, nil, partLinks},
		{"watched IPv4 neighbour", testInterest, unix.RTM_NEWNEIGH, neighbourBody(2, addr("192.0.2.254")), partNeighbours},
		{"watched IPv6 neighbour gone", testInterest, unix.RTM_DELNEIGH, neighbourBody(2, addr("fe80::fe")), partNeighbours},
		{"same neighbour, another link", testInterest, unix.RTM_NEWNEIGH, neighbourBody(3, addr("192.0.2.254")), 0},
		{"another neighbour", testInterest, unix.RTM_NEWNEIGH, neighbourBody(2, addr("192.0.2.7")), 0},
		{"neighbour without an address", testInterest, unix.RTM_NEWNEIGH, make([]byte, sizeofNdMsg), 0},
		{"default route", testInterest, unix.RTM_NEWROUTE, routeBody(unix.AF_INET, 0, unix.RTPROT_DHCP), partDefaults},
		{"IPv6 default route gone", testInterest, unix.RTM_DELROUTE, routeBody(unix.AF_INET6, 0, unix.RTPROT_RA), partDefaults},
		{"our default route", testInterest, unix.RTM_NEWROUTE, routeBody(unix.AF_INET, 0, 196), 0},
		{"longer route", testInterest, unix.RTM_NEWROUTE, routeBody(unix.AF_INET, 24, unix.RTPROT_BIRD), 0},
		{"cached route", testInterest, unix.RTM_NEWROUTE, cloned, 0},
		{"multicast route", testInterest, unix.RTM_NEWROUTE, routeBody(128, 0, 4), 0},
		{"default route, nothing to learn", &interest{}, unix.RTM_NEWROUTE, routeBody(unix.AF_INET, 0, 4), 0},
		{"used next hop", testInterest, unix.RTM_DELNEXTHOP, objectBody(7), partDefaults},
		{"unused next hop", testInterest, unix.RTM_DELNEXTHOP, objectBody(8), 0},
		{"next hop, users unknown", &unknownObjects, unix.RTM_NEWNEXTHOP, objectBody(8), partDefaults},
		{"next hop, nothing to learn", &interest{}, unix.RTM_NEWNEXTHOP, objectBody(7), 0},
		{"short route", testInterest, unix.RTM_NEWROUTE, []byte{unix.AF_INET, 0}, 0},
		{"something else", testInterest, unix.RTM_NEWRULE, make([]byte, 12), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.interest.classify(message{kind: tc.kind, body: tc.body}); got != tc.want {
				t.Errorf("parts %b, want %b", got, tc.want)
			}
		})
	}
}

// Foreign events cost no allocation and wake nobody; several messages in a datagram
// are all looked at, and what is not understood means everything.
func TestHandle(t *testing.T) {
	m := newMonitor(Config{}, Options{}, nil)
	m.interest.Store(testInterest)
	var foreign []byte
	for range 100 {
		foreign = append(foreign, packet(unix.RTM_NEWROUTE, 0, 0, routeBody(unix.AF_INET, 24, unix.RTPROT_BIRD))...)
		foreign = append(foreign, packet(unix.RTM_NEWNEIGH, 0, 0, neighbourBody(2, addr("fe80::7")))...)
	}
	m.dirty.Store(0)
	<-m.wake
	if n := testing.AllocsPerRun(100, func() { m.handle(foreign) }); n != 0 {
		t.Errorf("%v allocations for 200 foreign messages", n)
	}
	if m.dirty.Load() != 0 || len(m.wake) != 0 {
		t.Errorf("foreign messages marked %b", m.dirty.Load())
	}
	m.handle(append(foreign, packet(unix.RTM_NEWROUTE, 0, 0, routeBody(unix.AF_INET, 0, unix.RTPROT_DHCP))...))
	if got := part(m.dirty.Swap(0)); got != partDefaults || len(m.wake) != 1 {
		t.Errorf("the last message marked %b", got)
	}
	m.handle(append(foreign, 1, 2, 3))
	if got := part(m.dirty.Swap(0)); got != partAll {
		t.Errorf("a torn message marked %b", got)
	}
}

// An answer is taken only as a whole.
func TestAnswer(t *testing.T) {
	code := func(n int32) []byte { return native.AppendUint32(nil, uint32(n)) }
	route := routeBody(unix.AF_INET, 0, 3)
	part1 := packet(unix.RTM_NEWROUTE, unix.NLM_F_MULTI, 5, route)
	for _, tc := range []struct {
		name        string
		datagrams   [][]byte
		messages    int
		done        bool
		interrupted bool
		refused     unix.Errno
		err         error
	}{
		{name: "dump", datagrams: [][]byte{append(part1, part1...), packet(unix.NLMSG_DONE, 0, 5, code(0))}, messages: 2, done: true},
		{name: "dump not at its end", datagrams: [][]byte{part1}, messages: 1},
		{name: "interrupted", datagrams: [][]byte{packet(unix.RTM_NEWROUTE, unix.NLM_F_DUMP_INTR, 5, route), packet(unix.NLMSG_DONE, 0, 5, code(0))},
			messages: 1, done: true, interrupted: true},
		{name: "interrupted at the end", datagrams: [][]byte{part1, packet(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 5, code(0))},
			messages: 1, done: true, interrupted: true},
		{name: "error at the end of a dump", datagrams: [][]byte{part1, packet(unix.NLMSG_DONE, 0, 5, code(-int32(unix.ENOMEM)))},
			messages: 1, done: true, refused: unix.ENOMEM},
		{name: "refused", datagrams: [][]byte{packet(unix.NLMSG_ERROR, 0, 5, code(-int32(unix.ENODEV)))}, done: true, refused: unix.ENODEV},
		{name: "acknowledged", datagrams: [][]byte{packet(unix.NLMSG_ERROR, 0, 5, code(0))}, done: true},
		{name: "of an earlier request", datagrams: [][]byte{packet(unix.RTM_NEWROUTE, 0, 4, route), packet(unix.NLMSG_DONE, 0, 4, code(0))}},
		{name: "torn", datagrams: [][]byte{part1[:20]}, err: errMalformed},
		{name: "no code", datagrams: [][]byte{packet(unix.NLMSG_DONE, 0, 5, nil)}, err: errMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			a := answer{seq: 5, each: func(message) error { n++; return nil }}
			var err error
			for _, d := range tc.datagrams {
				err = errors.Join(err, a.take(d))
			}
			if !errors.Is(err, tc.err) || n != tc.messages || a.done != tc.done || a.interrupted != tc.interrupted || a.refused != tc.refused {
				t.Errorf("%d messages, %+v, error %v", n, a, err)
			}
		})
	}
}

// An interrupted dump is read again, and never given out.
func TestRetryDump(t *testing.T) {
	for _, tc := range []struct {
		interruptions int
		then, want    error
	}{
		{0, nil, nil}, {3, nil, nil}, {dumpTries - 1, nil, nil}, {dumpTries, nil, errInterrupted},
		{2, unix.ENOMEM, unix.ENOMEM},
	} {
		calls := 0
		err := retryDump(func() error {
			if calls++; calls <= tc.interruptions {
				return errInterrupted
			}
			return tc.then
		})
		if !errors.Is(err, tc.want) {
			t.Errorf("%d interruptions: %v, want %v", tc.interruptions, err, tc.want)
		}
	}
}

func TestUsable(t *testing.T) {
	for flags, want := range map[uint32]bool{
		0:                     true,
		unix.IFA_F_PERMANENT:  true,
		unix.IFA_F_TENTATIVE:  false,
		unix.IFA_F_OPTIMISTIC: true,
		unix.IFA_F_DEPRECATED: true,
		unix.IFA_F_DADFAILED:  false,
		unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC:                        true,
		unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED:                         false,
		unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC | unix.IFA_F_DADFAILED: false,
	} {
		if got := usable(flags); got != want {
			t.Errorf("flags %#x: usable %v, want %v", flags, got, want)
		}
	}
}

func TestDecodeAddress(t *testing.T) {
	const privacy = unix.IFA_F_TEMPORARY // the bit of IFA_F_SECONDARY
	for _, tc := range []struct {
		name   string
		family uint8
		bits   uint8
		scope  uint8
		flags  uint32
		local  string
		other  string
		want   Address
	}{
		{"IPv4", unix.AF_INET, 24, 0, 0, "192.0.2.1", "192.0.2.1", Address{Prefix: prefix("192.0.2.1/24"), Global: true, Usable: true}},
		{"IPv4 secondary", unix.AF_INET, 24, 0, privacy, "192.0.2.1", "192.0.2.1", Address{Prefix: prefix("192.0.2.1/24"), Global: true, Usable: true}},
		{"IPv4 peer", unix.AF_INET, 32, 0, 0, "192.0.2.1", "192.0.2.2", Address{Prefix: prefix("192.0.2.1/32"), Peer: addr("192.0.2.2"), Global: true, Usable: true}},
		{"IPv6 temporary", unix.AF_INET6, 64, 0, privacy, "", "2001:db8::1", Address{Prefix: prefix("2001:db8::1/64"), Global: true, Usable: true, Temporary: true}},
		{"IPv6 link-local", unix.AF_INET6, 64, unix.RT_SCOPE_LINK, 0, "", "fe80::1", Address{Prefix: prefix("fe80::1/64"), Usable: true}},
		{"flags beyond a byte", unix.AF_INET6, 64, 0, unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_TENTATIVE, "", "2001:db8::1", Address{Prefix: prefix("2001:db8::1/64"), Global: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := native.AppendUint32([]byte{tc.family, tc.bits, 0, tc.scope}, 9)
			if tc.local != "" {
				b = appendAttribute(b, unix.IFA_LOCAL, addr(tc.local).AsSlice())
			}
			b = appendAttribute(b, unix.IFA_ADDRESS, addr(tc.other).AsSlice())
			b = appendUint32(b, unix.IFA_FLAGS, tc.flags)
			got, index, err := decodeAddress(b)
			if err != nil || index != 9 || got != tc.want {
				t.Errorf("got %+v, %d, %v\nwant %+v", got, index, err, tc.want)
			}
		})
	}
	if _, _, err := decodeAddress(make([]byte, unix.SizeofIfAddrmsg)); !errors.Is(err, errMalformed) {
		t.Errorf("an address without an address: %v", err)
	}
}

func TestDecodeRouteExpires(t *testing.T) {
	for clock, want := range map[int32]time.Duration{0: 0, 250: 2500 * time.Millisecond, -1: -10 * time.Millisecond} {
		cacheinfo := native.AppendUint32(make([]byte, 8), uint32(clock))
		r, err := decodeRoute(appendAttribute(routeBody(unix.AF_INET6, 0, unix.RTPROT_RA), unix.RTA_CACHEINFO, append(cacheinfo, make([]byte, 20)...)))
		if err != nil || r.expires != want {
			t.Errorf("rta_expires %d: %v, %v, want %v", clock, r.expires, err, want)
		}
	}
}

// A multipath route shows the lifetime of its first hop only; the object of a route is
// as dead as the route.
func TestDecodeRouteExpires_multipath(t *testing.T) {
	first, second, third := hop{2, addr("fe80::1")}, hop{3, addr("fe80::2")}, hop{4, addr("fe80::3")}
	encode := func(clock int32, object uint32, hops ...hop) []byte {
		var list []byte
		for _, h := range hops {
			b := native.AppendUint32([]byte{0, 0, 0, 0}, uint32(h.index))
			b = appendAttribute(b, unix.RTA_GATEWAY, h.gateway.AsSlice())
			native.PutUint16(b, uint16(len(b)))
			list = append(list, b...)
		}
		body := appendAttribute(routeBody(unix.AF_INET6, 0, unix.RTPROT_RA), unix.RTA_MULTIPATH, list)
		if object != 0 {
			body = appendUint32(body, rtaNHID, object)
		}
		cacheinfo := native.AppendUint32(make([]byte, 8), uint32(clock))
		return appendAttribute(body, unix.RTA_CACHEINFO, append(cacheinfo, make([]byte, 20)...))
	}
	over := ticks(-100)
	for _, tc := range []struct {
		name string
		body []byte
		want route
	}{
		{"alive", encode(250, 0, first, second), route{hops: []hop{first, second}, expires: ticks(250)}},
		{"for ever", encode(0, 0, first, second), route{hops: []hop{first, second}}},
		{"over", encode(-100, 0, first, second, third), route{hops: []hop{second, third}}},
		{"over, one hop", encode(-100, 0, first), route{hops: []hop{first}, expires: over}},
		{"over, on an object", encode(-100, 7, first, second), route{hops: []hop{first, second}, object: 7, expires: over}},
	} {
		got, err := decodeRoute(tc.body)
		tc.want.family, tc.want.protocol = unix.AF_INET6, unix.RTPROT_RA
		tc.want.kind, tc.want.table = got.kind, got.table
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(route{}, hop{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
}

func TestDecodeNeighbour(t *testing.T) {
	b := neighbourRequest(fakeKey, unix.NUD_REACHABLE, unix.NTF_ROUTER)
	b = appendAttribute(b, unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, 1})
	info := native.AppendUint32(nil, 150)
	info = native.AppendUint32(info, 1)
	info = native.AppendUint32(info, 300)
	b = appendAttribute(b, unix.NDA_CACHEINFO, native.AppendUint32(info, 0))
	got, err := decodeNeighbour(b)
	want := observation{state: NUDReachable, mac: "02:00:00:00:00:01", router: true, confirmedAge: 1500 * time.Millisecond, updatedAge: 3 * time.Second}
	if err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if key, ok := neighbourKeyOf(b); !ok || key != fakeKey {
		t.Errorf("key %v, %v", key, ok)
	}
}

func TestOperWord(t *testing.T) {
	var got []string
	for i := range uint8(8) {
		got = append(got, operWord(i))
	}
	want := []string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up", "state 7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

// FuzzDecode holds the decoders against any bytes: no panic, no endless loop.
func FuzzDecode(f *testing.F) {
	f.Add(routeBody(unix.AF_INET, 0, 3))
	f.Add(neighbourBody(2, addr("192.0.2.254")))
	f.Add(objectBody(7))
	f.Add(appendAttribute(routeBody(unix.AF_INET, 0, 3), unix.RTA_MULTIPATH, []byte{8, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0}))
	f.Add(packet(unix.RTM_NEWADDR, 0, 1, append([]byte{2, 24, 0, 0, 9, 0, 0, 0}, appendAttribute(nil, unix.IFA_LOCAL, []byte{192, 0, 2, 1})...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLink(b); err == nil && l.Name == "" {
			t.Error("a link without a name")
		}
		if a, _, err := decodeAddress(b); err == nil && !a.Prefix.IsValid() {
			t.Error("an address without a prefix")
		}
		_, _ = decodeRoute(b)
		_, _ = decodeNextHop(b)
		_, _ = decodeNeighbour(b)
		_, _ = neighbourKeyOf(b)
		m := newMonitor(Config{}, Options{}, nil)
		m.interest.Store(testInterest)
		m.handle(b)
		for kind := range uint16(unix.RTM_DELNEXTHOP + 1) {
			testInterest.classify(message{kind: kind, body: b})
		}
		a := answer{seq: 1}
		_ = a.take(b)
	})
}
