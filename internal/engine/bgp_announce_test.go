package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

const announcing = `
bgp:
  as: 64500
  router-id: 192.0.2.1
  announce:
    - {prefix: 192.0.2.0/24, communities: ["64500:1"]}
    - {prefix: "2001:db8:100::/48"}
    - {prefix: 45.10.0.0/24, when: any-uplink-live}
    - {prefix: 45.10.1.0/24, when: interface, interface: lan0}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, bgp: {peer-as: 64501, peer: 203.0.113.1, families: [ipv4], med: 7, prepend: 1, communities: ["64501:9", "64500:1"], unfit: UNFIT}}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
`

// words prints announcements.
func words(all []bgp.Announcement) []string {
	var out []string
	for _, a := range all {
		w := a.Prefix.String()
		for _, c := range a.Communities {
			w += fmt.Sprintf(" %d:%d", c>>16, c&0xffff)
		}
		if a.HasMED {
			w += fmt.Sprintf(" med %d", a.MED)
		}
		out = append(out, fmt.Sprintf("%s prepend %d", w, a.Prepend))
	}
	return out
}

// TestB_POL_15_B_4271_10_Announcements: every condition and every answer to a way that
// is not fit.
func TestB_POL_15_B_4271_10_Announcements(t *testing.T) {
	unfit := map[uplink.Way]bool{wayA: true}
	live := map[fib.Family]bool{fib.IPv4: true}
	const one, two, three = "192.0.2.0/24 64500:1 64501:9", "45.10.0.0/24 64501:9 64500:1", "45.10.1.0/24 64501:9 64500:1"
	tests := []struct {
		name, unfit, lan string
		f                fitness
		want             []string
		why              []string
	}{
		{"all is well", "withdraw", "lan0 5", fitness{live: live}, []string{one + " med 7 prepend 1", two + " med 7 prepend 1", three + " med 7 prepend 1"}, nil},
		{"no uplink live", "withdraw", "lan0 5", fitness{}, []string{one + " med 7 prepend 1", three + " med 7 prepend 1"}, []string{"45.10.0.0/24 is not announced: no uplink is live in ipv4"}},
		{"the site behind is down", "withdraw", "lan0 5 nocarrier", fitness{live: live}, []string{one + " med 7 prepend 1", two + " med 7 prepend 1"}, []string{"45.10.1.0/24 is not announced: no carrier on lan0"}},
		{"the site behind is gone", "withdraw", "other 5", fitness{live: live}, []string{one + " med 7 prepend 1", two + " med 7 prepend 1"}, []string{"interface lan0 is not there"}},
		{"unfit: withdraw", "withdraw", "lan0 5", fitness{live: live, unfit: unfit}, nil, []string{"ipv4 is withdrawn: the uplink is not live"}},
		{"unfit: prepend", "prepend", "lan0 5", fitness{live: live, unfit: unfit}, []string{one + " med 7 prepend 4", two + " med 7 prepend 4", three + " med 7 prepend 4"}, []string{"prepended"}},
		{"unfit: tag", "tag", "lan0 5", fitness{live: live, unfit: unfit}, []string{one + " 65535:0 med 7 prepend 1", two + " 65535:0 med 7 prepend 1", three + " 65535:0 med 7 prepend 1"}, []string{"tagged"}},
		{"unfit: keep", "keep", "lan0 5", fitness{live: live, unfit: unfit}, []string{one + " med 7 prepend 1", two + " med 7 prepend 1", three + " med 7 prepend 1"}, nil},
		{"drained", "withdraw", "lan0 5", fitness{live: live, drained: unfit}, []string{one + " 65535:0 med 7 prepend 1", two + " 65535:0 med 7 prepend 1", three + " 65535:0 med 7 prepend 1"}, []string{"drained"}},
		{"drained and unfit: tagged once", "tag", "lan0 5", fitness{live: live, drained: unfit, unfit: unfit}, []string{one + " 65535:0 med 7 prepend 1", two + " 65535:0 med 7 prepend 1", three + " 65535:0 med 7 prepend 1"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			site := newSite(parseConfig(t, replaced(announcing, "UNFIT", tt.unfit)))
			s := hostOf(t, hostA, hostB, tt.lan)
			wishes := site.peerWishes(map[uplink.Way]view{wayA: site.look(site.members[0], s)}, s, func(member) bool { return true }, nil)
			if len(wishes) != 1 {
				t.Fatalf("%d sessions", len(wishes))
			}
			got, why := site.announcements(wishes[0], tt.f, s)
			if diff := cmp.Diff(tt.want, words(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if (why == "") != (len(tt.why) == 0 && tt.name != "drained and unfit: tagged once") {
				t.Errorf("withheld: %q", why)
			}
			for _, w := range tt.why {
				if !strings.Contains(why, w) {
					t.Errorf("%q lacks %q", why, w)
				}
			}
		})
	}
}

// TestB_4271_18_Refit: which ways are not announced through, and that short flaps are
// not told to the world twice.
func TestB_4271_18_Refit(t *testing.T) {
	wayB := uplink.Way{Uplink: "b", Family: fib.IPv4}
	members := []member{{Member: uplink.Member{Way: wayA}}, {Member: uplink.Member{Way: wayB}}}
	usable := uplink.Facts{wayA: {Usable: true}, wayB: {Usable: true}}
	live := uplink.Verdict{State: uplink.Live, Role: uplink.Active}
	dead := func(reasons ...string) uplink.Verdict {
		return uplink.Verdict{State: uplink.Dead, Role: uplink.Standby, Reasons: reasons}
	}
	held := uplink.Verdict{State: uplink.Held, Role: uplink.Standby}
	tests := []struct {
		name    string
		before  bool
		a, b    uplink.Verdict
		lacking bool
		facts   uplink.Facts
		want    bool
	}{
		{"live", true, live, live, false, usable, false},
		{"dead", false, dead("icmp: silence"), live, false, usable, true},
		{"no carrier", false, dead("link: no carrier"), live, false, usable, true},
		{"its session is down: nobody hears us anyway", false, dead("bgp: lost"), live, false, usable, false},
		{"its session is down and more", false, dead("bfd: silence", "bgp: lost"), live, false, usable, true},
		{"first dead, then only the session is down", true, dead("bgp: lost"), live, false, usable, true},
		{"its session stands without a default", false, dead("bgp: no default"), live, true, usable, true},
		{"waits after an outage", true, held, live, false, usable, true},
		{"waits after its session was lost", false, held, live, false, usable, false},
		{"carries traffic while it waits", true, uplink.Verdict{State: uplink.Held, Role: uplink.Active}, dead("x: y"), false, usable, false},
		{"drains", true, uplink.Verdict{State: uplink.Held, Role: uplink.Draining}, live, false, usable, false},
		{"dead, in use because nothing is better", false, uplink.Verdict{State: uplink.Dead, Role: uplink.Active, Reasons: []string{"icmp: silence"}}, dead("icmp: silence"), false, usable, false},
		{"dead and in use, while another waits for its session", false, uplink.Verdict{State: uplink.Dead, Role: uplink.Active, Reasons: []string{"icmp: silence"}}, dead("bgp: lost"), false, usable, false},
		{"all dead and nothing in use", false, dead("icmp: silence"), dead("icmp: silence"), false, usable, false},
		{"all dead and the kernel cannot send", false, dead("link: no carrier"), dead("link: no carrier"), false, uplink.Facts{}, true},
		{"all dead, but the other one could still send", false, dead("link: no carrier"), dead("icmp: silence"), false, uplink.Facts{wayB: {Usable: true}}, true},
		{"nothing known yet", false, uplink.Verdict{}, live, false, usable, false},
	}
	for _, tt := range tests {
		got := refit(map[uplink.Way]bool{wayA: tt.before}, members, uplink.Verdicts{wayA: tt.a, wayB: tt.b}, tt.facts, map[uplink.Way]bool{wayA: tt.lacking})
		if got[wayA] != tt.want {
			t.Errorf("%s: unfit is %t", tt.name, got[wayA])
		}
	}
}
