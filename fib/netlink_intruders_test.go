package fib

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// run executes a command that we print, as the operator would.
func (s *site) run(command string) {
	s.t.Helper()
	words := strings.Fields(command)
	if len(words) == 0 || words[0] != "ip" {
		s.t.Fatalf("no ip command: %q", command)
	}
	_, err := s.edge.IP(words[1:]...)
	s.must(err)
}

// leftovers writes what the two-ISP script leaves behind: a table per uplink with
// a default and a prohibit behind it, and the balanced one.
func (s *site) leftovers(f Family) {
	s.t.Helper()
	for i := 1; i <= 2; i++ {
		s.ip(f, "route add default table %d via %s dev eth%d proto static", 200+i, s.gateway(f, i), i)
		s.ip(f, "route append prohibit default table %d metric 1 proto static", 200+i)
	}
	s.ip(f, "route add default table 221 proto static nexthop via %s dev eth1 nexthop via %s dev eth2", s.gateway(f, 1), s.gateway(f, 2))
}

// scriptSuccessor is what a daemon wants in the script's place.
func (s *site) scriptSuccessor() Desired {
	var d Desired
	for n, f := range Families {
		group := Group{ID: 1100 + uint32(n), Type: GroupResilient, Buckets: 60}
		for i := 1; i <= 2; i++ {
			id := 1000 + uint32(4*i+2*n)
			table := uint32(200 + i)
			d.NextHops = append(d.NextHops, s.hop(id, f, i))
			group.Members = append(group.Members, Member{NextHop: id, Weight: 1})
			d.Routes = append(d.Routes,
				Route{Table: table, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: id},
				Route{Table: table, Dst: f.Any(), Metric: 4278198272, Type: RouteProhibit})
		}
		d.Groups = append(d.Groups, group)
		d.Routes = append(d.Routes, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: group.ID})
		d.Rules = append(d.Rules, Rule{Family: f, Priority: 221, Table: 221})
	}
	return d
}

// scriptProblems is what must be said of the leftovers. IPv6 gives a route without
// metric 1024, which loses.
var scriptProblems = []string{
	"table 201 holds a foreign default (proto static, metric 0) that wins over ours: remove it with: ip route del default table 201 proto static",
	"table 201 holds a foreign prohibit default (proto static, metric 1) that stands in the place of ours: remove it with: ip route del prohibit default table 201 metric 1 proto static",
	"table 201 holds a foreign prohibit default (proto static, metric 1) that stands in the place of ours: remove it with: ip -6 route del prohibit default table 201 metric 1 proto static",
	"table 202 holds a foreign default (proto static, metric 0) that wins over ours: remove it with: ip route del default table 202 proto static",
	"table 202 holds a foreign prohibit default (proto static, metric 1) that stands in the place of ours: remove it with: ip route del prohibit default table 202 metric 1 proto static",
	"table 202 holds a foreign prohibit default (proto static, metric 1) that stands in the place of ours: remove it with: ip -6 route del prohibit default table 202 metric 1 proto static",
	"table 221 holds a foreign default (proto static, metric 0) that wins over ours: remove it with: ip route del default table 221 proto static",
}

// The script's leftovers are named, in a plan as soon as its rules are there and
// by a writer in any case; what is said removes them, and then all is in order.
func TestLeftoversOfTheTwoISPScript(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.leftovers(f)
	}
	d := s.scriptSuccessor()
	if _, problems := Preview(d, s.list(), testOwner); len(problems) > 0 {
		t.Errorf("problems %q of tables that nothing leads to yet", problems)
	}
	rules := func(verb string) {
		for _, f := range Families {
			for _, table := range []int{201, 202, 221} {
				s.ip(f, "rule %s pref %d from %s lookup %d proto static", verb, table, s.addr(f, 1, 1), table)
			}
		}
	}
	rules("add")
	_, problems := Preview(d, s.list(), testOwner)
	if diff := cmp.Diff(scriptProblems, problems); diff != "" {
		t.Errorf("problems of a plan (-want +got):\n%s", diff)
	}
	rules("del")

	w := NewWriter(s.k, testOwner)
	rep := w.Sync(context.Background(), d, time.Now())
	if diff := cmp.Diff(scriptProblems, rep.Problems); diff != "" {
		t.Errorf("problems of the first write (-want +got):\n%s", diff)
	}
	if len(rep.Failed) != 4 || rep.InSync {
		t.Errorf("failed %v, want the four defaults of tables 201 and 202", rep.Failed)
	}
	for _, fail := range rep.Failed {
		refused(t, fail, "route del prohibit default table 20", " metric 1 proto static")
	}

	for _, p := range problems {
		s.run(p[strings.LastIndex(p, "ip "):])
	}
	w.Invalidate("the operator has tidied up")
	rep = w.Sync(context.Background(), d, time.Now().Add(time.Minute))
	if !rep.InSync || len(rep.Problems)+len(rep.Failed) > 0 {
		t.Errorf("after the commands: %+v, want peace", rep)
	}
	for _, f := range Families {
		s.wantShare("with the script's routes gone", f, balanced)
	}
	// What does no harm was left where it was.
	s.shows(s.ip(IPv6, "route show table 201"), "proto static metric 1024")
}

// The printed command removes a stranger's default of any kind, and ours, which
// has another metric, stays.
func TestIntruderCommandRemovesIt(t *testing.T) {
	s := newSite(t)
	for n, f := range Families {
		s.ip(f, "nexthop add id %d via %s dev eth1", 50+n, s.gateway(f, 1))
		ours := Route{Table: 221, Dst: f.Any(), Metric: 7, Type: RouteUnreachable}
		s.apply(Add, ours)
		for _, line := range []string{
			fmt.Sprintf("default via %s dev eth1", s.gateway(f, 1)),
			fmt.Sprintf("default via %s dev eth1 mtu 1400", s.gateway(f, 1)),
			fmt.Sprintf("default nhid %d", 50+n),
			fmt.Sprintf("default nexthop via %s dev eth1 nexthop via %s dev eth2", s.gateway(f, 1), s.gateway(f, 2)),
			"prohibit default", "blackhole default", "unreachable default", "throw default",
		} {
			words := strings.SplitN(line, "default", 2)
			s.ip(f, "route add %sdefault table 221 metric 3 proto bird%s", words[0], words[1])
			got := s.list().Intruders
			if len(got) != 1 || got[0].Protocol != unix.RTPROT_BIRD || got[0].Route.Key() != (RouteKey{221, f.Any(), 3}) {
				t.Fatalf("%s %q: intruders %v", f, line, got)
			}
			for _, h := range got[0].Route.Hops {
				if h.Device.Name != s.dev[1].Name && h.Device.Name != s.dev[2].Name {
					t.Errorf("%s %q: a hop on %q", f, line, h.Device.Name)
				}
			}
			s.run(got[0].Command())
			if got := s.list(); len(got.Intruders) > 0 || len(got.Routes) != n+1 {
				t.Errorf("%s %q: after its command there are intruders %v and %d routes of ours", f, line, got.Intruders, len(got.Routes))
			}
		}
	}
}

// A default for one TOS, or one source, is no rival for everything.
func TestPartialDefaultsAreNoIntruders(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 7, Type: RouteUnreachable})
	}
	s.ip(IPv4, "route add default via %s table 221 tos 0x10", s.gateway(IPv4, 1))
	s.ip(IPv6, "route add default from 2001:db8:1::/64 via %s dev eth1 metric 1 table 221", s.gateway(IPv6, 1))
	if got := s.list().Intruders; len(got) > 0 {
		t.Errorf("intruders %v", got)
	}
}

// countingWire counts what List hears.
type countingWire struct {
	wire
	bytes *int
}

func (w countingWire) receive(b []byte) (int, error) {
	n, err := w.wire.receive(b)
	*w.bytes += n
	return n, err
}

// Thousands of foreign routes cost a read nothing in a table of no concern, and one
// part of a dump per family in one of ours, whose defaults are found all the same.
func TestIntrudersAmongManyRoutes(t *testing.T) {
	s := newSite(t)
	heard, connect := 0, s.k.connect
	s.k.connect = func(o socketOptions) (wire, uint32, error) {
		w, port, err := connect(o)
		return countingWire{w, &heard}, port, err
	}
	for _, f := range Families {
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 7, Type: RouteUnreachable})
		s.ip(f, "route add prohibit default table 221 metric 3 proto static")
	}
	read := func() int {
		s.t.Helper()
		heard = 0
		if got := s.list().Intruders; len(got) != 2 {
			s.t.Errorf("intruders %v, want one per family", got)
		}
		return heard
	}
	before := read()
	s.bulk("table 100", "table 254")
	if after := read(); after != before {
		t.Errorf("a read heard %d bytes, and %d with many routes in other tables", before, after)
	}
	s.bulk("table 221")
	const part = 32 << 10 // A little more or less, as the kernel likes.
	if after := read(); after <= before || after > before+4*part {
		t.Errorf("a read heard %d bytes, and %d with many routes in our table, want a part per family", before, after)
	}
}

// bulk writes 4000 routes of a stranger per family into each table.
func (s *site) bulk(tables ...string) {
	s.t.Helper()
	for _, f := range Families {
		var script strings.Builder
		for _, table := range tables {
			for i := range 4000 {
				dst := fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)
				if f == IPv6 {
					dst = fmt.Sprintf("2001:db8:f:%x::/64", i+1)
				}
				fmt.Fprintf(&script, "route add blackhole %s %s proto bird\n", dst, table)
			}
		}
		file := filepath.Join(s.t.TempDir(), "bulk")
		s.must(os.WriteFile(file, []byte(script.String()), 0o600))
		_, err := s.edge.IP(map[Family]string{IPv4: "-4", IPv6: "-6"}[f], "-batch", file)
		s.must(err)
	}
}

// A dump of one table that fails makes the whole read fail: an error is no empty
// list. An absent table is one.
func TestIntrudersThatCannotBeRead(t *testing.T) {
	for errno, fine := range map[unix.Errno]bool{unix.ENOENT: true, unix.EPERM: false} {
		k, _ := fakeKernel(func(h header, _ []byte) []delivery {
			return []delivery{verdict(unix.NLMSG_ERROR, h.seq, errno)}
		})
		got, err := k.Intruders(context.Background(), testOwner, []uint32{221, 254, 0})
		if (err == nil) != fine || !fine && !errors.Is(err, errno) || len(got) > 0 {
			t.Errorf("%v: intruders %v, %v", errno, got, err)
		}
	}
	k, _ := fakeKernel(ack)
	asked := 0
	k.connect = func(socketOptions) (wire, uint32, error) {
		return &fakeWire{answer: func(h header, b []byte) []delivery { asked++; return ack(h, b) }}, 1, nil
	}
	tables := []uint32{unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL, unix.RT_TABLE_DEFAULT, 201, 221}
	if _, err := k.Intruders(context.Background(), testOwner, slices.Concat(tables, tables)); err != nil || asked != 4 {
		t.Errorf("%d dumps, %v, want two tables of two families", asked, err)
	}
}
