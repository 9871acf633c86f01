package fib

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// rtaNHID is RTA_NH_ID (include/uapi/linux/rtnetlink.h).
const rtaNHID = 30

// hopHeaderLen is sizeof(struct rtnexthop).
const hopHeaderLen = unix.SizeofRtNexthop

// maxHops keeps RTA_MULTIPATH, with a gateway of 16 bytes per hop, below the
// 64 KiB of an attribute.
const maxHops = (1<<16 - 1 - attributeHeaderLen) / (hopHeaderLen + attributeHeaderLen + 18 + 2)

// kernelType returns RTN_*.
func (t RouteType) kernelType() uint8 {
	switch t {
	case RouteUnknown:
		return unix.RTN_UNSPEC
	case RouteUnicast:
		return unix.RTN_UNICAST
	case RouteProhibit:
		return unix.RTN_PROHIBIT
	case RouteUnreachable:
		return unix.RTN_UNREACHABLE
	case RouteBlackhole:
		return unix.RTN_BLACKHOLE
	default:
		panic(fmt.Sprintf("fib: unhandled route type %d", uint8(t)))
	}
}

// routeTypeOf is the reverse of kernelType; types that this package does not
// write are unknown.
func routeTypeOf(rtn uint8) RouteType {
	switch rtn {
	case unix.RTN_UNICAST:
		return RouteUnicast
	case unix.RTN_PROHIBIT:
		return RouteProhibit
	case unix.RTN_UNREACHABLE:
		return RouteUnreachable
	case unix.RTN_BLACKHOLE:
		return RouteBlackhole
	default:
		return RouteUnknown
	}
}

// scope returns the rtm_scope with which r is written. It means nothing for
// IPv6. A lone hop without gateway ends on the link, as iproute2 writes it.
func (r Route) scope() uint8 {
	onLink := r.Type == RouteUnicast && len(r.Hops) == 1 && !r.Hops[0].Gateway.IsValid()
	if r.Family() == IPv4 && onLink {
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

// check refuses what the kernel would misread, or read back as something else.
func (r Route) check(v Verb) error {
	f := r.Family()
	if err := checkPrefix("destination", r.Dst, f); err != nil {
		return err
	}
	if r.Table == unix.RT_TABLE_UNSPEC {
		return fmt.Errorf("table is not set")
	}
	if v == Delete {
		return nil
	}
	if r.Metric == 0 {
		return fmt.Errorf("metric 0: IPv6 turns it into 1024")
	}
	switch {
	case r.Type == RouteUnknown:
		return fmt.Errorf("route type is not set")
	case r.Type != RouteUnicast && (r.NextHopID != 0 || len(r.Hops) != 0):
		return fmt.Errorf("%s with a next hop", r.Type)
	case r.Type == RouteUnicast && (r.NextHopID == 0) == (len(r.Hops) == 0):
		return fmt.Errorf("unicast needs either a next hop id or hops")
	case len(r.Hops) > maxHops:
		return fmt.Errorf("%d hops, want %d at most", len(r.Hops), maxHops)
	}
	if r.Source.IsValid() {
		if err := checkAddress("source", r.Source, f); err != nil {
			return err
		}
	}
	for _, h := range r.Hops {
		if err := checkDevice(h.Device); err != nil {
			return err
		}
		if h.Gateway.IsValid() && f == IPv6 {
			if err := checkAddress("gateway", h.Gateway, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeRoute never sets NLM_F_APPEND: IPv6 would join the hops of a stranger's
// route of the same metric, and the joint route would carry the stranger's
// protocol (net/ipv6/ip6_fib.c, fib6_add_rt2node).
func encodeRoute(w *builder, v Verb, r Route, protocol uint8, seq uint32) error {
	if err := r.check(v); err != nil {
		return err
	}
	kind, flags := v.request(unix.RTM_NEWROUTE, unix.RTM_DELROUTE)
	start := w.begin(kind, flags, seq)
	scope := r.scope()
	if v == Delete {
		scope = unix.RT_SCOPE_NOWHERE // matches every scope
	}
	var rtFlags uint32
	if len(r.Hops) == 1 && r.Hops[0].OnLink {
		rtFlags = unix.RTNH_F_ONLINK
	}
	w.raw(addressFamily(r.Family()), uint8(r.Dst.Bits()), 0, 0,
		smallTable(r.Table), protocol, scope, r.Type.kernelType())
	w.rawU32(rtFlags)
	if r.Dst.Bits() > 0 {
		w.attrAddr(unix.RTA_DST, r.Dst.Addr())
	}
	w.attrU32(unix.RTA_TABLE, r.Table)
	if r.Metric != 0 {
		w.attrU32(unix.RTA_PRIORITY, r.Metric)
	}
	// The source is no part of the key, and it may have vanished from the
	// kernel's copy together with its address.
	if r.Source.IsValid() && v != Delete {
		w.attrAddr(unix.RTA_PREFSRC, r.Source)
	}
	if err := encodeHops(w, v, r); err != nil {
		return err
	}
	w.end(start)
	return nil
}

// smallTable returns rtm_table or frh->table, which have one byte; the
// attribute behind them holds the whole number.
func smallTable(table uint32) uint8 {
	if table < 256 {
		return uint8(table)
	}
	return unix.RT_TABLE_COMPAT
}

// encodeHops writes where r leads. A delete of an IPv6 multipath route names no
// hop: the kernel would otherwise take the hops out one by one and fail half way
// at one that has gone with its device (net/ipv6/route.c,
// ip6_route_multipath_del). Table, destination, metric and protocol identify it.
func encodeHops(w *builder, v Verb, r Route) error {
	switch {
	case r.NextHopID != 0:
		w.attrU32(rtaNHID, r.NextHopID)
	case len(r.Hops) == 1:
		w.attrU32(unix.RTA_OIF, uint32(r.Hops[0].Device.Index))
		encodeGateway(w, r.Family(), r.Hops[0].Gateway)
	case len(r.Hops) > 1 && !(v == Delete && r.Family() == IPv6):
		at := w.open(unix.RTA_MULTIPATH)
		for _, h := range r.Hops {
			if err := encodeHop(w, r.Family(), h); err != nil {
				return err
			}
		}
		w.close(at)
	}
	return nil
}

func encodeHop(w *builder, f Family, h Hop) error {
	weight, err := kernelWeight(h.Weight)
	if err != nil {
		return fmt.Errorf("hop via %s: %w", h.Device, err)
	}
	var flags uint8
	if h.OnLink {
		flags = unix.RTNH_F_ONLINK
	}
	start := len(w.b)
	w.rawU16(0)
	w.raw(flags, weight)
	w.rawU32(uint32(h.Device.Index))
	encodeGateway(w, f, h.Gateway)
	binary.NativeEndian.PutUint16(w.b[start:], uint16(len(w.b)-start))
	return nil
}

// encodeGateway writes the gateway; RTA_VIA carries one of the other family
// (RFC 8950: IPv4 routes over IPv6 routers).
func encodeGateway(w *builder, f Family, gateway netip.Addr) {
	switch {
	case !gateway.IsValid():
	case FamilyOf(gateway) == f:
		w.attrAddr(unix.RTA_GATEWAY, gateway)
	default:
		at := w.open(unix.RTA_VIA)
		w.rawU16(uint16(addressFamily(FamilyOf(gateway))))
		w.raw(gateway.AsSlice()...)
		w.close(at)
	}
}

// routeMessage is a decoded RTM_NEWROUTE or RTM_DELROUTE.
type routeMessage struct {
	// route has RouteUnknown and no hops where the kernel's has a content that
	// this package never writes: it equals no route that anybody wants, so it
	// is replaced or deleted under its key.
	route    Route
	protocol uint8
	// cloned marks an entry of the cache, which is no route.
	cloned bool
	// strange says why the kernel's key cannot be expressed as a RouteKey; "" if
	// it can.
	strange string
}

// writtenRouteAttributes are the attributes that encodeRoute writes, and the
// read-only ones that the kernel adds to any route.
const writtenRouteAttributes = 1<<unix.RTA_DST | 1<<unix.RTA_OIF | 1<<unix.RTA_GATEWAY |
	1<<unix.RTA_PRIORITY | 1<<unix.RTA_PREFSRC | 1<<unix.RTA_MULTIPATH | 1<<unix.RTA_CACHEINFO |
	1<<unix.RTA_TABLE | 1<<unix.RTA_VIA | 1<<unix.RTA_PREF | 1<<rtaNHID | 1<<unix.RTA_IIF

// decodeRoute reads the part of a message behind its header.
func decodeRoute(body []byte) (routeMessage, error) {
	if len(body) < unix.SizeofRtMsg {
		return routeMessage{}, malformed("a route of %d bytes", len(body))
	}
	a, err := parseAttributes(body[unix.SizeofRtMsg:])
	if err != nil {
		return routeMessage{}, fmt.Errorf("read route: %w", err)
	}
	m, err := decodeRouteKey(body, &a)
	if err != nil {
		return routeMessage{}, fmt.Errorf("read route: %w", err)
	}
	if err := decodeRouteContent(&m.route, body, &a); err != nil {
		return routeMessage{}, fmt.Errorf("read route %s: %w", describeKey(m.route.Key()), err)
	}
	return m, nil
}

// decodeRouteKey reads struct rtmsg and what the kernel finds a route by.
func decodeRouteKey(body []byte, a *attributes) (routeMessage, error) {
	m := routeMessage{
		protocol: body[5],
		cloned:   binary.NativeEndian.Uint32(body[8:])&unix.RTM_F_CLONED != 0,
	}
	family := familyFromKernel(body[0])
	if family == FamilyUnknown {
		return m, malformed("address family %d", body[0])
	}
	var err error
	if m.route.Dst, err = a.prefix(unix.RTA_DST, family, body[1]); err != nil {
		return m, err
	}
	m.route.Table = uint32(body[4])
	if a.has(unix.RTA_TABLE) {
		if m.route.Table, err = a.uint32(unix.RTA_TABLE); err != nil {
			return m, err
		}
	}
	if m.route.Metric, err = a.uint32(unix.RTA_PRIORITY); err != nil {
		return m, err
	}
	switch {
	case m.route.Dst.Addr().Is4In6():
		m.strange = "IPv4 in IPv6"
	case body[3] != 0:
		m.strange = fmt.Sprintf("tos 0x%02x", body[3])
	case body[2] != 0 || a.has(unix.RTA_SRC):
		m.strange = fmt.Sprintf("a source prefix of length %d", body[2])
	}
	return m, nil
}

// decodeRouteContent reads what a route does. With a next-hop id the kernel adds
// the attributes of the object (net.ipv4.nexthop_compat_mode); they are another
// object's and are left out.
func decodeRouteContent(r *Route, body []byte, a *attributes) error {
	family := familyFromKernel(body[0])
	kind := routeTypeOf(body[7])
	var err error
	if r.NextHopID, err = a.uint32(rtaNHID); err != nil {
		return err
	}
	if r.Source, err = a.address(unix.RTA_PREFSRC, family); err != nil {
		return err
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	// IPv6 shows its reject routes on lo, which nobody wrote.
	if kind == RouteUnicast && r.NextHopID == 0 {
		if r.Hops, err = decodeHops(family, flags, a); err != nil {
			return err
		}
	}
	r.Type = kind
	if kind == RouteUnknown || !asWritten(*r, body, a) {
		r.Type, r.Hops = RouteUnknown, nil
	}
	return nil
}

// asWritten reports whether everything about r that Route does not express is as
// encodeRoute leaves it.
func asWritten(r Route, body []byte, a *attributes) bool {
	known := uint64(writtenRouteAttributes)
	if r.NextHopID != 0 {
		known |= 1<<unix.RTA_ENCAP | 1<<unix.RTA_ENCAP_TYPE
	}
	if len(a.value[unix.RTA_METRICS]) == 0 {
		known |= 1 << unix.RTA_METRICS
	}
	if _, other := a.beyond(known); other {
		return false
	}
	if r.Family() == IPv4 {
		return body[6] == r.scope()
	}
	preference, err := a.uint8(unix.RTA_PREF)
	return err == nil && preference == 0 && !expires(a.value[unix.RTA_CACHEINFO])
}

// expires reads rta_expires, the third number of struct rta_cacheinfo.
func expires(b []byte) bool {
	return len(b) >= 12 && binary.NativeEndian.Uint32(b[8:]) != 0
}

// decodeHops reads inline hops. Flags that say whether a hop is usable just now
// (RTNH_F_DEAD, RTNH_F_LINKDOWN) are no content and are left out.
func decodeHops(f Family, flags uint32, a *attributes) ([]Hop, error) {
	if a.has(unix.RTA_MULTIPATH) {
		return decodeMultipath(f, a.value[unix.RTA_MULTIPATH])
	}
	index, err := a.uint32(unix.RTA_OIF)
	if err != nil {
		return nil, err
	}
	gateway, err := decodeGateway(f, a)
	if err != nil {
		return nil, err
	}
	return []Hop{{
		Device: Device{Index: int(index)}, Gateway: gateway,
		OnLink: flags&unix.RTNH_F_ONLINK != 0, Weight: 1,
	}}, nil
}

func decodeMultipath(f Family, b []byte) ([]Hop, error) {
	var hops []Hop
	for len(b) > 0 {
		if len(b) < hopHeaderLen {
			return nil, malformed("%d bytes behind the last hop", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < hopHeaderLen || length > len(b) {
			return nil, malformed("a hop of length %d in %d bytes", length, len(b))
		}
		a, err := parseAttributes(b[hopHeaderLen:length])
		if err != nil {
			return nil, err
		}
		gateway, err := decodeGateway(f, &a)
		if err != nil {
			return nil, err
		}
		hops = append(hops, Hop{
			Device:  Device{Index: int(int32(binary.NativeEndian.Uint32(b[4:])))},
			Gateway: gateway,
			OnLink:  b[2]&unix.RTNH_F_ONLINK != 0,
			Weight:  weightOf(b[3], 0),
		})
		b = b[min(align(length), len(b)):]
	}
	return hops, nil
}

func decodeGateway(f Family, a *attributes) (netip.Addr, error) {
	if !a.has(unix.RTA_VIA) {
		return a.address(unix.RTA_GATEWAY, f)
	}
	via := a.value[unix.RTA_VIA]
	if len(via) < 2 {
		return netip.Addr{}, malformed("a via of %d bytes", len(via))
	}
	return decodeAddress(via[2:], familyFromKernel(uint8(binary.NativeEndian.Uint16(via))))
}
