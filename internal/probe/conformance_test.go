package probe

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// complaint is the answer of a router to a probe: the destination is unreachable.
func complaint(b *bench, request []byte, k packet) packet {
	f := wireFamilies[0]
	router := netip.MustParseAddr("203.0.113.7")
	if b.v6 {
		f, router = wireFamilies[1], netip.MustParseAddr("2001:db8:7::7")
	}
	k.data = icmpError(f.unreachable, f.hostCode, netip.Addr{}, packetTo(k.from, request), b.v6)
	k.from = router
	return k
}

// TestDGD_12: an isolated error is met with scepticism (RFC 816 section 3): an
// unreachable costs the probe that it quotes and nothing else, however often the
// routers repeat it, so that one of them never takes a target down by itself.
func TestDGD_12(t *testing.T) {
	for name, again := range map[string]int{"once": 1, "ten times": 10} {
		t.Run(name, func(t *testing.T) {
			families(t, nil, func(t *testing.T, b *bench) {
				b.start(t)
				b.pass(5 * time.Second)
				errors := 0
				b.set(func(n *fakeNet) {
					first := len(n.sends)
					n.alter = func(request []byte, k packet) []packet {
						if len(n.sends) > first+3 { // One probe to each of three targets.
							return []packet{k}
						}
						errors++
						answers := make([]packet, again)
						for i := range answers {
							answers[i] = complaint(b, request, k)
						}
						return answers
					}
				})
				b.forget()
				b.pass(2 * time.Second)
				r, _ := b.last()
				for i, target := range r.Targets {
					// One of the last 20 probes.
					if target.Opinion != Up || target.Loss != 0.05 {
						t.Errorf("target %d: %v with a loss of %v over %d, want up with 1 of 20 lost", i, target.Opinion, target.Loss, target.Samples)
					}
				}
				for _, r := range b.reports {
					for _, target := range r.Targets {
						if target.Opinion != Up {
							t.Fatalf("in between a target was %v: %s", target.Opinion, target.Reason)
						}
					}
				}
				if errors != 3 {
					t.Errorf("%d probes met an error, want 3: the test does not test", errors)
				}
			})
		})
	}
}

// TestDGD_13: what the network says about a dead host is not thrown away (RFC 816
// section 4). An unreachable by ICMP and a refusal of the kernel (a failed ARP is
// EHOSTUNREACH) are losses at once: the targets are down after three probes,
// although a timeout of a minute would still wait for the first one.
func TestDGD_13(t *testing.T) {
	patient := func(c *Config) { c.Timeout, c.Down = time.Minute, 3 }
	for name, trouble := range map[string]func(*bench, *fakeNet){
		"unreachable by ICMP": func(b *bench, n *fakeNet) {
			n.alter = func(request []byte, k packet) []packet { return []packet{complaint(b, request, k)} }
		},
		"host unreachable from sendmsg":    func(_ *bench, n *fakeNet) { n.sendErr = syscall.EHOSTUNREACH },
		"network unreachable from sendmsg": func(_ *bench, n *fakeNet) { n.sendErr = syscall.ENETUNREACH },
	} {
		t.Run(name, func(t *testing.T) {
			families(t, patient, func(t *testing.T, b *bench) {
				b.start(t)
				b.pass(5 * time.Second)
				if got := b.opinions(); got != allUp {
					t.Fatalf("before the trouble: %v", got)
				}
				b.set(func(n *fakeNet) { trouble(b, n) })
				// Three intervals, their jitter and the way of the answer.
				b.pass(3*200*time.Millisecond + 2*10*time.Millisecond + 20*time.Millisecond)
				r, _ := b.last()
				if b.opinions() != allDown || !strings.HasPrefix(r.Targets[0].Reason, "3 probes in a row lost: ") {
					t.Errorf("%+v, want all down with the reason", r.Targets)
				}
			})
		})
	}
}
