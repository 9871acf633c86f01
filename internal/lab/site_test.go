package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func newTestSite(t *testing.T) *Site {
	t.Helper()
	s, err := NewSite(newTestLab(t), SiteOptions{ISPs: []ISP{{Name: "isp1"}, {Name: "isp2", PointToPoint: true}}})
	must(t, err)
	return s
}

// defaultBy gives the edge a default route of both families by an ISP.
func defaultBy(t *testing.T, s *Site, isp string) {
	t.Helper()
	a, err := s.Access(isp)
	must(t, err)
	for _, v6 := range []bool{false, true} {
		f := "-4"
		if v6 {
			f = "-6"
		}
		_, err := s.Edge.IP(f, "route", "replace", "default", "via", a.Line(v6).Gateway.String(), "dev", a.Device, "onlink")
		must(t, err)
	}
}

func access(t *testing.T, s *Site, isp string) *Access {
	t.Helper()
	a, err := s.Access(isp)
	must(t, err)
	return a
}

func lanReaches(t *testing.T, s *Site, timeout time.Duration) (answers int) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		if pings(t, s.LAN, s.Destinations(v6)[19], timeout) {
			answers++
		}
	}
	return answers
}

func TestSiteWorksByEachISP(t *testing.T) {
	t.Parallel()
	s := newTestSite(t)
	if n := lanReaches(t, s, 100*time.Millisecond); n != 0 {
		t.Fatalf("%d answers without a default route", n)
	}
	for _, isp := range []string{"isp1", "isp2"} {
		a := access(t, s, isp)
		tap, err := NewTap(a.Host, a.FarDevice)
		must(t, err)
		defaultBy(t, s, isp)
		if n := lanReaches(t, s, patient); n != 2 {
			t.Errorf("%s: %d of 2 answers to the LAN", isp, n)
		}
		for _, v6 := range []bool{false, true} {
			if l := a.Line(v6); !pings(t, s.Edge, l.Gateway, patient) || !pings(t, s.Internet, l.Source, patient) {
				t.Errorf("%s: no answer on %+v", isp, l)
			}
		}
		all := append(append([]netip.Addr{}, s.Destinations(false)...), s.Destinations(true)...)
		f, err := StartFlows(FlowOptions{From: s.LAN, To: s.Internet, Destinations: all, Flows: 40, Rate: 50})
		must(t, err)
		waitFor(t, "all flows pass "+isp, func() bool { return len(tap.Seen(f)) == 40 && arrivals(f, time.Time{}) == 40 })
		must(t, f.Stop())
		must(t, tap.Close())
	}
}

func TestSiteFailures(t *testing.T) {
	t.Parallel()
	s := newTestSite(t)
	for _, isp := range []string{"isp1", "isp2"} {
		a := access(t, s, isp)
		defaultBy(t, s, isp)
		must(t, s.CutSilently(isp, true))
		if n := lanReaches(t, s, 200*time.Millisecond); n != 0 {
			t.Errorf("%s: %d answers while cut", isp, n)
		}
		if !pings(t, s.Edge, a.IPv4.Gateway, patient) || !pings(t, s.Edge, a.IPv6.Gateway, patient) {
			t.Errorf("%s: the gateway does not answer while cut", isp)
		}
		must(t, s.CutSilently(isp, false))
		if n := lanReaches(t, s, patient); n != 2 {
			t.Errorf("%s: %d answers after the cut", isp, n)
		}
		for _, on := range []bool{false, true} {
			must(t, s.Carrier(isp, on))
			waitFor(t, "the carrier follows", func() bool {
				out, err := s.Edge.IP("-o", "link", "show", a.Device)
				must(t, err)
				return strings.Contains(out, "LOWER_UP") == on
			})
		}
		defaultBy(t, s, isp)
		if n := lanReaches(t, s, patient); n != 2 {
			t.Errorf("%s: %d answers after the carrier came back", isp, n)
		}
	}
}

// TestAnswersAvoidTheBrokenISP would get no answers if they still came by isp1.
func TestAnswersAvoidTheBrokenISP(t *testing.T) {
	t.Parallel()
	s := newTestSite(t)
	defaultBy(t, s, "isp2")
	must(t, s.CutSilently("isp1", true))
	if n := lanReaches(t, s, patient); n != 2 {
		t.Errorf("%d answers", n)
	}
}

func TestSitePPPReturnsWithANewAddress(t *testing.T) {
	t.Parallel()
	s := newTestSite(t)
	a := access(t, s, "isp2")
	first, err := s.Edge.Index(a.Device)
	must(t, err)
	oldLine := a.IPv4
	must(t, s.DeletePPP("isp2"))
	if _, err := s.Edge.Index(a.Device); err == nil {
		t.Error("the device is still there")
	}
	fresh := oldLine.Source.Next()
	must(t, s.CreatePPP("isp2", fresh))
	second, err := s.Edge.Index(a.Device)
	must(t, err)
	if first == second || a.IPv4.Source != fresh {
		t.Errorf("index %d then %d, source %s", first, second, a.IPv4.Source)
	}
	defaultBy(t, s, "isp2")
	if n := lanReaches(t, s, patient); n != 2 {
		t.Errorf("%d answers by the new session", n)
	}
	for _, source := range []netip.Addr{fresh, a.IPv6.Source} {
		if !pings(t, s.Internet, source, patient) {
			t.Errorf("the internet does not reach %s", source)
		}
	}
	must(t, s.DeletePPP("isp2"))
	if err := s.CreatePPP("isp2", addr("192.0.2.99")); err == nil || !strings.Contains(err.Error(), "203.0.113.8/29") {
		t.Errorf("got %v", err)
	}
	must(t, s.CreatePPP("isp2"))
	if a.IPv4.Source != fresh {
		t.Errorf("source %s, want the last one %s", a.IPv4.Source, fresh)
	}
}

func TestSiteRefuses(t *testing.T) {
	t.Parallel()
	s := newTestSite(t)
	for what, err := range map[string]error{
		"unknown ISP":   s.CutSilently("isp9", true),
		"no PPP delete": s.DeletePPP("isp1"),
		"no PPP create": s.CreatePPP("isp1"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := s.Targets("isp9"); err == nil {
		t.Error("targets of an unknown ISP")
	}
	for _, o := range []SiteOptions{{}, {ISPs: make([]ISP, 65)}, {ISPs: make([]ISP, 1), Targets: 201}} {
		if _, err := NewSite(s.Lab, o); err == nil {
			t.Errorf("built %+v", o)
		}
	}
}

func TestTargetsAreNotShared(t *testing.T) {
	t.Parallel()
	s := newTestSite(t)
	owner := map[netip.Addr]string{}
	for _, isp := range []string{"isp1", "isp2"} {
		targets, err := s.Targets(isp)
		must(t, err)
		if len(targets) != 6 {
			t.Errorf("%s: %v", isp, targets)
		}
		for _, target := range targets {
			if owner[target] != "" {
				t.Errorf("%s is a target of %s and %s", target, owner[target], isp)
			}
			owner[target] = isp
		}
	}
}

// TestLabsSideBySide builds the same site several times at once: same names, same
// addresses, nothing in common.
func TestLabsSideBySide(t *testing.T) {
	t.Parallel()
	for i := range 6 {
		t.Run(itoa(i), func(t *testing.T) {
			t.Parallel()
			s := newTestSite(t)
			defaultBy(t, s, []string{"isp1", "isp2"}[i%2])
			must(t, s.CutSilently([]string{"isp2", "isp1"}[i%2], true))
			if n := lanReaches(t, s, patient); n != 2 {
				t.Errorf("%d answers", n)
			}
		})
	}
}
