package fib

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Verb is what an op does.
type Verb uint8

// Verbs. Replace overwrites in place under the same kernel key.
const (
	VerbUnknown Verb = iota
	Add
	Replace
	Delete
)

// String returns the word that iproute2 uses.
func (v Verb) String() string {
	switch v {
	case VerbUnknown:
		return "unknown"
	case Add:
		return "add"
	case Replace:
		return "replace"
	case Delete:
		return "del"
	default:
		panic(fmt.Sprintf("fib: unhandled verb %d", uint8(v)))
	}
}

// Object is one of [NextHop], [Group], [Route] and [Rule].
type Object interface {
	// command returns the ip command that writes the object.
	command(v Verb, protocol uint8) string
}

// Op is one kernel write.
type Op struct {
	Verb     Verb
	Object   Object
	Protocol uint8
}

// String returns op as a command of iproute2 that does the same.
func (op Op) String() string { return op.Object.command(op.Verb, op.Protocol) }

// words collects the words of a command.
type words []string

func (w *words) add(s ...string)          { *w = append(*w, s...) }
func (w *words) num(key string, n uint64) { w.add(key, strconv.FormatUint(n, 10)) }
func (w *words) dev(d Device)             { w.add("dev", d.String()) }
func (w *words) proto(p uint8)            { w.num("proto", uint64(p)) }
func (w words) String() string            { return strings.Join(w, " ") }
func ip(f Family) words {
	if f == IPv6 {
		return words{"ip", "-6"}
	}
	return words{"ip"}
}

// String returns the name of d, or its index where the name is not known.
func (d Device) String() string {
	if d.Name != "" {
		return d.Name
	}
	return "if" + strconv.Itoa(d.Index)
}

func (n NextHop) command(v Verb, protocol uint8) string {
	w := ip(n.Family)
	w.add("nexthop", v.String())
	w.num("id", uint64(n.ID))
	if v == Delete {
		return w.String()
	}
	hopWords(&w, n.Device, n.Gateway, n.OnLink)
	w.proto(protocol)
	return w.String()
}

func hopWords(w *words, d Device, gateway netip.Addr, onLink bool) {
	if gateway.IsValid() {
		w.add("via", gateway.WithZone("").String())
	}
	w.dev(d)
	if onLink {
		w.add("onlink")
	}
}

func (g Group) command(v Verb, protocol uint8) string {
	w := ip(FamilyUnknown)
	w.add("nexthop", v.String())
	w.num("id", uint64(g.ID))
	if v == Delete {
		return w.String()
	}
	members := make([]string, len(g.Members))
	for i, m := range g.Members {
		members[i] = fmt.Sprintf("%d,%d", m.NextHop, m.Weight)
	}
	w.add("group", strings.Join(members, "/"))
	if g.Type == GroupResilient {
		w.add("type", "resilient")
		w.num("buckets", uint64(g.Buckets))
		w.add("idle_timer", seconds(g.IdleTimer), "unbalanced_timer", seconds(g.UnbalancedTimer))
	}
	w.proto(protocol)
	return w.String()
}

// seconds prints d in seconds, with two decimals at the most. The kernel knows
// hundredths, iproute2 (6.1) takes whole seconds only.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Truncate(10*time.Millisecond).Seconds(), 'f', -1, 64)
}

func (r Route) command(v Verb, protocol uint8) string {
	w := ip(r.Family())
	w.add("route", v.String())
	if r.Type != RouteUnicast {
		w.add(r.Type.String())
	}
	w.add(destination(r.Dst))
	if r.NextHopID != 0 {
		w.num("nhid", uint64(r.NextHopID))
	}
	if len(r.Hops) == 1 {
		hopWords(&w, r.Hops[0].Device, r.Hops[0].Gateway, r.Hops[0].OnLink)
	}
	w.num("table", uint64(r.Table))
	w.num("metric", uint64(r.Metric))
	w.proto(protocol)
	if r.Source.IsValid() {
		w.add("src", r.Source.String())
	}
	if len(r.Hops) > 1 {
		// ip takes everything behind the first of these words for hops.
		for _, h := range r.Hops {
			w.add("nexthop")
			hopWords(&w, h.Device, h.Gateway, h.OnLink)
			w.num("weight", uint64(h.Weight))
		}
	}
	return w.String()
}

func destination(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "default"
	}
	return p.String()
}

func (r Rule) command(v Verb, protocol uint8) string {
	w := ip(r.Family)
	w.add("rule", v.String())
	w.num("pref", uint64(r.Priority))
	if r.From.IsValid() {
		w.add("from", r.From.String())
	}
	if r.To.IsValid() {
		w.add("to", r.To.String())
	}
	if r.Mask != 0 {
		w.add("fwmark", fmt.Sprintf("0x%x/0x%x", r.Mark, r.Mask))
	}
	if r.Goto != 0 {
		w.num("goto", uint64(r.Goto))
	} else {
		w.num("lookup", uint64(r.Table))
	}
	if r.MinPrefixLen > 0 {
		w.num("suppress_prefixlength", uint64(r.MinPrefixLen-1))
	}
	w.num("protocol", uint64(protocol))
	return w.String()
}
