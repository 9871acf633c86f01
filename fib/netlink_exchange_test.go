package fib

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeWire is a kernel in memory. answer gets each message that is sent and
// returns the datagrams that come back, or an error that receive returns.
type fakeWire struct {
	answer  func(h header, body []byte) []delivery
	queue   []delivery
	sent    int
	closed  bool
	refused error // returned by send
	ctx     context.Context
}

// delivery is one datagram, or what goes wrong in its place.
type delivery struct {
	datagram []byte
	err      error
}

func (w *fakeWire) bound(ctx context.Context, _ time.Duration) func() {
	w.ctx = ctx
	return func() {}
}

func (w *fakeWire) send(datagram []byte) error {
	if w.refused != nil {
		return w.refused
	}
	for len(datagram) > 0 {
		h, body, rest, err := nextMessage(datagram)
		if err != nil {
			return err
		}
		datagram = rest
		w.sent++
		w.queue = append(w.queue, w.answer(h, body)...)
	}
	return nil
}

func (w *fakeWire) receive(buffer []byte) (int, error) {
	if len(w.queue) == 0 {
		return 0, os.ErrDeadlineExceeded // The kernel says no more.
	}
	d := w.queue[0]
	w.queue = w.queue[1:]
	return copy(buffer, d.datagram), d.err
}

func (w *fakeWire) close() error { w.closed = true; return nil }

// fakeKernel returns a Netlink over wires that answer all alike, and the wires
// opened so far.
func fakeKernel(answer func(h header, body []byte) []delivery) (*Netlink, *[]*fakeWire) {
	var wires []*fakeWire
	k := newNetlink(func(socketOptions) (wire, uint32, error) {
		w := &fakeWire{answer: answer}
		wires = append(wires, w)
		return w, 4711, nil
	}, WithCapabilities(Capabilities{NextHops: true, Resilient: true}))
	return k, &wires
}

// message builds a datagram of one message.
func message(kind, flags uint16, seq uint32, body []byte) delivery {
	w := &builder{}
	start := w.begin(kind, flags, seq)
	w.raw(body...)
	w.end(start)
	return delivery{datagram: w.b}
}

// verdict builds NLMSG_ERROR or NLMSG_DONE with an errno, 0 for success.
func verdict(kind uint16, seq uint32, errno unix.Errno) delivery {
	body := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	return message(kind, unix.NLM_F_CAPPED, seq, append(body, make([]byte, headerLen)...))
}

// ack answers writes with success, looks with "there is none", and dumps with an
// empty list.
func ack(h header, _ []byte) []delivery {
	switch {
	case h.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		return []delivery{verdict(unix.NLMSG_DONE, h.seq, 0)}
	case h.kind == unix.RTM_GETNEXTHOP:
		return []delivery{verdict(unix.NLMSG_ERROR, h.seq, unix.ENOENT)}
	default:
		return []delivery{verdict(unix.NLMSG_ERROR, h.seq, 0)}
	}
}

func someRoutes(n int) []Op {
	ops := make([]Op, n)
	for i := range ops {
		ops[i] = Op{Verb: Add, Protocol: 133, Object: Route{Table: 221, Dst: IPv6.Any(), Metric: uint32(i + 1), Type: RouteProhibit}}
	}
	return ops
}

func TestApplyMatchesRepliesBySequence(t *testing.T) {
	var held []delivery
	k, wires := fakeKernel(nil)
	k.connect = func(socketOptions) (wire, uint32, error) {
		w := &fakeWire{}
		w.answer = func(h header, _ []byte) []delivery {
			errno := unix.Errno(0)
			if h.seq == 1 {
				errno = unix.EPERM
			}
			held = append(held, verdict(unix.NLMSG_ERROR, h.seq, errno))
			if len(held) < 5 {
				return nil
			}
			slices.Reverse(held) // Backwards, with foreign and repeated ones before.
			stray := verdict(unix.NLMSG_ERROR, 99999, unix.EIO)
			return append([]delivery{stray, held[0]}, append(held, stray)...)
		}
		*wires = append(*wires, w)
		return w, 1, nil
	}
	for i, err := range k.Apply(context.Background(), someRoutes(5)) {
		if (err != nil) != (i == 0) || i == 0 && !errors.Is(err, unix.EPERM) {
			t.Errorf("op %d: %v", i, err)
		}
	}
}

// A reply that never comes is an error of its op, and of no other.
func TestApplyLostReply(t *testing.T) {
	k, wires := fakeKernel(func(h header, body []byte) []delivery {
		if h.seq == 2 {
			return nil
		}
		return ack(h, body)
	})
	for i, err := range k.Apply(context.Background(), someRoutes(4)) {
		if (err != nil) != (i == 1) || i == 1 && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("op %d: %v", i, err)
		}
	}
	if !(*wires)[0].closed {
		t.Error("the socket with an answer outstanding is still in use")
	}
}

func TestApplyBadReplies(t *testing.T) {
	for name, bad := range map[string]delivery{
		"overflow":  {err: unix.ENOBUFS},
		"cut off":   {err: errTruncated},
		"garbage":   {datagram: []byte{1, 2, 3}},
		"too long":  {datagram: binary.NativeEndian.AppendUint32(nil, 1<<31)},
		"zero long": {datagram: make([]byte, headerLen)},
	} {
		t.Run(name, func(t *testing.T) {
			first := true
			k, wires := fakeKernel(func(h header, body []byte) []delivery {
				if first {
					first = false
					return []delivery{bad}
				}
				return ack(h, body)
			})
			for i, err := range k.Apply(context.Background(), someRoutes(2*maxBatch)) {
				if (err != nil) != (i < maxBatch) {
					t.Fatalf("op %d: %v", i, err)
				}
			}
			if len(*wires) != 2 || !(*wires)[0].closed {
				t.Errorf("%d sockets were used, want a fresh one for the second batch", len(*wires))
			}
		})
	}
}

// A short verdict is not a success.
func TestApplyShortVerdict(t *testing.T) {
	k, _ := fakeKernel(func(h header, _ []byte) []delivery {
		return []delivery{message(unix.NLMSG_ERROR, 0, h.seq, []byte{0, 0})}
	})
	if err := k.Apply(context.Background(), someRoutes(1))[0]; !errors.Is(err, errMalformed) {
		t.Errorf("error %v, want a malformed message", err)
	}
}

func TestApplyUnsendable(t *testing.T) {
	k, _ := fakeKernel(ack)
	k.connect = func(socketOptions) (wire, uint32, error) { return &fakeWire{refused: unix.EPERM}, 1, nil }
	for i, err := range k.Apply(context.Background(), someRoutes(2)) {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("op %d: %v", i, err)
		}
	}
	k.connect = func(socketOptions) (wire, uint32, error) { return nil, 0, unix.EMFILE }
	for i, err := range k.Apply(context.Background(), someRoutes(2)) {
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("op %d: %v", i, err)
		}
	}
}

func TestApplyEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	k, wires := fakeKernel(func(h header, body []byte) []delivery {
		if h.seq == maxBatch+1 {
			cancel()
			return nil
		}
		return ack(h, body)
	})
	for i, err := range k.Apply(ctx, someRoutes(3*maxBatch)) {
		switch {
		case i < maxBatch && err != nil:
			t.Errorf("op %d before the end: %v", i, err)
		case i == maxBatch && !errors.Is(err, context.Canceled):
			t.Errorf("op %d: %v, want the end of the context", i, err)
		case i >= 2*maxBatch && !errors.Is(err, context.Canceled):
			t.Errorf("op %d: %v, want the end of the context", i, err)
		}
	}
	if sent := (*wires)[0].sent; sent != 2*maxBatch {
		t.Errorf("%d messages were sent, want %d", sent, 2*maxBatch)
	}
}

// The sequence numbers of a long life wrap around without 0 and without a mix-up.
func TestSequenceWraps(t *testing.T) {
	k, _ := fakeKernel(ack)
	k.writer.seq = 1 << 31
	for range 3 {
		if err := errors.Join(k.Apply(context.Background(), someRoutes(70))...); err != nil {
			t.Fatal(err)
		}
		k.writer.seq += 1 << 30
	}
}

// A dump that was interrupted is read again; what it had read is forgotten.
func TestLNX_RT_23_InterruptedDump(t *testing.T) {
	routes := func(h header, metrics ...uint32) (list []delivery) {
		for _, metric := range metrics {
			w := &builder{}
			r := Route{Table: 221, Dst: IPv4.Any(), Metric: metric, Type: RouteProhibit}
			if err := encodeRoute(w, Replace, r, 133, h.seq); err != nil {
				t.Fatal(err)
			}
			binary.NativeEndian.PutUint16(w.b[4:], unix.RTM_NEWROUTE)
			list = append(list, delivery{datagram: w.b})
		}
		return list
	}
	for name, trouble := range map[string]func(h header) []delivery{
		"flag on a message": func(h header) []delivery {
			list := routes(h, 1, 2)
			binary.NativeEndian.PutUint16(list[0].datagram[6:], unix.NLM_F_DUMP_INTR)
			return append(list, verdict(unix.NLMSG_DONE, h.seq, 0))
		},
		"flag at the end": func(h header) []delivery {
			done := verdict(unix.NLMSG_DONE, h.seq, 0)
			binary.NativeEndian.PutUint16(done.datagram[6:], unix.NLM_F_DUMP_INTR)
			return append(routes(h, 1, 2), done)
		},
		"overflow":     func(h header) []delivery { return append(routes(h, 1, 2), delivery{err: unix.ENOBUFS}) },
		"overrun":      func(h header) []delivery { return append(routes(h, 1), message(unix.NLMSG_OVERRUN, 0, h.seq, nil)) },
		"cut off":      func(h header) []delivery { return append(routes(h, 1), delivery{err: errTruncated}) },
		"kernel again": func(h header) []delivery { return append(routes(h, 1), verdict(unix.NLMSG_DONE, h.seq, unix.EAGAIN)) },
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			k, _ := fakeKernel(func(h header, body []byte) []delivery {
				if h.kind != unix.RTM_GETROUTE || body[0] != unix.AF_INET {
					return ack(h, body)
				}
				if tries++; tries < 3 {
					return trouble(h)
				}
				foreign := verdict(unix.NLMSG_DONE, h.seq+1000, 0)
				return append([]delivery{foreign}, append(routes(h, 3), verdict(unix.NLMSG_DONE, h.seq, 0))...)
			})
			s, err := k.List(context.Background(), testOwner)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := s.Routes[RouteKey{221, IPv4.Any(), 3}]; !ok || len(s.Routes) != 1 || len(s.Strays) != 0 {
				t.Errorf("routes %v, strays %v; want the one of the last try", s.Routes, s.Strays)
			}
		})
	}
	t.Run("never quiet", func(t *testing.T) {
		tries := 0
		k, _ := fakeKernel(func(h header, _ []byte) []delivery {
			tries++
			done := verdict(unix.NLMSG_DONE, h.seq, 0)
			binary.NativeEndian.PutUint16(done.datagram[6:], unix.NLM_F_DUMP_INTR)
			return []delivery{done}
		})
		s, err := k.List(context.Background(), testOwner)
		if !errors.Is(err, errInterrupted) || len(s.Routes) != 0 || tries != dumpTries {
			t.Errorf("after %d tries: %v", tries, err)
		}
	})
}

// What a dump cannot finish is an error, never the part that came.
func TestListIsWholeOrAnError(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h header) []delivery
		want error
	}{
		"no end":       {func(header) []delivery { return nil }, os.ErrDeadlineExceeded},
		"refused":      {func(h header) []delivery { return []delivery{verdict(unix.NLMSG_ERROR, h.seq, unix.EPERM)} }, unix.EPERM},
		"failed late":  {func(h header) []delivery { return []delivery{verdict(unix.NLMSG_DONE, h.seq, unix.ENOMEM)} }, unix.ENOMEM},
		"short header": {func(header) []delivery { return []delivery{{datagram: make([]byte, 7)}} }, errMalformed},
		"short object": {func(h header) []delivery { return []delivery{message(unix.RTM_NEWROUTE, 0, h.seq, make([]byte, 3))} }, errMalformed},
		"wrong object": {func(h header) []delivery { return []delivery{message(unix.RTM_NEWLINK, 0, h.seq, make([]byte, 64))} }, errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := fakeKernel(func(h header, body []byte) []delivery {
				if h.kind == unix.RTM_GETROUTE {
					return c.end(h)
				}
				return ack(h, body)
			})
			if _, err := k.List(context.Background(), testOwner); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

// A kernel without IPv6 has no routes of it; one without IPv4 there is none.
func TestListWithoutIPv6(t *testing.T) {
	for family, want := range map[uint8]error{unix.AF_INET6: nil, unix.AF_INET: unix.EAFNOSUPPORT} {
		k, _ := fakeKernel(func(h header, body []byte) []delivery {
			if (h.kind == unix.RTM_GETROUTE || h.kind == unix.RTM_GETRULE) && body[0] == family {
				return []delivery{verdict(unix.NLMSG_ERROR, h.seq, unix.EAFNOSUPPORT)}
			}
			return ack(h, body)
		})
		if _, err := k.List(context.Background(), testOwner); !errors.Is(err, want) {
			t.Errorf("address family %d: error %v, want %v", family, err, want)
		}
	}
}
