package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// chain is a - gateway - b, with b's addresses behind the gateway.
func chain(t *testing.T) (a, gateway, b *Host, far []netip.Addr) {
	t.Helper()
	l := newTestLab(t)
	a, gateway = pair(t, l)
	b = newTestHost(t, l, "far")
	must(t, gateway.Forward())
	must(t, l.Veth(gateway, "eth1", b, "eth0"))
	far = []netip.Addr{addr("198.51.100.2"), addr("2001:db8:ffff::2")}
	for i, p := range []struct{ gateway, far, all string }{
		{"198.51.100.1/24", "198.51.100.2/24", "0.0.0.0/0"},
		{"2001:db8:ffff::1/64", "2001:db8:ffff::2/64", "::/0"},
	} {
		must(t, gateway.AddAddress("eth1", prefix(p.gateway)))
		must(t, b.AddAddress("eth0", prefix(p.far)))
		must(t, a.AddRoute(prefix(p.all), pairB[i], "eth0"))
		must(t, b.AddRoute(prefix(p.all), prefix(p.gateway).Addr(), "eth0"))
		if !pings(t, a, far[i], patient) {
			t.Fatalf("no answer from %s while all is well", far[i])
		}
	}
	return a, gateway, b, far
}

func TestBlackholeDropsWhatIsRoutedAndAnswersForItself(t *testing.T) {
	t.Parallel()
	a, gateway, _, far := chain(t)
	must(t, gateway.Blackhole(true))
	must(t, gateway.Blackhole(true))
	for i := range far {
		if pings(t, a, far[i], 200*time.Millisecond) {
			t.Errorf("an answer from %s through the blackhole", far[i])
		}
		if !pings(t, a, pairB[i], patient) {
			t.Errorf("the gateway %s itself does not answer", pairB[i])
		}
	}
	must(t, gateway.Blackhole(false))
	must(t, gateway.Blackhole(false))
	for i := range far {
		if !pings(t, a, far[i], patient) {
			t.Errorf("no answer from %s after the blackhole", far[i])
		}
	}
}

func TestSilenceDropsEverything(t *testing.T) {
	t.Parallel()
	a, gateway, _, far := chain(t)
	must(t, gateway.Silence(true))
	must(t, gateway.Silence(true))
	for i := range far {
		if pings(t, a, far[i], 200*time.Millisecond) || pings(t, a, pairB[i], 200*time.Millisecond) {
			t.Errorf("an answer from %s or from %s through the silence", far[i], pairB[i])
		}
	}
	must(t, gateway.Silence(false))
	must(t, gateway.Silence(false))
	for i := range far {
		if !pings(t, a, far[i], patient) || !pings(t, a, pairB[i], patient) {
			t.Errorf("no answer from %s or %s after the silence", far[i], pairB[i])
		}
	}
}

func TestDeafGatewayIsNoNeighbourAnyMore(t *testing.T) {
	t.Parallel()
	a, gateway, _, far := chain(t)
	must(t, gateway.DeafGateway("eth0", true))
	must(t, gateway.DeafGateway("eth0", true))
	for i := range far {
		// Without its entry the neighbour must be asked for again.
		_, err := a.IP("neighbour", "flush", "all")
		must(t, err)
		if pings(t, a, pairB[i], 200*time.Millisecond) {
			t.Errorf("the deaf gateway %s answers", pairB[i])
		}
		out, err := a.IP("neighbour", "show", "to", pairB[i].String())
		must(t, err)
		if strings.Contains(out, "REACHABLE") {
			t.Errorf("the neighbour is reachable: %s", out)
		}
	}
	// Up while deaf must not fail on addresses that cannot be added.
	must(t, gateway.SetUp("eth0"))
	must(t, gateway.DeafGateway("eth0", false))
	_, err := a.IP("neighbour", "flush", "all")
	must(t, err)
	for i := range far {
		if !pings(t, a, far[i], patient) {
			t.Errorf("no answer from %s after the gateway hears again", far[i])
		}
	}
}
