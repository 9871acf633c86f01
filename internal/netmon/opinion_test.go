package netmon

import "testing"

func TestOpinion(t *testing.T) {
	for _, tc := range []struct {
		name   string
		n      Neighbour
		tries  int
		want   Opinion
		reason string
	}{
		{"never seen", Neighbour{}, 3, OpinionUnknown, "not looked at yet"},
		{"absent", Neighbour{Address: addr("203.0.113.1")}, 3, OpinionUnknown, "no neighbour entry for gateway 203.0.113.1"},
		{"reachable", Neighbour{Address: addr("203.0.113.1"), State: NUDReachable, MAC: "02:00:00:00:00:01"}, 3, OpinionUp, "reachable, 02:00:00:00:00:01"},
		{"reachable without an address", Neighbour{Address: addr("203.0.113.1"), State: NUDReachable}, 3, OpinionUp, "reachable"},
		{"stale", Neighbour{Address: addr("203.0.113.1"), State: NUDStale}, 3, OpinionUnknown, "gateway 203.0.113.1 was not checked lately"},
		{"delay", Neighbour{Address: addr("203.0.113.1"), State: NUDDelay}, 3, OpinionUnknown, "checking gateway 203.0.113.1 by ARP"},
		{"probe", Neighbour{Address: addr("fe80::1"), State: NUDProbe}, 3, OpinionUnknown, "checking gateway fe80::1 by neighbour discovery"},
		{"incomplete", Neighbour{Address: addr("fe80::1"), State: NUDIncomplete}, 3, OpinionUnknown, "asking for gateway fe80::1 by neighbour discovery"},
		{"noarp", Neighbour{Address: addr("fe80::1"), State: NUDNoARP}, 3, OpinionUnknown, "gateway fe80::1 is not resolved on this link (noarp): its neighbour state says nothing"},
		{"failed, not counted", Neighbour{Address: addr("fe80::1"), State: NUDFailed}, 1, OpinionUnknown, "gateway fe80::1 could not be asked: its link was not ready"},
		{"failed once of three", Neighbour{Address: addr("fe80::1"), State: NUDFailed, Failures: 1}, 3, OpinionUnknown, "gateway fe80::1 did not answer neighbour discovery yet (1 round of solicitations), trying again"},
		{"failed twice of three", Neighbour{Address: addr("203.0.113.1"), State: NUDFailed, Failures: 2}, 3, OpinionUnknown, "gateway 203.0.113.1 did not answer ARP yet (2 rounds of solicitations), trying again"},
		{"failed three of three", Neighbour{Address: addr("203.0.113.1"), State: NUDFailed, Failures: 3}, 3, OpinionDown, "gateway 203.0.113.1 does not answer ARP (3 rounds of solicitations)"},
		{"trying again", Neighbour{Address: addr("fe80::1"), State: NUDIncomplete, Failures: 4}, 3, OpinionDown, "gateway fe80::1 does not answer neighbour discovery (4 rounds of solicitations)"},
		{"forgotten", Neighbour{Address: addr("fe80::1"), Failures: 4}, 3, OpinionDown, "gateway fe80::1 does not answer neighbour discovery (4 rounds of solicitations)"},
		{"tries below one", Neighbour{Address: addr("fe80::1"), State: NUDFailed, Failures: 1}, 0, OpinionDown, "gateway fe80::1 does not answer neighbour discovery (1 round of solicitations)"},
		{"no failures, tries below one", Neighbour{Address: addr("fe80::1"), State: NUDStale}, -1, OpinionUnknown, "gateway fe80::1 was not checked lately"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, reason := tc.n.Opinion(tc.tries)
			if got != tc.want || reason != tc.reason {
				t.Errorf("got %v, %q\nwant %v, %q", got, reason, tc.want, tc.reason)
			}
		})
	}
}

func TestOpinionString(t *testing.T) {
	for o, want := range map[Opinion]string{OpinionUnknown: "unknown", OpinionUp: "up", OpinionDown: "down", 9: "opinion 9"} {
		if got := o.String(); got != want {
			t.Errorf("%d is %q, want %q", uint8(o), got, want)
		}
	}
}
