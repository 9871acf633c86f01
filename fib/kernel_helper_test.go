package fib

import (
	"context"
	"fmt"
	"strings"
)

// The tests named after rows of the conformance list that record what the kernel
// does use iproute2 on both sides: they hold whatever this package does.

// carrier takes the carrier of uplink i away, or gives it back, from the far end
// of the cable, and waits until the kernel has seen it.
func (s *site) carrier(i int, on bool) {
	s.t.Helper()
	state := map[bool]string{true: "up", false: "down"}[on]
	_, err := s.isp[i].IP("link", "set", "eth0", state)
	s.must(err)
	eventually(s.t, fmt.Sprintf("carrier of eth%d %s", i, state), func() bool {
		out, err := s.edge.IP("link", "show", s.dev[i].Name)
		return err == nil && strings.Contains(out, "LOWER_UP") == on && strings.Contains(out, "NO-CARRIER") != on
	})
}

// inlineDefault installs a multipath default of metric 1 over both uplinks.
func (s *site) inlineDefault(f Family) {
	s.t.Helper()
	s.ip(f, "route add default metric 1 nexthop via %s dev eth1 nexthop via %s dev eth2", s.gateway(f, 1), s.gateway(f, 2))
}

// groupDefault installs next hops base+1 and base+2, a group base of them, and a
// default of metric 1 over it. kind is what `ip nexthop` calls the type of the
// group. Each family has a base of its own.
func (s *site) groupDefault(f Family, kind string) (base int) {
	s.t.Helper()
	base = map[Family]int{IPv4: 4000, IPv6: 6000}[f]
	for i := 1; i <= 2; i++ {
		s.ip(f, "nexthop add id %d via %s dev eth%d", base+i, s.gateway(f, i), i)
	}
	s.ip(FamilyUnknown, "nexthop add id %d group %d/%d %s", base, base+1, base+2, kind)
	s.ip(f, "route add default nhid %d metric 1", base)
	return base
}

// listener hears every route, next-hop and rule event.
type listener struct {
	s *site
	w wire
}

func (s *site) listen() *listener {
	s.t.Helper()
	w, _, err := s.k.connect(socketOptions{groups: s.k.watchGroups(), queue: watchQueue})
	s.must(err)
	s.t.Cleanup(func() { s.must(w.close()) })
	return &listener{s, w}
}

// heard returns what came since the last call, in words: "route del ipv4",
// "nexthop add". Events of links and addresses are left out, and so are the
// routes that the kernel keeps for its own addresses.
func (l *listener) heard() string {
	l.s.t.Helper()
	l.s.fences++
	fence := fmt.Sprintf("fence%d", l.s.fences)
	l.s.ip(FamilyUnknown, "link add %s type bridge", fence)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	release := l.w.bound(ctx, 0)
	defer release()
	var words []string
	for buffer := make([]byte, receiveBuffer); ; {
		n, err := l.w.receive(buffer)
		l.s.must(err)
		h, body, _, err := nextMessage(buffer[:n])
		l.s.must(err)
		word, end := l.inWords(h, body, fence)
		if end {
			return strings.Join(words, ", ")
		}
		if word != "" {
			words = append(words, word)
		}
	}
}

func (l *listener) inWords(h header, body []byte, fence string) (word string, end bool) {
	l.s.t.Helper()
	switch h.kind / 4 * 4 {
	case 16: // RTM_NEWLINK
		link, err := decodeLink(body)
		l.s.must(err)
		return "", link.name == fence
	case 24: // RTM_NEWROUTE
		m, err := decodeRoute(body)
		l.s.must(err)
		const ownOfKernel = 2 // RTPROT_KERNEL
		if m.protocol == ownOfKernel {
			return "", false
		}
		return fmt.Sprintf("route %s %s", verbOf(h), m.route.Family()), false
	case 104: // RTM_NEWNEXTHOP
		return "nexthop " + verbOf(h), false
	case 32: // RTM_NEWRULE
		return "rule " + verbOf(h), false
	default:
		return "", false
	}
}

// wantHeard compares what was heard with what the design rests on.
func (l *listener) wantHeard(when, want string) {
	l.s.t.Helper()
	if got := l.heard(); got != want {
		l.s.differs("%s it notifies %q, not %q", when, got, want)
	}
}

// wantLine compares the lines of a listing that contain about with what the
// design rests on: words that must occur there, or "" for no such line at all.
func (s *site) wantLine(when, listing, about string, words ...string) {
	s.t.Helper()
	var lines []string
	for line := range strings.Lines(listing) {
		if strings.Contains(line, about) {
			lines = append(lines, line)
		}
	}
	if len(words) == 0 && len(lines) > 0 {
		s.differs("%s there is %q", when, lines)
	}
	if len(words) > 0 && len(lines) == 0 {
		s.differs("%s there is no %q in\n%s", when, about, listing)
		return
	}
	for _, w := range words {
		if !strings.Contains(strings.Join(lines, ""), w) {
			s.differs("%s %q does not show %q", when, lines, w)
		}
	}
}

// wantShare compares the share of uplink 1, of 200.
func (s *site) wantShare(when string, f Family, ok func(share int) bool, extra ...string) {
	s.t.Helper()
	if got := s.shareOf(f, strings.Join(extra, " ")); !ok(got) {
		s.differs("%s, %s: %d of 200 destinations leave by eth1", when, f, got)
	}
}

func nothing(share int) bool    { return share == 0 }
func everything(share int) bool { return share == 200 }

// refuses runs ip and wants it to fail with words.
func (s *site) refuses(f Family, words, line string, args ...any) {
	s.t.Helper()
	_, err := s.tryIP(f, line, args...)
	if err == nil || !strings.Contains(err.Error(), words) {
		s.differs("`ip "+line+"` says %v, not %q", append(args, err, words)...)
	}
}

// set writes a setting of the edge.
func (s *site) set(name, value string) {
	s.t.Helper()
	s.must(s.edge.Sysctl(name, value))
}

// settings names the directories of settings.
var settings = map[Family]string{IPv4: "ipv4", IPv6: "ipv6"}

// neighbour writes the state of the gateway of uplink i.
func (s *site) neighbour(f Family, i int, state string) {
	s.t.Helper()
	s.ip(f, "neigh replace %s dev eth%d nud %s", s.gateway(f, i), i, state)
}
