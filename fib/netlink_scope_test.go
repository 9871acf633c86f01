package fib

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// While Watch listens, List asks for the tables that can have routes of ours, and
// finds all of ours nevertheless.
func TestListAsksPerTable(t *testing.T) {
	s := newSite(t)
	var asked []uint32
	connect := s.k.connect
	s.k.connect = func(o socketOptions) (wire, uint32, error) {
		w, port, err := connect(o)
		return tableNoter{w, &asked}, port, err
	}
	prohibit := func(table uint32) Route {
		return Route{Table: table, Dst: IPv4.Any(), Metric: 1, Type: RouteProhibit}
	}
	s.apply(Add, prohibit(201), prohibit(202))
	read := func(when string, dumps []uint32, routes ...Object) {
		t.Helper()
		asked = nil
		s.wantState(routes...)
		slices.Sort(asked)
		if got := slices.Compact(asked); !slices.Equal(got, dumps) {
			t.Errorf("%s it asks for the tables %v, want %v", when, got, dumps)
		}
	}
	read("without Watch", []uint32{0}, prohibit(201), prohibit(202))
	h := watch(t, s.k)
	read("at first", []uint32{0}, prohibit(201), prohibit(202))
	read("then", []uint32{201, 202}, prohibit(201), prohibit(202))

	s.apply(Add, prohibit(203))
	read("after a write", []uint32{201, 202, 203}, prohibit(201), prohibit(202), prohibit(203))
	s.ip(IPv4, "route add prohibit default metric 1 table 204 proto 133")
	eventually(t, "a stranger's write", func() bool { return h.has("route add default metric 1 table 204") })
	read("after a stranger's write", []uint32{201, 202, 203, 204}, prohibit(201), prohibit(202), prohibit(203), prohibit(204))
	s.apply(Delete, prohibit(204))
	read("after a delete", []uint32{201, 202, 203, 204}, prohibit(201), prohibit(202), prohibit(203))
	read("and then", []uint32{201, 202, 203}, prohibit(201), prohibit(202), prohibit(203))

	s.k.lapsed(true) // events were lost
	read("after lost events", []uint32{0}, prohibit(201), prohibit(202), prohibit(203))
	read("and then", []uint32{201, 202, 203}, prohibit(201), prohibit(202), prohibit(203))
	other := testOwner
	other.Protocol = 135
	asked = nil
	_, err := s.k.List(t.Context(), other)
	s.must(err)
	if !slices.Contains(asked, 0) {
		t.Errorf("for another owner it asks for the tables %v only", asked)
	}
}

// tableNoter notes which tables' routes of protocol 133 or 135 are asked for.
type tableNoter struct {
	wire
	asked *[]uint32
}

func (n tableNoter) send(datagram []byte) error {
	for rest := datagram; len(rest) > 0; {
		h, body, next, err := nextMessage(rest)
		if err != nil {
			return err
		}
		rest = next
		if h.kind != unix.RTM_GETROUTE || body[5] != 133 && body[5] != 135 {
			continue
		}
		a, err := parseAttributes(body[unix.SizeofRtMsg:])
		if err != nil {
			return err
		}
		table, err := a.uint32(unix.RTA_TABLE)
		if err != nil {
			return err
		}
		*n.asked = append(*n.asked, table)
	}
	return n.wire.send(datagram)
}

// A look that something was lost under is not complete.
func TestScopeLapses(t *testing.T) {
	k := newNetlink(nil, WithCapabilities(Capabilities{NextHops: true}))
	all := func() bool { return k.beginLook(testOwner).all }
	k.listens(testOwner)
	l := k.beginLook(testOwner)
	k.lapsed(true)
	k.endLook(l, nil)
	if !all() {
		t.Error("a look under which events were lost counts as complete")
	}
	k.endLook(k.beginLook(testOwner), map[uint32]bool{7: true})
	l = k.beginLook(testOwner)
	if l.all || !slices.Equal(l.tables, []uint32{7}) {
		t.Errorf("then it reads %+v", l)
	}
	k.rememberTable(8)
	k.endLook(l, map[uint32]bool{})
	if l := k.beginLook(testOwner); l.all || !slices.Equal(l.tables, []uint32{8}) {
		t.Errorf("after a table became empty and another was written to: %+v", l)
	}
	k.lapsed(false)
	if !all() {
		t.Error("it relies on a Watch that has ended")
	}
	k = newNetlink(nil)
	k.listens(testOwner)
	k.endLook(k.beginLook(testOwner), nil)
	if !k.beginLook(testOwner).all {
		t.Error("a kernel without next hops is too old for dumps of one table")
	}
}

// The routes of a Bulk are nothing to Watch, and to List of the small state, whether
// they are written, replaced, removed or lost with their group.
func TestWatchPassesOverBulk(t *testing.T) {
	s := newSite(t)
	s.must(s.k.WriteSysctl("net/ipv4/nexthop_compat_mode", "0"))
	h := watch(t, s.k)
	events, _, err := s.k.connect(socketOptions{
		groups: s.k.watchGroups(), queue: watchQueue, filter: eventFilter(s.k.writePorts(), testOwner.Protocol),
	})
	s.must(err)
	defer func() { s.must(events.close()) }()
	for _, f := range Families {
		first, second := s.bulkGroups(f)
		s.ip(f, "rule add pref 200 lookup 222 proto 133")
		prefixes := bulkPrefixes(f, 500)
		for _, step := range [][2]uint32{{0, first}, {first, second}, {second, 0}, {0, first}} {
			s.must(errors.Join(s.writeBulk(prefixes, step[0], step[1])...))
		}
		s.apply(Replace, s.rankedGroup(first, second-47, second-48))
		s.apply(Delete, Group{ID: first, Type: GroupResilient}) // and its routes with it
	}
	s.fence(h)
	for _, what := range h.all() {
		if !strings.HasPrefix(what, "link fence") && !strings.HasPrefix(what, "rule add 200") {
			t.Errorf("Watch reports %q", what)
		}
	}
	if words := heardRoutes(s, events); words != "" {
		t.Errorf("the kernel lets through %q", words)
	}
	if n := len(s.list().Routes); n != 0 {
		t.Errorf("%d routes are listed as ours", n)
	}
}

// heardRoutes returns the route events that wait in w, up to a fence.
func heardRoutes(s *site, w wire) string {
	s.t.Helper()
	return (&listener{s, w}).heardOnly("route")
}

// heardOnly is heard for the events of one kind.
func (l *listener) heardOnly(kind string) string {
	l.s.t.Helper()
	var words []string
	for _, word := range strings.Split(l.heard(), ", ") {
		if strings.HasPrefix(word, kind) {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

// Foreign defaults in a table of bulk routes are found, those of IPv6 when a Bulk
// looks: they stand behind everything else there.
func TestIntrudersBesideBulk(t *testing.T) {
	s := newSite(t)
	for _, f := range Families {
		first, _ := s.bulkGroups(f)
		s.must(errors.Join(s.writeBulk(bulkPrefixes(f, 2000), 0, first)...))
		s.ip(f, "rule add pref 200 lookup 222 proto 133")
		s.ip(f, "route add prohibit default table 222 metric 3 proto static")
	}
	s.must(s.k.ListBulk(t.Context(), testBulk, func(BulkFound) {}))
	got := s.list().Intruders
	if len(got) != 2 {
		t.Fatalf("intruders %v, want one per family", got)
	}
	for i, f := range Families {
		if got[i].Route.Table != 222 || got[i].Route.Family() != f {
			t.Errorf("intruder %v", got[i])
		}
	}
}

// Bulk writes step aside while Apply is at work, and no longer than their context.
func TestBulkStepsAsideForApply(t *testing.T) {
	k, _ := fakeKernel(ack)
	k.urgent.begin()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan []error)
	writes := []BulkWrite{{Prefix: bulkPrefixOf(IPv4, 1), NextHop: 1050}}
	go func() { ended <- k.ApplyBulk(ctx, testBulk, writes) }()
	select {
	case <-ended:
		t.Fatal("it writes while Apply is at work")
	case <-settled(k):
	}
	k.urgent.end()
	if errs := <-ended; errs != nil {
		t.Errorf("then: %v", errs)
	}
	k.urgent.begin()
	defer k.urgent.end()
	cancel()
	if errs := k.ApplyBulk(ctx, testBulk, writes); !errors.Is(errs[0], context.Canceled) {
		t.Errorf("after the end of its context: %v", errs)
	}
}

// settled returns a channel that is closed once a bulk write holds its lock.
func settled(k *Netlink) <-chan struct{} {
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		for k.bulk.writing.TryLock() {
			k.bulk.writing.Unlock()
		}
	}()
	return ready
}

// A kernel that does not answer, or in part, fails what it did not answer for and is
// not asked for the rest.
func TestApplyBulkWithoutAnswers(t *testing.T) {
	writes := make([]BulkWrite, 200)
	for i := range writes {
		writes[i] = BulkWrite{Prefix: bulkPrefixOf(IPv6, i), NextHop: 1050}
	}
	sent := 0
	k, wires := fakeKernel(func(h header, _ []byte) []delivery {
		if sent++; sent == 64 {
			return []delivery{verdict(unix.NLMSG_ERROR, h.seq, 0)}
		}
		return nil
	})
	errs := k.ApplyBulk(t.Context(), testBulk, writes)
	for i, err := range errs {
		if (err != nil) != (i >= 64) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if sent != 128 || !(*wires)[0].closed {
		t.Errorf("%d messages sent, closed %t", sent, (*wires)[0].closed)
	}
	for name, o := range map[string]BulkOwner{
		"protocol": {Protocol: 4, Table: 222, Metric: 1}, "table": {Protocol: 134, Metric: 1}, "metric": {Protocol: 134, Table: 222},
	} {
		sent = 0
		if errs := k.ApplyBulk(t.Context(), o, writes); len(errs) != 200 || errs[199] == nil || sent > 0 {
			t.Errorf("without %s it sends %d messages", name, sent)
		}
		if err := k.ListBulk(t.Context(), o, nil); err == nil || sent > 0 {
			t.Errorf("without %s it lists", name)
		}
	}
}

// An interrupted list is an error, and what came is told.
func TestListBulkInterrupted(t *testing.T) {
	w := &builder{}
	encodeBulk(w, testBulk, BulkWrite{Prefix: bulkPrefixOf(IPv4, 1), NextHop: 1050}, 0)
	k, _ := fakeKernel(func(h header, _ []byte) []delivery {
		return []delivery{
			message(unix.RTM_NEWROUTE, unix.NLM_F_DUMP_INTR, h.seq, w.b[headerLen:]),
			verdict(unix.NLMSG_DONE, h.seq, 0),
		}
	})
	var found []BulkFound
	err := k.ListBulk(t.Context(), testBulk, func(f BulkFound) { found = append(found, f) })
	if !errors.Is(err, errInterrupted) || len(found) != 1 || found[0].NextHop != 1050 {
		t.Errorf("%v, %v", found, err)
	}
	b := NewBulk(k, testBulk, slog.New(slog.DiscardHandler))
	(&bulkWriter{Bulk: b}).look(t.Context(), "start")
	if n, ok := b.Adopted(); ok || b.Stats().Routes != 1 {
		t.Errorf("%d adopted %t, %+v", n, ok, b.Stats())
	}
}

// FuzzDecodeBulk: no bytes make the quick decoder panic, or disagree with the whole
// one about a route that it takes.
func FuzzDecodeBulk(f *testing.F) {
	for _, family := range Families {
		w := &builder{}
		encodeBulk(w, testBulk, BulkWrite{Prefix: bulkPrefixOf(family, 1), NextHop: 1050}, 0)
		f.Add(w.b[headerLen:])
		w = &builder{}
		encodeBulk(w, testBulk, BulkWrite{Prefix: bulkPrefixOf(family, 1), Was: 1050}, 0)
		f.Add(w.b[headerLen:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < unix.SizeofRtMsg {
			return
		}
		family := familyFromKernel(body[0])
		if family == FamilyUnknown {
			return
		}
		found, ok, err := decodeBulk(body, family, testBulk)
		whole, wholeErr := decodeRoute(body)
		if !ok || err != nil || wholeErr != nil || found.Stray != (Stray{}) {
			return
		}
		if whole.protocol != found.Protocol || whole.route.Dst != found.Prefix || whole.route.Metric != testBulk.Metric ||
			whole.route.Type == RouteUnicast && whole.route.NextHopID != found.NextHop {
			t.Errorf("found %s, whole %s", fmt.Sprint(found), fmt.Sprint(whole))
		}
	})
}
