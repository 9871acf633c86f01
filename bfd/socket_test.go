package bfd

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeClock is both clocks, set by hand.
type fakeClock struct {
	now  instant
	wall int64
}

func (f *fakeClock) source() (instant, int64) { return f.now, f.wall }

func (f *fakeClock) pass(d time.Duration) {
	f.now += d
	f.wall += int64(d)
}

// A step of the wall clock moves no arrival to where it cannot have been.
func TestClock_arrival(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name string
		// stamped is how long before the reading the packet came by the wall
		// clock, which is set by step between the packet and the reading.
		stamped, step time.Duration
		// want is how long before the reading it came.
		want time.Duration
	}{
		{"read at once", 0, 0, 0},
		{"read late", 40 * ms, 0, 40 * ms},
		{"before the socket was empty", 200 * ms, 0, 100 * ms},
		{"after the reading", -5 * ms, 0, 0},
		{"clock slewed", 40 * ms, 5 * ms, 45 * ms},
		{"clock set forward by an hour", 40 * ms, time.Hour, 0},
		{"clock set back by an hour", 40 * ms, -time.Hour, 0},
		{"clock set forward a little", 40 * ms, 11 * ms, 0},
	} {
		f := &fakeClock{now: time.Hour, wall: 1_800_000_000_000_000_000}
		c := newClock(f.source)
		empty := c.read()
		f.pass(100 * ms)
		stamp := f.wall - int64(tc.stamped)
		f.wall += int64(tc.step)
		r := c.read()
		if got := r.now - r.arrival(stamp, empty); got != tc.want {
			t.Errorf("%s: came %v before the reading, want %v", tc.name, got, tc.want)
		}
		if got := r.arrival(0, empty); got != r.now {
			t.Errorf("%s: without a stamp %v, want %v", tc.name, got, r.now)
		}
		// What comes after the step is stamped right.
		f.pass(100 * ms)
		if got := c.read(); got.arrival(f.wall-int64(10*ms), r) != f.now-10*ms {
			t.Errorf("%s: the next packet is not believed", tc.name)
		}
	}
}

// Each session has a port of its own; ports that somebody else has are passed over.
func TestBFD_SH_07_Ports(t *testing.T) {
	p := newPorts(newRandom())
	foreign := map[uint16]bool{49152: true, 65535: true, 50000: true}
	use := func(port uint16) error {
		if foreign[port] {
			return unix.EADDRINUSE
		}
		return nil
	}
	seen := map[uint16]bool{}
	for range portCount - len(foreign) {
		port, err := p.reserve(use)
		if err != nil {
			t.Fatal(err)
		}
		if port < 49152 || seen[port] || foreign[port] {
			t.Fatalf("got port %d", port)
		}
		seen[port] = true
	}
	if _, err := p.reserve(use); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("none left: %v", err)
	}
	p.release(60000)
	if port, err := p.reserve(use); err != nil || port != 60000 {
		t.Errorf("after a release: %d, %v", port, err)
	}
	if _, err := newPorts(newRandom()).reserve(func(uint16) error { return unix.EADDRNOTAVAIL }); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("another error: %v", err)
	}
	starts := map[int]bool{}
	for range 8 {
		starts[newPorts(newRandom()).next] = true
	}
	if len(starts) < 2 {
		t.Error("it always starts from the same port")
	}
}

const udpTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  123: 00000000:0EC8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0
  124: 00000000:0EC9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
`

func TestPortOwner(t *testing.T) {
	proc := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("net/udp", udpTable)
	write("net/udp6", udpTable[:118])
	write("17/comm", "bfdd\n")
	write("18/comm", "other\n")
	for target, name := range map[string]string{"socket:[4711]": "17/fd/3", "socket:[4712]": "18/fd/3"} {
		path := filepath.Join(proc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
	}
	net := filepath.Join(proc, "net")
	for _, tc := range []struct {
		port uint16
		v6   bool
		own  map[uint64]bool
		want string
	}{
		{3784, false, nil, "bfdd (process 17)"},
		{3785, false, nil, "other (process 18)"},
		{3786, false, nil, ""},
		{3784, true, nil, ""},
		{3784, false, map[uint64]bool{4711: true}, ""},
	} {
		if got, err := portOwner(proc, net, tc.port, tc.v6, tc.own); got != tc.want || err != nil {
			t.Errorf("port %d: %q, %v, want %q", tc.port, got, err, tc.want)
		}
	}
	if _, err := portOwner(proc, filepath.Join(proc, "none"), 3784, false, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without /proc: %v", err)
	}
}

// Many packets make the loop wake on a grid, few do not.
func TestGather(t *testing.T) {
	g := gather{grid: time.Millisecond}
	now := time.Minute
	second := func(perSecond int) {
		for range 10 {
			now += gatherTime
			g.count += perSecond / 10
			g.judge(now)
		}
	}
	for _, tc := range []struct {
		perSecond int
		want      bool
	}{{0, false}, {1900, false}, {2200, true}, {1700, true}, {1400, false}, {1900, false}, {100_000, true}, {0, false}} {
		second(tc.perSecond)
		if g.busy != tc.want {
			t.Errorf("%d packets/s: busy is %v", tc.perSecond, g.busy)
		}
	}
	for _, tc := range []struct{ now, want instant }{{0, 1}, {999_999, 1}, {1_000_000, 2}, {1_400_000, 2}} {
		if got := g.next(tc.now); got != tc.want*time.Millisecond {
			t.Errorf("after %d comes %v", tc.now, got)
		}
	}
}

// The grid is finer than the shortest interval in use.
func TestGather_grid(t *testing.T) {
	w := newTable(newRandom(), epoch.Add)
	c := onLink(families[0].a, families[0].b)
	s, err := w.open(c, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := gridOf(w); got != maxGrid {
		t.Errorf("a session that is not up: %v", got)
	}
	s.core.state = Up
	for interval, want := range map[time.Duration]time.Duration{
		time.Second: time.Millisecond, 8 * time.Millisecond: 500 * time.Microsecond, MinInterval: 62500 * time.Nanosecond,
	} {
		s.core.pacing = interval
		if got := gridOf(w); got != want {
			t.Errorf("interval %v: grid %v, want %v", interval, got, want)
		}
	}
}

// Nothing is allocated for a packet, neither on its way in nor out.
func TestSockets_allocate(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := newSite(t)
		hostL, hostR := s.wire()
		var r *receiver
		var out *controlSocket
		index, err := hostL.Index("eth0")
		s.must(err)
		s.must(hostL.Do(func() (err error) {
			r, err = openReceiver(receiverKey{port: portSingleHop, v6: f.a.Is6(), device: "eth0", index: index})
			return err
		}))
		t.Cleanup(r.close)
		other, err := hostR.Index("eth0")
		s.must(err)
		s.must(hostR.Do(func() (err error) {
			if out, err = openControlSocket(onLink(f.b, f.a), other, newPorts(newRandom())); err != nil {
				return err
			}
			return out.aim(other)
		}))
		t.Cleanup(out.close)
		if source, err := out.source(); source != f.b || err != nil {
			t.Errorf("source %s, %v", source, err)
		}
		b, c := newBatch(), newClock(systemClock(time.Now()))
		r.empty = c.read()
		octets := patient(Down, 1, 0).Append(nil)
		if n := testing.AllocsPerRun(100, func() {
			if err := out.send(octets); err != nil {
				t.Fatal(err)
			}
			for {
				n, _, err := r.read(b, c)
				if err != nil {
					t.Fatal(err)
				}
				if n > 0 {
					break
				}
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
		d := &b.datagrams[0]
		if d.src != f.b || d.dst != f.a || d.ttl != 255 || d.link != index || d.port != portSingleHop || len(d.payload) != 24 {
			t.Errorf("datagram: %+v", d)
		}
		if now := c.read().now; d.arrived > now || d.arrived < 0 {
			t.Errorf("arrived at %v, now is %v", d.arrived, now)
		}
	})
}

// Control messages that are cut off are not read beyond their end.
func TestParseControl_short(t *testing.T) {
	whole := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 7, Addr: [4]byte{1, 2, 3, 4}})
	if c := parseControl(whole); c.link != 7 || c.dst != netip.AddrFrom4([4]byte{1, 2, 3, 4}) {
		t.Errorf("parsed %+v", c)
	}
	for n := range whole {
		if c := parseControl(whole[:n]); n < unix.CmsgLen(12) && c != (control{}) {
			t.Errorf("%d octets: %+v", n, c)
		}
	}
}
