package fib

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/multihomed/multihomed/internal/lab"
)

// patience bounds every wait in the tests: machines that run them are busy.
const patience = 30 * time.Second

// testOwner is the mark of the tests. iproute2 knows no name for 133.
var testOwner = Owner{Protocol: 133, NextHops: Range{1000, 1999}, Rules: Range{40, 230}}

// site is an edge with two uplinks, eth1 and eth2, each a veth to a host of its
// own.
type site struct {
	t    testing.TB
	edge *lab.Host
	isp  [3]*lab.Host // 1 and 2
	dev  [3]Device    // 1 and 2
	k    *Netlink
	// fences counts the links that mark a point in the stream of events.
	fences int
}

func newSite(t testing.TB, opts ...NetlinkOption) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	l, err := lab.New(lab.Options{Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &site{t: t}
	s.edge = s.host(l, "edge")
	for i := 1; i <= 2; i++ {
		s.isp[i] = s.host(l, fmt.Sprintf("isp%d", i))
		dev := fmt.Sprintf("eth%d", i)
		s.must(l.Veth(s.edge, dev, s.isp[i], "eth0"))
		for _, f := range Families {
			s.must(s.edge.AddAddress(dev, s.prefix(f, i, 1)))
			s.must(s.isp[i].AddAddress("eth0", s.prefix(f, i, 2)))
		}
		index, err := s.edge.Index(dev)
		s.must(err)
		s.dev[i] = Device{Index: index, Name: dev}
	}
	s.must(s.edge.SetUp("lo"))
	// The kernel learns of a carrier on a queue of its own; until then IPv6 has
	// no way to the gateways.
	for i := 1; i <= 2; i++ {
		for _, f := range Families {
			eventually(t, "a way to "+s.gateway(f, i).String(), func() bool {
				out, err := s.tryIP(f, "route get %s", s.gateway(f, i))
				return err == nil && strings.Contains(out, "dev "+s.dev[i].Name)
			})
		}
	}
	s.k = s.open(opts...)
	return s
}

func (s *site) host(l *lab.Lab, name string) *lab.Host {
	h, err := l.Host(name)
	s.must(err)
	return h
}

// open opens another Netlink on the edge.
func (s *site) open(opts ...NetlinkOption) *Netlink {
	s.t.Helper()
	var k *Netlink
	s.must(s.edge.Do(func() (err error) {
		k, err = OpenNetlink(opts...)
		return err
	}))
	s.t.Cleanup(func() {
		if err := k.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return k
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// addr returns the address of a host in the subnet of uplink i: 1 is the edge,
// 2 the gateway.
func (s *site) addr(f Family, i, host int) netip.Addr {
	if f == IPv4 {
		return netip.AddrFrom4([4]byte{192, 0, byte(i), byte(host)})
	}
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", i, host))
}

func (s *site) gateway(f Family, i int) netip.Addr { return s.addr(f, i, 2) }

func (s *site) prefix(f Family, i, host int) netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(s.addr(f, i, host), 24)
	}
	return netip.PrefixFrom(s.addr(f, i, host), 64)
}

// hop returns the next hop of uplink i.
func (s *site) hop(id uint32, f Family, i int) NextHop {
	return NextHop{ID: id, Family: f, Device: s.dev[i], Gateway: s.gateway(f, i)}
}

// inline returns the hop of uplink i for an inline route.
func (s *site) inline(f Family, i, weight int) Hop {
	return Hop{Device: s.dev[i], Gateway: s.gateway(f, i), Weight: weight}
}

// ip runs iproute2 on the edge with a family flag; an error fails the test.
func (s *site) ip(f Family, line string, args ...any) string {
	s.t.Helper()
	out, err := s.tryIP(f, line, args...)
	s.must(err)
	return out
}

func (s *site) tryIP(f Family, line string, args ...any) (string, error) {
	flags := map[Family][]string{FamilyUnknown: nil, IPv4: {"-4"}, IPv6: {"-6"}}[f]
	return s.edge.IP(append(flags, strings.Fields(fmt.Sprintf(line, args...))...)...)
}

// apply writes objects and fails the test if the kernel refuses one.
func (s *site) apply(v Verb, objects ...Object) {
	s.t.Helper()
	for i, err := range s.try(v, objects...) {
		if err != nil {
			s.t.Fatalf("%s %v: %v", v, objects[i], err)
		}
	}
}

func (s *site) try(v Verb, objects ...Object) []error {
	ops := make([]Op, len(objects))
	for i, o := range objects {
		ops[i] = Op{Verb: v, Object: o, Protocol: testOwner.Protocol}
	}
	return s.k.Apply(context.Background(), ops)
}

func (s *site) list() State {
	s.t.Helper()
	st, err := s.k.List(context.Background(), testOwner)
	s.must(err)
	return st
}

// wantState compares what List returns of ours with objects and nothing else.
func (s *site) wantState(objects ...Object) {
	s.t.Helper()
	want := NewState()
	want.Capabilities = Capabilities{NextHops: true, Resilient: true}
	for _, o := range objects {
		switch o := o.(type) {
		case NextHop:
			want.NextHops[o.ID] = o
		case Group:
			want.Groups[o.ID] = o
		case Route:
			want.Routes[o.Key()] = o
		case Rule:
			want.Rules[o]++
		default:
			s.t.Fatalf("unhandled object %T", o)
		}
	}
	if diff := cmp.Diff(want, s.list(), compareAddresses, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(State{}, "Intruders")); diff != "" {
		s.t.Fatalf("state differs (-want +got):\n%s", diff)
	}
}

// compareAddresses lets cmp look at netip types.
var compareAddresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// shows fails unless the output of iproute2 has each of the words, in any order.
func (s *site) shows(output string, words ...string) {
	s.t.Helper()
	flat := strings.Join(strings.Fields(output), " ")
	for _, w := range words {
		if !strings.Contains(flat, w) {
			s.t.Errorf("ip does not show %q:\n%s", w, output)
		}
	}
}

// differs fails with the message of a characterisation: the kernel does not do
// what the design was measured on.
func (s *site) differs(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("this kernel differs from the one the design was measured on: "+format, args...)
}

// eventually waits until ok, asking again and again.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// shareOf asks the kernel for the ways to 200 destinations and returns how many
// leave by uplink 1; the rest must leave by uplink 2.
func (s *site) shareOf(f Family, extra string) int {
	s.t.Helper()
	const destinations = 200
	var script strings.Builder
	for i := range destinations {
		dst := fmt.Sprintf("203.0.113.%d", i)
		if f == IPv6 {
			dst = fmt.Sprintf("2001:db8:ffff::%x", i+1)
		}
		fmt.Fprintf(&script, "route get %s %s\n", dst, extra)
	}
	file := filepath.Join(s.t.TempDir(), "gets")
	s.must(os.WriteFile(file, []byte(script.String()), 0o600))
	out, err := s.edge.IP("-batch", file)
	s.must(err)
	one, two := strings.Count(out, "dev eth1"), strings.Count(out, "dev eth2")
	if one+two != destinations {
		s.t.Fatalf("%d+%d of %d destinations have a way:\n%s", one, two, destinations, out)
	}
	return one
}

// balanced reports whether a share of 200 is that of two equal members: four
// standard deviations around the middle.
func balanced(share int) bool { return share > 70 && share < 130 }

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
