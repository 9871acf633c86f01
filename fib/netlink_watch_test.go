package fib

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// heard collects what Watch says.
type heard struct {
	mu   sync.Mutex
	said []string
}

func (h *heard) changed(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, what)
}

// all returns what was said so far, and forget begins anew.
func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.said)
}

func (h *heard) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = nil
}

func (h *heard) has(prefix string) bool {
	return slices.ContainsFunc(h.all(), func(s string) bool { return strings.HasPrefix(s, prefix) })
}

// watch starts k.Watch and waits until it listens. At the end of the test it must
// return promptly.
func watch(t *testing.T, k *Netlink) *heard {
	t.Helper()
	h := &heard{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Watch(ctx, testOwner, h.changed)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Watch goes on after the end of its context")
		}
	})
	eventually(t, "watch started", func() bool { return h.has("watch started") })
	h.forget()
	return h
}

// fence makes an event that is always reported, so that everything before it has
// been seen when it is.
func (s *site) fence(h *heard) {
	s.t.Helper()
	s.fences++
	dev := fmt.Sprintf("fence%d", s.fences)
	s.ip(FamilyUnknown, "link add %s type bridge", dev)
	eventually(s.t, "link "+dev, func() bool { return h.has("link " + dev) })
}

func TestWatchReportsWhatIsOurs(t *testing.T) {
	s := newSite(t)
	h := watch(t, s.k)
	for n, f := range Families {
		id := 1002 + 100*n
		for _, step := range []struct{ command, want string }{
			{fmt.Sprintf("nexthop add id %d via %s dev eth1 proto 133", id, s.gateway(f, 1)), fmt.Sprintf("nexthop add id %d", id)},
			{fmt.Sprintf("route add default nhid %d metric 1 table 221 proto 133", id), "route add default metric 1 table 221"},
			{"route del default metric 1 table 221 proto 133", "route del default metric 1 table 221"},
			{"route add prohibit default metric 1 table 221 proto 133", "route add default metric 1 table 221"},
			{"rule add pref 201 lookup 221 proto 133", fmt.Sprintf("rule add 201 %s", f)},
			{"rule del pref 201 lookup 221 proto 133", fmt.Sprintf("rule del 201 %s", f)},
			{fmt.Sprintf("nexthop replace id %d via %s dev eth1 proto zebra", id, s.gateway(f, 1)), fmt.Sprintf("nexthop add id %d", id)},
			{fmt.Sprintf("nexthop del id %d", id), fmt.Sprintf("nexthop del id %d", id)},
			{fmt.Sprintf("address add %s dev eth1", s.prefix(f, 5, 9)), fmt.Sprintf("address add %s on if%d", s.prefix(f, 5, 9), s.dev[1].Index)},
			{fmt.Sprintf("address del %s dev eth1", s.prefix(f, 5, 9)), fmt.Sprintf("address del %s on if%d", s.prefix(f, 5, 9), s.dev[1].Index)},
		} {
			h.forget()
			s.ip(f, "%s", step.command)
			eventually(t, step.command+" reported as "+step.want, func() bool { return slices.Contains(h.all(), step.want) })
		}
	}
	for _, step := range []struct{ command, want string }{
		{"link set eth1 down", "link eth1 down"},
		{"link set eth1 up", "link eth1 up"},
		{"link del eth1", "link eth1 deleted"},
	} {
		h.forget()
		s.ip(FamilyUnknown, "%s", step.command)
		eventually(t, step.command, func() bool { return slices.Contains(h.all(), step.want) })
	}
}

func TestWatchPassesOverEchoesAndStrangers(t *testing.T) {
	s := newSite(t)
	h := watch(t, s.k)
	for n, f := range Families {
		id := uint32(1002 + 100*n)
		objects := []Object{
			s.hop(id, f, 1),
			Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteUnicast, NextHopID: id},
			Rule{Family: f, Priority: 201, Table: 222},
		}
		s.apply(Add, objects...)
		s.apply(Replace, objects...)
		s.apply(Delete, objects[2], objects[1], objects[0])
		s.ip(f, "route add default via %s dev eth1 metric 2 table 221 proto static", s.gateway(f, 1))
		s.ip(f, "route del default via %s dev eth1 metric 2 table 221 proto static", s.gateway(f, 1))
		s.ip(f, "route add %s via %s dev eth1 proto bird", s.prefix(f, 60, 0), s.gateway(f, 1))
		s.ip(f, "route replace %s via %s dev eth2 proto bird", s.prefix(f, 60, 0), s.gateway(f, 2))
		s.ip(f, "rule add pref 100 lookup 221 proto static")
		s.ip(f, "rule add pref 300 lookup 221 proto 133")
		s.ip(f, "nexthop add id 5 via %s dev eth1 proto zebra", s.gateway(f, 1))
		s.ip(f, "nexthop del id 5")
	}
	s.fence(h)
	for _, what := range h.all() {
		if !strings.HasPrefix(what, "link fence") {
			t.Errorf("Watch reports %q", what)
		}
	}
}

// An echo that the filter lets through, because the port is a new one, is passed
// over as well.
func TestEchoIsNoEvent(t *testing.T) {
	k := newNetlink(nil)
	k.port = 4711
	b, err := encodeOp(nil, Op{Verb: Add, Object: Rule{Family: IPv4, Priority: 201, Table: 221}, Protocol: testOwner.Protocol}, 1)
	if err != nil {
		t.Fatal(err)
	}
	h, body, _, err := nextMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[uint32]string{4711: "", 4712: "rule add 201 ipv4", 0: "rule add 201 ipv4"} {
		h.port = port
		if got := k.event(h, body, testOwner); got != want {
			t.Errorf("an event of port %d is %q, want %q", port, got, want)
		}
	}
}

// Another Netlink, which may be another process, is no echo.
func TestWatchReportsOtherWriters(t *testing.T) {
	s := newSite(t)
	h := watch(t, s.k)
	s.k = s.open()
	for _, f := range Families {
		h.forget()
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteProhibit})
		eventually(t, "the route of another socket", func() bool { return h.has("route add default metric 1 table 221") })
	}
}

// The kernel does not say which route a replace removed: where ours are, it may
// have been one of them.
func TestWatchReportsForeignReplaceInOurTables(t *testing.T) {
	s := newSite(t)
	h := watch(t, s.k)
	for _, f := range Families {
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteProhibit})
		s.ip(f, "route replace default via %s dev eth1 metric 1 table 221 proto bird", s.gateway(f, 1))
		eventually(t, "the replace", func() bool { return h.has("route default metric 1 table 221 replaced by proto bird") })
		h.forget()
	}
	s.wantState()
}

// The filter works in the kernel: without the checks of user space nothing but
// what concerns us comes out of the socket.
func TestEventFilterDropsInTheKernel(t *testing.T) {
	s := newSite(t)
	w, _, err := s.k.connect(socketOptions{
		groups: s.k.watchGroups(), queue: watchQueue, filter: eventFilter(s.k.writePorts(), testOwner.Protocol),
	})
	s.must(err)
	defer func() { s.must(w.close()) }()
	for _, f := range Families {
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteProhibit})
		s.ip(f, "route add prohibit default metric 2 table 221 proto static") // dropped
		s.ip(f, "route del prohibit default metric 2 table 221 proto static") // dropped
		s.ip(f, "route add prohibit default metric 3 table 221 proto 133")    // kept
		s.ip(f, "route replace blackhole default metric 1 table 221 proto 8") // kept: ours may have gone
		s.ip(f, "route del prohibit default metric 3 table 221 proto 133")    // kept
	}
	s.ip(FamilyUnknown, "link add fence type bridge")
	var kinds []uint16
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	release := w.bound(ctx, 0)
	defer release()
	for buffer := make([]byte, receiveBuffer); !slices.Contains(kinds, unix.RTM_NEWLINK); {
		n, err := w.receive(buffer)
		s.must(err)
		hdr, _, _, err := nextMessage(buffer[:n])
		s.must(err)
		kinds = append(kinds, hdr.kind)
	}
	perFamily := []uint16{unix.RTM_NEWROUTE, unix.RTM_NEWROUTE, unix.RTM_DELROUTE}
	want := append(append(slices.Clone(perFamily), perFamily...), unix.RTM_NEWLINK)
	if !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

// A queue that overflows is said so, and the watch goes on.
func TestLNX_RT_22_LostEvents(t *testing.T) {
	s := newSite(t)
	k := s.open(WithLogger(slog.New(slog.DiscardHandler)))
	connect := k.connect
	small := func(o socketOptions) (wire, uint32, error) {
		o.queue = 1
		return connect(o)
	}
	k.connect = small
	entered, resume := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	h := &heard{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Watch(ctx, testOwner, func(what string) {
			if what == "watch started" {
				close(entered)
				<-resume // Nobody reads meanwhile.
			}
			h.changed(what)
		})
	}()
	defer func() { cancel(); <-ended }()
	<-entered
	for i := range 20 {
		s.ip(FamilyUnknown, "link set eth1 mtu %d", 1300+i)
	}
	close(resume)
	eventually(t, "lost events", func() bool { return h.has("lost events (ENOBUFS)") })
	s.fence(h)
}
