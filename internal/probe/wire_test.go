package probe

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var testIdentity = identity{id: 0x1234, cookie: [cookieSize]byte{1, 2, 3, 4, 5, 6, 7, 8}}

const testSequence = 0x0102030405060708

// reply turns an echo request into its answer, as a host would.
func reply(request []byte, v6 bool) []byte {
	b := append([]byte(nil), request...)
	b[0] = v4EchoReply
	if v6 {
		b[0] = v6EchoReply
	}
	return sealed(b, v6)
}

// sealed puts the checksum of an IPv4 ICMP message in place.
func sealed(b []byte, v6 bool) []byte {
	if v6 {
		return b
	}
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// packetTo puts an IP header in front of an ICMP message.
func packetTo(to netip.Addr, message []byte) []byte {
	if to.Is6() {
		header := make([]byte, v6HeaderSize)
		header[0], header[6] = 0x60, protocolICMPv6
		a := to.WithZone("").As16()
		copy(header[24:], a[:])
		return append(header, message...)
	}
	header := make([]byte, v4HeaderMin)
	header[0], header[9] = 0x45, protocolICMPv4
	a := to.As4()
	copy(header[16:], a[:])
	return append(header, message...)
}

// icmpError wraps a quote.
func icmpError(kind, code byte, router netip.Addr, quote []byte, v6 bool) []byte {
	b := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	if router.Is4() {
		a := router.As4()
		copy(b[4:], a[:])
	}
	return sealed(append(b, quote...), v6)
}

type wireFamily struct {
	name                      string
	v6                        bool
	target, router            netip.Addr
	unreachable, hostCode     byte
	portCode, other, redirect byte
	quotedHeader              int
}

var wireFamilies = []wireFamily{
	{"ipv4", false, netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1"), v4Unreachable, 1, 3, 11, v4Redirect, v4HeaderMin},
	{"ipv6", true, netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("fe80::1"), v6Unreachable, 3, 4, 3, v6Redirect, v6HeaderSize},
}

func TestEchoRoundTrip(t *testing.T) {
	for _, f := range wireFamilies {
		request := appendEcho(nil, f.v6, testIdentity, testSequence)
		if len(request) != packetSize {
			t.Fatalf("%s: %d bytes", f.name, len(request))
		}
		if !f.v6 && checksum(request) != 0 {
			t.Errorf("%s: wrong checksum", f.name)
		}
		got, why := parse(reply(request, f.v6), f.v6, testIdentity)
		want := message{kind: messageReply, ours: true, sequence: testSequence}
		if why != Believed {
			t.Fatalf("%s: %v", f.name, why)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s: -want +got\n%s", f.name, diff)
		}
		// Our own request is not an answer.
		if _, why := parse(request, f.v6, testIdentity); why != IgnoredType {
			t.Errorf("%s: request: %v", f.name, why)
		}
	}
}

// RFC 1071 section 3 gives this example.
func TestChecksum(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := checksum(b); got != ^uint16(0xddf2) {
		t.Errorf("checksum %#x, want %#x", got, ^uint16(0xddf2))
	}
	if got := checksum([]byte{0x01}); got != ^uint16(0x0100) {
		t.Errorf("odd length: %#x", got)
	}
}

func TestParseReplyIgnored(t *testing.T) {
	for _, f := range wireFamilies {
		for _, c := range []struct {
			name   string
			change func([]byte) []byte
			want   Ignored
		}{
			{"nothing", func([]byte) []byte { return nil }, IgnoredMalformed},
			{"7 bytes", func(b []byte) []byte { return b[:7] }, IgnoredMalformed},
			{"code", func(b []byte) []byte { b[1] = 1; return b }, IgnoredMalformed},
			{"id", func(b []byte) []byte { b[5]++; return b }, IgnoredIdentifier},
			{"cookie", func(b []byte) []byte { b[8]++; return b }, IgnoredCookie},
			{"last byte of cookie", func(b []byte) []byte { b[15]++; return b }, IgnoredCookie},
			{"no payload", func(b []byte) []byte { return b[:8] }, IgnoredCookie},
			{"payload cut", func(b []byte) []byte { return b[:packetSize-1] }, IgnoredCookie},
			{"sequences differ", func(b []byte) []byte { b[7]++; return b }, IgnoredMalformed},
			{"type", func(b []byte) []byte { b[0] = f.other; b[1] = f.portCode; return b }, IgnoredType},
			{"longer is fine", func(b []byte) []byte { return append(b, 0, 0) }, Believed},
		} {
			b := c.change(reply(appendEcho(nil, f.v6, testIdentity, testSequence), f.v6))
			if len(b) >= 4 {
				b = sealed(b, f.v6)
			}
			if _, why := parse(b, f.v6, testIdentity); why != c.want {
				t.Errorf("%s %s: %v, want %v", f.name, c.name, why, c.want)
			}
		}
	}
	damaged := reply(appendEcho(nil, false, testIdentity, 1), false)
	damaged[20]++
	if _, why := parse(damaged, false, testIdentity); why != IgnoredChecksum {
		t.Errorf("damaged: %v", why)
	}
}

func TestParseUnreachable(t *testing.T) {
	for _, f := range wireFamilies {
		request := appendEcho(nil, f.v6, testIdentity, testSequence)
		quote := packetTo(f.target, request)
		full := icmpError(f.unreachable, f.hostCode, netip.Addr{}, quote, f.v6)
		got, why := parse(full, f.v6, testIdentity)
		want := message{kind: messageUnreachable, code: f.hostCode, ours: true, sequence: testSequence, destination: f.target}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" || why != Believed {
			t.Errorf("%s: %v -want +got\n%s", f.name, why, diff)
		}
		// Every length of the quote: with less than the ICMP header it cannot
		// be ours, with less than all the sequence number is the short one.
		for n := range quote {
			m, why := parse(icmpError(f.unreachable, f.hostCode, netip.Addr{}, quote[:n], f.v6), f.v6, testIdentity)
			if n < f.quotedHeader {
				if why != IgnoredMalformed {
					t.Errorf("%s: %d bytes quoted: %v", f.name, n, why)
				}
				continue
			}
			ours := n >= f.quotedHeader+icmpHeader
			if why != Believed || m.ours != ours || m.destination != f.target {
				t.Errorf("%s: %d bytes quoted: %v %+v", f.name, n, why, m)
			}
			if ours && (!m.short || m.sequence != testSequence&0xffff) {
				t.Errorf("%s: %d bytes quoted: sequence %#x short %v", f.name, n, m.sequence, m.short)
			}
		}
	}
}

// An error about somebody else's packet is still advice, but not about a probe.
func TestParseQuoteOfOthers(t *testing.T) {
	for _, f := range wireFamilies {
		header := f.quotedHeader
		for name, change := range map[string]func(quote []byte){
			"other id":     func(q []byte) { q[header+5]++ },
			"other cookie": func(q []byte) { q[header+8]++ },
			"reply":        func(q []byte) { q[header] = 0 },
			"code":         func(q []byte) { q[header+1] = 1 },
			"tcp": func(q []byte) {
				if f.v6 {
					q[6] = 6
				} else {
					q[9] = 6
				}
			},
		} {
			quote := packetTo(f.target, appendEcho(nil, f.v6, testIdentity, testSequence))
			change(quote)
			m, why := parse(icmpError(f.unreachable, f.hostCode, netip.Addr{}, quote, f.v6), f.v6, testIdentity)
			if why != Believed || m.ours || m.destination != f.target {
				t.Errorf("%s %s: %v %+v", f.name, name, why, m)
			}
		}
		quote := packetTo(f.target, appendEcho(nil, f.v6, testIdentity, testSequence))
		if _, why := parse(icmpError(f.unreachable, f.portCode, netip.Addr{}, quote, f.v6), f.v6, testIdentity); why != IgnoredType {
			t.Errorf("%s: port unreachable: %v", f.name, why)
		}
		quote[0] = 0x25
		if _, why := parse(icmpError(f.unreachable, f.hostCode, netip.Addr{}, quote, f.v6), f.v6, testIdentity); why != IgnoredMalformed {
			t.Errorf("%s: quote of version 2: %v", f.name, why)
		}
	}
	fragment := packetTo(wireFamilies[0].target, appendEcho(nil, false, testIdentity, 1))
	fragment[7] = 1
	if m, _ := parse(icmpError(v4Unreachable, 1, netip.Addr{}, fragment, false), false, testIdentity); m.ours {
		t.Error("a later fragment is taken for a probe")
	}
}

// redirectTo makes a redirect for one of our probes to a better router.
func redirectTo(f wireFamily, router netip.Addr) []byte {
	if !f.v6 {
		return icmpError(f.redirect, 1, router, packetTo(f.target, appendEcho(nil, false, testIdentity, 1)), false)
	}
	b := make([]byte, 40)
	b[0] = f.redirect
	r, d := router.As16(), f.target.As16()
	copy(b[8:], r[:])
	copy(b[24:], d[:])
	return b
}

func TestAdvice(t *testing.T) {
	now := time.Unix(5, 0)
	for _, f := range wireFamilies {
		better := netip.MustParseAddr("203.0.113.9")
		wantHost := "host unreachable for 198.51.100.1"
		if f.v6 {
			better = netip.MustParseAddr("2001:db8::9")
			wantHost = "address unreachable for 2001:db8:1::1"
		}
		redirect, why := parse(redirectTo(f, better), f.v6, testIdentity)
		if why != Believed {
			t.Fatalf("%s redirect: %v", f.name, why)
		}
		host, why := parse(icmpError(f.unreachable, f.hostCode, netip.Addr{}, packetTo(f.target, nil), f.v6), f.v6, testIdentity)
		if why != Believed {
			t.Fatalf("%s unreachable: %v", f.name, why)
		}
		var a Advice
		if a.heed(host, f.target, f.router, f.v6, now) || a.heed(host, f.router, netip.Addr{}, f.v6, now) ||
			a.heed(message{kind: messageReply}, f.router, f.router, f.v6, now) || a != (Advice{}) {
			t.Errorf("%s: took advice from a stranger: %+v", f.name, a)
		}
		if !a.heed(host, f.router, f.router.WithZone("eth1"), f.v6, now) {
			t.Errorf("%s: refused the gateway's advice", f.name)
		}
		if want := (Advice{Unreachables: 1, Last: wantHost, LastAt: now}); a != want {
			t.Errorf("%s: %+v, want %+v", f.name, a, want)
		}
		if !a.heed(redirect, f.router, f.router, f.v6, now) {
			t.Errorf("%s: refused the gateway's redirect", f.name)
		}
		want := Advice{Redirects: 1, Unreachables: 1, Last: "redirect for " + f.target.String() + " to " + better.String(), LastAt: now}
		if a != want {
			t.Errorf("%s: %+v, want %+v", f.name, a, want)
		}
	}
	if _, why := parse(make([]byte, 39), true, testIdentity); why != IgnoredType {
		t.Errorf("zeros: %v", why)
	}
	short := redirectTo(wireFamilies[1], netip.MustParseAddr("2001:db8::9"))[:39]
	if _, why := parse(short, true, testIdentity); why != IgnoredMalformed {
		t.Errorf("short redirect: %v", why)
	}
}

// The codes that count, and those that say that the host is there.
func TestUnreachableCodes(t *testing.T) {
	for _, c := range []struct {
		v6      bool
		silent  []byte
		highest byte
	}{{false, []byte{2, 3, 4}, 15}, {true, []byte{4}, 6}} {
		silent := map[byte]bool{}
		for _, code := range c.silent {
			silent[code] = true
		}
		for code := range 256 {
			want := byte(code) <= c.highest && !silent[byte(code)]
			if got := unreachableWords(c.v6, byte(code)) != ""; got != want {
				t.Errorf("v6 %v code %d: counts %v, want %v", c.v6, code, got, want)
			}
		}
	}
}

func TestStripIPv4(t *testing.T) {
	message := []byte("message!")
	plain := packetTo(wireFamilies[0].target, message)
	options := append(append(append([]byte(nil), plain[:20]...), 1, 1, 1, 1), message...)
	options[0] = 0x46
	for name, b := range map[string][]byte{"plain": plain, "options": options} {
		if got, ok := stripIPv4(b); !ok || !bytes.Equal(got, message) {
			t.Errorf("%s: %q %v", name, got, ok)
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"19 bytes":       func(b []byte) []byte { return b[:19] },
		"version":        func(b []byte) []byte { b[0] = 0x65; return b },
		"short header":   func(b []byte) []byte { b[0] = 0x44; return b },
		"long header":    func(b []byte) []byte { b[0] = 0x4f; return b },
		"other protocol": func(b []byte) []byte { b[9] = 6; return b },
	} {
		if _, ok := stripIPv4(change(append([]byte(nil), plain...))); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzParse: no input panics, and whatever is taken for ours carries our
// identifier, a reply our cookie too.
func FuzzParse(f *testing.F) {
	for _, family := range wireFamilies {
		request := appendEcho(nil, family.v6, testIdentity, testSequence)
		quote := packetTo(family.target, request)
		for _, seed := range [][]byte{
			nil, request, reply(request, family.v6),
			icmpError(family.unreachable, family.hostCode, netip.Addr{}, quote, family.v6),
			icmpError(family.unreachable, family.hostCode, netip.Addr{}, quote[:family.quotedHeader+8], family.v6),
			redirectTo(family, family.router),
		} {
			f.Add(seed, family.v6)
			if !family.v6 {
				f.Add(packetTo(family.target, seed), family.v6)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		if stripped, ok := stripIPv4(b); ok && !v6 {
			if len(stripped) > len(b)-v4HeaderMin {
				t.Fatal("a header of no size")
			}
			b = stripped
		}
		m, why := parse(b, v6, testIdentity)
		if why != Believed {
			if m != (message{}) {
				t.Fatalf("%v, but %+v", why, m)
			}
			return
		}
		if m.kind == messageUnknown {
			t.Fatal("believed without a kind")
		}
		if m.ours && !bytes.Contains(b, []byte{0x12, 0x34}) {
			t.Fatal("ours without our identifier")
		}
		if m.kind == messageReply && !bytes.Contains(b, testIdentity.cookie[:]) {
			t.Fatal("reply without our cookie")
		}
		if m.kind != messageReply && (!m.destination.IsValid() || m.destination.Is6() != v6) {
			t.Fatalf("error about %v", m.destination)
		}
		if m.kind == messageRedirect && m.router.Is6() != v6 {
			t.Fatalf("redirect to %v", m.router)
		}
	})
}
