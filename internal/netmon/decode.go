package netmon

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// operWords are the states of RFC 2863 in the order of IF_OPER_*
// (include/uapi/linux/if.h), in the words of iproute2.
var operWords = [...]string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

func operWord(state uint8) string {
	if int(state) < len(operWords) {
		return operWords[state]
	}
	return "state " + strconv.Itoa(int(state))
}

// decodeLink reads RTM_NEWLINK.
func decodeLink(body []byte) (Link, error) {
	list := skip(body, unix.SizeofIfInfomsg)
	if list.err != nil {
		return Link{}, fmt.Errorf("decode link: %w", list.err)
	}
	flags := native.Uint32(body[8:])
	l := Link{
		Index:        int(int32(native.Uint32(body[4:]))),
		AdminUp:      flags&unix.IFF_UP != 0,
		Carrier:      flags&unix.IFF_LOWER_UP != 0,
		OperState:    operWord(0),
		PointToPoint: flags&unix.IFF_POINTOPOINT != 0,
		NoARP:        flags&unix.IFF_NOARP != 0,
	}
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = textOf(v)
		case unix.IFLA_MTU:
			mtu, _ := uint32Of(v)
			l.MTU = int(mtu)
		case unix.IFLA_OPERSTATE:
			if len(v) > 0 {
				l.OperState = operWord(v[0])
			}
		}
	}
	if list.err == nil && l.Name == "" {
		list.err = errMalformed
	}
	if list.err != nil {
		return Link{}, fmt.Errorf("decode link: %w", list.err)
	}
	return l, nil
}

// decodeAddress reads RTM_NEWADDR and tells the index of the link.
func decodeAddress(body []byte) (Address, int, error) {
	list := skip(body, unix.SizeofIfAddrmsg)
	if list.err != nil {
		return Address{}, 0, fmt.Errorf("decode address: %w", list.err)
	}
	family, bits, scope := body[0], int(body[1]), body[3]
	flags, index := uint32(body[2]), int(int32(native.Uint32(body[4:])))
	var local, other netip.Addr
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = addressOf(v)
		case unix.IFA_ADDRESS:
			other, _ = addressOf(v)
		case unix.IFA_FLAGS:
			// All 32 bits; the header has room for the first eight.
			if f, ok := uint32Of(v); ok {
				flags = f
			}
		}
	}
	// IFA_ADDRESS is the far end if there is one, else the address itself;
	// IPv6 leaves IFA_LOCAL out then.
	if !local.IsValid() {
		local = other
	}
	a := Address{
		Prefix:     netip.PrefixFrom(local, bits),
		Global:     scope == unix.RT_SCOPE_UNIVERSE,
		Usable:     usable(flags),
		Deprecated: flags&unix.IFA_F_DEPRECATED != 0,
		// The bit means "secondary" in IPv4.
		Temporary: family == unix.AF_INET6 && flags&unix.IFA_F_TEMPORARY != 0,
	}
	if other.IsValid() && other != local {
		a.Peer = other
	}
	if list.err == nil && !a.Prefix.IsValid() {
		list.err = errMalformed
	}
	if list.err != nil {
		return Address{}, 0, fmt.Errorf("decode address: %w", list.err)
	}
	return a, index, nil
}

// usable tells whether the flags IFA_F_* let an address be used: an optimistic
// address may be, while its duplicate detection still runs (RFC 4429).
func usable(flags uint32) bool {
	if flags&unix.IFA_F_DADFAILED != 0 {
		return false
	}
	return flags&unix.IFA_F_TENTATIVE == 0 || flags&unix.IFA_F_OPTIMISTIC != 0
}

// route is a default route as the kernel shows it: several hops, or a next-hop
// object that is still to be expanded.
type route struct {
	family   uint8
	kind     uint8
	protocol uint8
	table    uint32
	metric   uint32
	hops     []hop
	object   uint32
	// expires is how long the route, or the first of several hops, has to live;
	// zero means for ever or not known, negative that it is over and only waits
	// to be collected.
	expires time.Duration
}

// hop is a device with a gateway, which is the zero Addr for none.
type hop struct {
	index   int
	gateway netip.Addr
}

// isDefault tells whether a route message is about 0.0.0.0/0 or ::/0 in the
// unicast tables. It allocates nothing.
func isDefault(body []byte) bool {
	return len(body) >= unix.SizeofRtMsg &&
		(body[0] == unix.AF_INET || body[0] == unix.AF_INET6) &&
		body[1] == 0 && // rtm_dst_len
		body[2] == 0 && // rtm_src_len: an IPv6 source route is not for everybody
		native.Uint32(body[8:])&unix.RTM_F_CLONED == 0
}

// ticks converts clock_t of the kernel's interface, which is always 1/100 s
// (USER_HZ).
func ticks(n int32) time.Duration { return time.Duration(n) * (time.Second / 100) }

// decodeRoute reads RTM_NEWROUTE.
func decodeRoute(body []byte) (route, error) {
	list := skip(body, unix.SizeofRtMsg)
	if list.err != nil {
		return route{}, fmt.Errorf("decode route: %w", list.err)
	}
	r := route{family: body[0], table: uint32(body[4]), protocol: body[5], kind: body[7]}
	var single hop
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		n, _ := uint32Of(v)
		switch kind {
		case unix.RTA_TABLE:
			r.table = n
		case unix.RTA_PRIORITY:
			r.metric = n
		case rtaNHID:
			r.object = n
		case unix.RTA_OIF:
			single.index = int(int32(n))
		case unix.RTA_GATEWAY:
			single.gateway, _ = addressOf(v)
		case unix.RTA_VIA:
			single.gateway = viaOf(v)
		case unix.RTA_MULTIPATH:
			hops, err := decodeHops(v)
			if err != nil {
				return route{}, err
			}
			r.hops = append(r.hops, hops...)
		case unix.RTA_CACHEINFO:
			// struct rta_cacheinfo: rta_expires is the third number.
			if len(v) >= 12 {
				r.expires = ticks(int32(native.Uint32(v[8:])))
			}
		}
	}
	if list.err != nil {
		return route{}, fmt.Errorf("decode route: %w", list.err)
	}
	if single.index != 0 {
		r.hops = append(r.hops, single)
	}
	r.dropExpired()
	return r, nil
}

// dropExpired takes the first hop from a multipath route whose lifetime is over. IPv6
// shows routes that differ in nothing but the hop as one, with the lifetime of the
// first (rt6_fill_node of net/ipv6/route.c; on Linux 6.18 `ip -6 route add default via
// A proto ra metric 1024 expires 2` and `ip -6 route append default via B proto ra
// metric 1024 expires 600` print "expires -1sec" over both hops after three seconds).
// The lifetimes of the others are not to be seen until the kernel has collected the
// first, up to 30 s late, which it announces. A route on a next-hop object is one
// route however many hops it shows, and its lifetime that of all.
func (r *route) dropExpired() {
	if r.expires < 0 && r.object == 0 && len(r.hops) > 1 {
		r.hops, r.expires = r.hops[1:], 0
	}
}

// decodeHops reads the struct rtnexthop list of RTA_MULTIPATH.
func decodeHops(b []byte) ([]hop, error) {
	var hops []hop
	for len(b) >= unix.SizeofRtNexthop {
		length := int(native.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return nil, fmt.Errorf("decode multipath route: %w", errMalformed)
		}
		h := hop{index: int(int32(native.Uint32(b[4:])))}
		list := skip(b[:length], unix.SizeofRtNexthop)
		for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
			switch kind {
			case unix.RTA_GATEWAY:
				h.gateway, _ = addressOf(v)
			case unix.RTA_VIA:
				h.gateway = viaOf(v)
			}
		}
		if list.err != nil {
			return nil, fmt.Errorf("decode multipath route: %w", list.err)
		}
		hops = append(hops, h)
		b = b[min(align(length), len(b)):]
	}
	return hops, nil
}

// viaOf reads struct rtvia: a gateway of the other family (RFC 8950).
func viaOf(v []byte) netip.Addr {
	if len(v) < 2 {
		return netip.Addr{}
	}
	a, _ := addressOf(v[2:])
	return a
}

// nextHop is a next-hop object: one hop, or a group of other objects.
type nextHop struct {
	hop     hop
	members []uint32
}

// decodeNextHop reads RTM_NEWNEXTHOP.
func decodeNextHop(body []byte) (nextHop, error) {
	list := skip(body, sizeofNhmsg)
	var n nextHop
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		switch kind {
		case unix.NHA_OIF:
			index, _ := uint32Of(v)
			n.hop.index = int(int32(index))
		case unix.NHA_GATEWAY:
			n.hop.gateway, _ = addressOf(v)
		case unix.NHA_GROUP:
			// struct nexthop_grp: a 32-bit id, then the weight.
			for ; len(v) >= sizeofNexthopGrp; v = v[sizeofNexthopGrp:] {
				n.members = append(n.members, native.Uint32(v))
			}
		}
	}
	if list.err != nil {
		return nextHop{}, fmt.Errorf("decode next hop: %w", list.err)
	}
	return n, nil
}

// Sizes of structs of include/uapi/linux/nexthop.h.
const (
	sizeofNhmsg      = 8
	sizeofNexthopGrp = 8
)

// observation is a neighbour entry as read once.
type observation struct {
	state  NUD
	mac    string
	router bool
	// updatedAge is how long ago the entry changed, confirmedAge how long ago
	// the neighbour was last confirmed to be reachable; both are rounded down
	// to 10 ms.
	updatedAge, confirmedAge time.Duration
	// before and after are when the question was asked and answered.
	before, after time.Time
}

// decodeNeighbour reads RTM_NEWNEIGH, except for the times of the question.
func decodeNeighbour(body []byte) (observation, error) {
	list := skip(body, sizeofNdMsg)
	if list.err != nil {
		return observation{}, fmt.Errorf("decode neighbour: %w", list.err)
	}
	o := observation{
		state:  nudOf(native.Uint16(body[8:])),
		router: body[10]&unix.NTF_ROUTER != 0,
	}
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		switch kind {
		case unix.NDA_LLADDR:
			o.mac = net.HardwareAddr(v).String()
		case unix.NDA_CACHEINFO:
			// struct nda_cacheinfo: confirmed, used, updated, refcnt.
			if len(v) >= 12 {
				o.confirmedAge = ticks(int32(native.Uint32(v)))
				o.updatedAge = ticks(int32(native.Uint32(v[8:])))
			}
		}
	}
	if list.err != nil {
		return observation{}, fmt.Errorf("decode neighbour: %w", list.err)
	}
	return o, nil
}

// sizeofNdMsg is the size of struct ndmsg.
const sizeofNdMsg = 12

// nudOf translates NUD_*, of which an entry has at most one.
func nudOf(state uint16) NUD {
	switch state {
	case unix.NUD_INCOMPLETE:
		return NUDIncomplete
	case unix.NUD_REACHABLE:
		return NUDReachable
	case unix.NUD_STALE:
		return NUDStale
	case unix.NUD_DELAY:
		return NUDDelay
	case unix.NUD_PROBE:
		return NUDProbe
	case unix.NUD_FAILED:
		return NUDFailed
	case unix.NUD_NOARP:
		return NUDNoARP
	case unix.NUD_PERMANENT:
		return NUDPermanent
	default:
		// NUD_NONE: an entry about which nothing is known yet.
		return NUDAbsent
	}
}

// neighbourKeyOf reads which neighbour a RTM_NEWNEIGH or RTM_DELNEIGH is about. It
// allocates nothing.
func neighbourKeyOf(body []byte) (NeighbourKey, bool) {
	list := skip(body, sizeofNdMsg)
	for kind, v, ok := list.next(); ok; kind, v, ok = list.next() {
		if kind == unix.NDA_DST {
			a, ok := addressOf(v)
			return NeighbourKey{LinkIndex: int(int32(native.Uint32(body[4:]))), Address: a}, ok
		}
	}
	return NeighbourKey{}, false
}
