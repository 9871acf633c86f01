package fib

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel can hold is asked, not guessed.
func TestLNX_NH_20_CapabilitiesAreProbed(t *testing.T) {
	none, plain, both := Capabilities{}, Capabilities{NextHops: true}, Capabilities{NextHops: true, Resilient: true}
	for name, c := range map[string]struct {
		nextHops, buckets unix.Errno
		want              Capabilities
	}{
		"before 5.3":  {unix.EOPNOTSUPP, unix.EOPNOTSUPP, none},
		"before 5.12": {unix.ENOENT, unix.EOPNOTSUPP, plain},
		"today":       {unix.ENOENT, unix.ENOENT, both},
		"other words": {unix.EINVAL, unix.EINVAL, both},
	} {
		k, _ := fakeKernel(func(h header, _ []byte) []delivery {
			if h.kind == unix.RTM_GETNEXTHOP {
				return []delivery{verdict(unix.NLMSG_ERROR, h.seq, c.nextHops)}
			}
			return []delivery{verdict(unix.NLMSG_ERROR, h.seq, c.buckets)}
		})
		if got, err := k.probe(context.Background()); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	k, _ := fakeKernel(func(header, []byte) []delivery { return nil })
	if _, err := k.probe(context.Background()); err == nil {
		t.Error("a kernel that does not answer is taken for one that cannot")
	}

	s := newSite(t)
	if got := s.k.Capabilities(); got != both {
		t.Errorf("this kernel: %+v, want %+v", got, both)
	}
	s.apply(Add, s.hop(1002, IPv4, 1))
	s.k = s.open(WithCapabilities(none))
	if st := s.list(); st.Capabilities != none || len(st.NextHops) != 0 {
		t.Errorf("with forced capabilities: %+v", st)
	}
}

// The socket is opened again, in the same namespace, with the port id by which
// Watch knows our echoes.
func TestSocketIsReopenedInItsNamespace(t *testing.T) {
	s := newSite(t)
	port := s.k.writePorts()[0]
	s.k.writer.reset()
	s.k.reader.reset()
	for _, f := range Families {
		s.apply(Add, Route{Table: 221, Dst: f.Any(), Metric: 1, Type: RouteProhibit})
		s.shows(s.ip(f, "route show table 221"), "prohibit default")
	}
	if got := s.k.writePorts()[0]; got != port {
		t.Errorf("port id %d after reopening, want %d", got, port)
	}
	if n := len(s.list().Routes); n != 2 {
		t.Errorf("%d routes, want 2", n)
	}
	s.k.writer.reset()
	taken := s.open() // may hold any port but two sockets never share one
	s.k.writer.port = taken.writePorts()[0]
	s.apply(Delete, Route{Table: 221, Dst: IPv4.Any(), Metric: 1, Type: RouteProhibit})
	if s.k.writePorts()[0] == taken.writePorts()[0] {
		t.Error("two sockets have one port id")
	}
}

// Watch opens its socket again whatever happens to it.
func TestWatchReconnects(t *testing.T) {
	attempts := 0
	k := newNetlink(func(socketOptions) (wire, uint32, error) {
		attempts++
		if attempts == 2 {
			return nil, 0, unix.EMFILE
		}
		return &fakeWire{queue: []delivery{
			message(unix.RTM_NEWLINK, 0, 0, make([]byte, unix.SizeofIfInfomsg)),
			{datagram: []byte{1}},
			{err: unix.ENOBUFS},
			{err: errTruncated},
			{err: unix.EBADF},
		}}, 1, nil
	}, WithLogger(slog.New(slog.DiscardHandler)))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var said []string
	k.Watch(ctx, testOwner, func(what string) {
		said = append(said, what)
		if attempts == 3 && strings.HasPrefix(what, "an event was cut off") {
			cancel()
		}
	})
	round := []string{"link  down", "an event that cannot be read: malformed netlink message: 1 bytes are too few for a header", "lost events (ENOBUFS)", "an event was cut off"}
	want := append(append([]string{"watch started"}, round...), append([]string{"reconnected"}, round...)...)
	if !slices.Equal(said, want) {
		t.Errorf("said %q\nwant %q", said, want)
	}
}

func TestSysctl(t *testing.T) {
	s := newSite(t)
	const name = "net/ipv4/nexthop_compat_mode"
	outside, err := os.ReadFile("/proc/sys/" + name)
	s.must(err)
	for _, value := range []string{"0", "1", "0"} {
		s.must(s.k.WriteSysctl(name, value))
		got, err := s.k.ReadSysctl(name)
		if err != nil || got != value {
			t.Errorf("after writing %q: %q, %v", value, got, err)
		}
	}
	var inside []byte
	s.must(s.edge.Do(func() (err error) { inside, err = os.ReadFile("/proc/sys/" + name); return err }))
	if string(inside) != "0\n" {
		t.Errorf("the namespace has %q", inside)
	}
	if after, err := os.ReadFile("/proc/sys/" + name); err != nil || !bytes.Equal(after, outside) {
		t.Errorf("the setting outside changed from %q to %q, %v", outside, after, err)
	}
	for _, missing := range []string{"net/ipv4/no_such_setting", "net/ipv6/conf/eth9/disable_ipv6"} {
		if _, err := s.k.ReadSysctl(missing); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reading %s: %v", missing, err)
		}
		if err := s.k.WriteSysctl(missing, "1"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("writing %s: %v", missing, err)
		}
	}
	for _, wrong := range []string{"", ".", "../sys/net", "/net", "net/../../etc"} {
		if _, err := s.k.ReadSysctl(wrong); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("reading %q: %v", wrong, err)
		}
	}
	if err := s.k.WriteSysctl(name, "seven"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("writing nonsense: %v", err)
	}
}
