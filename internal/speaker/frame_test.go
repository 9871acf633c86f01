package speaker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
)

// frameOf returns a frame as it is on the wire.
func frameOf(k kind, payload []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), byte(k)), payload...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var (
	fromDaemon = frameOf(kindHello, hello{heartbeat: time.Second}.append(nil))
	fromChild  = frameOf(kindHello, hello{pid: 1}.append(nil))
)

// TestBatch: both families, all lengths of prefixes, and nothing else.
func TestBatch(t *testing.T) {
	var want bgp.Batch
	for bits := range 129 {
		if bits <= 32 {
			want.Routes = append(want.Routes, bgp.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{0xff, 0xff, 0xff, 0xff}), bits).Masked(), Choice: bgp.Choice(bits)})
		}
		want.Routes = append(want.Routes, bgp.Route{Prefix: netip.PrefixFrom(netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), bits).Masked(), Choice: 0xffff})
	}
	for _, want.Synced = range []bool{false, true} {
		got, err := readBatch(appendBatch(nil, want), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	for _, bad := range []string{"", "\x02", "\x00\x05\x00\x00\x00", "\x00\x04\x21aaaaa\x00\x00", "\x00\x06\x81aaaaaaaaaaaaaaaaa\x00\x00", "\x00\x04\x18aaa\x00", "\x00\x04\x17\x01\x01\x01\x00\x00", "\x00\x04",
		"\x00\x06\x60\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x01"} {
		if b, err := readBatch([]byte(bad), nil); !errors.Is(err, errMalformed) {
			t.Errorf("%q: %v, %v; want that it is malformed", bad, b, err)
		}
	}
	if _, err := readBatch(append([]byte{0}, bytes.Repeat([]byte{4, 0, 0, 1}, maxRoutes+1)...), nil); !errors.Is(err, errMalformed) {
		t.Errorf("too many routes: %v", err)
	}
}

// TestSend_TooLong: what the other side would refuse is not sent.
func TestSend_TooLong(t *testing.T) {
	var b bytes.Buffer
	if err := newFrameWriter(&b).send(kindCancel, make([]byte, 9)); err == nil || b.Len() > 0 {
		t.Errorf("%v, and %d octets were written", err, b.Len())
	}
}

// TestMalformed: whatever a child sends ends it, with words, and the next one is
// started.
func TestMalformed(t *testing.T) {
	routes := frameOf(kindRoutes, appendBatch(nil, bgp.Batch{Routes: []bgp.Route{route(0)}}))
	for _, c := range []struct {
		name, want string
		octets     []byte
	}{
		{"no hello", "want a hello first", frameOf(kindPong, nil)},
		{"another program", "the two processes are different programs", frameOf(kindHello, []byte("mhb\x00aaaabbbbcccc"))},
		{"a short hello", "want 16", frameOf(kindHello, []byte("mhb\x01"))},
		{"not even a version", "want a hello first", frameOf(kindHello, []byte("mhb"))},
		{"an unknown kind", "no such kind", join(fromChild, frameOf(99, nil))},
		{"kind zero", "no such kind", join(fromChild, frameOf(0, nil))},
		{"the wrong direction", "does not send this", join(fromChild, frameOf(kindLeave, nil))},
		{"too long", "at most 0 are possible", join(fromChild, frameOf(kindPong, []byte{1}))},
		{"much too long", "octets long", join(fromChild, []byte{0xff, 0xff, 0xff, 0xff, byte(kindStatus)})},
		{"no JSON", "bad syntax", join(fromChild, frameOf(kindStatus, []byte("{x")))},
		{"wrong type", "bad type of Synced", join(fromChild, frameOf(kindStatus, []byte(`{"Synced":3}`)))},
		{"an unknown field", "it is no", join(fromChild, frameOf(kindStatus, []byte(`{"Shoe":3}`)))},
		{"two documents", "octets behind", join(fromChild, frameOf(kindAnswer, []byte(`{} {}`)))},
		{"a brace too many", "octets behind", join(fromChild, frameOf(kindAnswer, []byte(`{}}`)))},
		{"an unknown reason", "bad value", join(fromChild, frameOf(kindStatus, []byte(`{"Peers":[{"Families":[{"Refused":{"x":1}}]}]}`)))},
		{"routes that are none", "family 5", join(fromChild, frameOf(kindRoutes, []byte{0, 5, 0, 0, 0}))},
		{"routes without credit", "more of them than were asked for", join(fromChild, bytes.Repeat(routes, window+2))},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(n int, _ *fakeVoice) func(context.Context, net.Conn, io.Writer) error {
					if n == 0 {
						return playRaw(c.octets)
					}
					return nil
				})
				r.hold = make(chan struct{})
				r.run()
				r.Set(config("a"))
				synctest.Wait()
				if st := r.Status(); !strings.Contains(st.Trouble, c.want) || !strings.Contains(st.Trouble, "malformed") {
					t.Errorf("%+v, want %q", st, c.want)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if st := r.Status(); st.Starts != 2 || !st.Speaking {
					t.Errorf("%+v, want a second child", st)
				}
			})
		})
	}
}

// serveRaw lets a child hear these octets and the end of the stream, and returns its
// error.
func serveRaw(octets []byte) error {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, near) }()
	go func() {
		_, _ = near.Write(octets)
		_ = near.Close()
	}()
	return newFakeVoice().server(far, slog.New(slog.DiscardHandler)).serve(context.Background())
}

// TestServe_Malformed: what cannot be understood ends the child, with words; a daemon
// that is gone is no error, even in the middle of a frame.
func TestServe_Malformed(t *testing.T) {
	secret := `{"Peers":[{"Password":"hunter2","AS":"hunter2"}]}`
	for _, c := range []struct {
		name, want string
		octets     []byte
	}{
		{"nothing", "", nil},
		{"half a header", "", []byte{0, 0}},
		{"half a frame", "", join(fromDaemon, frameOf(kindConfig, []byte("123"))[:6])},
		{"a daemon that hangs up", "", fromDaemon},
		{"no heartbeat", "a heartbeat of 0s", frameOf(kindHello, hello{}.append(nil))},
		{"the wrong direction", "does not send this", join(fromDaemon, frameOf(kindStatus, []byte("{}")))},
		{"no configuration", "bad value", join(fromDaemon, frameOf(kindConfig, nil))},
		{"a configuration of another kind", "bad type of Peers.AS", join(fromDaemon, frameOf(kindConfig, []byte(secret)))},
		{"a short number", "want 4", join(fromDaemon, frameOf(kindCredit, []byte{1}))},
		{"too much credit", "more than 8 frames", join(fromDaemon, frameOf(kindCredit, []byte{0xff, 0xff, 0xff, 0xff}))},
		{"a short id", "want 8", join(fromDaemon, frameOf(kindCancel, []byte{1}))},
		{"no question", "bad syntax", join(fromDaemon, frameOf(kindQuestion, []byte("x")))},
		{"no reset", "it is no", join(fromDaemon, frameOf(kindReset, []byte(`[]`)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := serveRaw(c.octets)
				if c.want == "" && err != nil {
					t.Errorf("%v, want no error", err)
				}
				if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")) {
					t.Errorf("%v, want %q and no secret", err, c.want)
				}
			})
		})
	}
}

// TestServe_DaemonSilent: a daemon that says nothing for three times its own patience
// is given up.
func TestServe_DaemonSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		go func() { _, _ = near.Write(fromDaemon) }()
		begin := time.Now()
		err := newFakeVoice().server(far, slog.New(slog.DiscardHandler)).serve(t.Context())
		if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "the daemon said nothing for 12s") || took < 12*time.Second || took > 14*time.Second {
			t.Errorf("%v after %v, want the silence after 12s", err, took)
		}
	})
}

// TestServe_SpeakerHangs: the child ends although its speaker does not.
func TestServe_SpeakerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newFakeVoice()
		v.stuck = make(chan struct{})
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		over := make(chan error, 1)
		go func() {
			over <- v.server(far, slog.New(slog.DiscardHandler)).serve(t.Context())
		}()
		synctest.Wait()
		_ = near.Close()
		begin := time.Now()
		if err := <-over; err != nil || time.Since(begin) > endLimit {
			t.Errorf("%v after %v, want no error within %v", err, time.Since(begin), endLimit)
		}
		close(v.stuck)
	})
}

// FuzzFrames: whatever arrives, both sides end with an error or read on, and what can
// be read comes out of what it is written to.
func FuzzFrames(f *testing.F) {
	add := func(parts ...[]byte) { f.Add(join(parts...)) }
	add(fromDaemon, frameOf(kindCredit, []byte{0, 0, 0, 8}), frameOf(kindPing, nil), frameOf(kindLeave, nil))
	add(fromDaemon, frameOf(kindConfig, []byte(`{"AS":1,"Peers":[{"Name":"a","Slot":-1}]}`)))
	add(fromDaemon, frameOf(kindQuestion, []byte(`{"ID":1,"Query":{"Prefix":"10.0.0.0/8"}}`)), frameOf(kindCancel, make([]byte, 8)))
	add(fromDaemon, frameOf(kindReset, []byte(`{"Peer":"a","Words":"b"}`)))
	add(fromChild, frameOf(kindStatus, []byte(`{"Peers":[{"Name":"a"}]}`)), frameOf(kindPong, nil))
	add(fromChild, frameOf(kindRoutes, appendBatch(nil, bgp.Batch{Synced: true, Routes: []bgp.Route{route(0), route(1)}})))
	add(fromChild, frameOf(kindAnswer, []byte(`{"ID":1,"Paths":[{"Prefix":"10.0.0.0/8"}],"Last":true}`)))
	f.Fuzz(func(t *testing.T, octets []byte) {
		in := newFrameReader(bytes.NewReader(octets))
		for {
			k, p, err := in.next()
			if err != nil {
				break
			}
			if k != kindRoutes {
				continue
			}
			b, err := readBatch(p, nil)
			if err != nil {
				continue
			}
			if again := appendBatch(nil, b); !bytes.Equal(again, p) {
				t.Errorf("%x is read as %v, which is %x", p, b, again)
			}
		}
		// The child, and the daemon.
		if err := serveRaw(octets); err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("the child ends with %v", err)
		}
		listenRaw(t, octets)
	})
}

// listenRaw lets a daemon hear these octets and the end of the stream.
func listenRaw(t *testing.T, octets []byte) {
	t.Helper()
	s := NewSupervisor(Options{Log: slog.New(slog.DiscardHandler)})
	near, far := net.Pipe()
	talk := newTalk(s, &fakeChild{Conn: near})
	go func() {
		_, _ = far.Write(octets)
		_ = far.Close()
	}()
	if err := talk.listen(); err == nil {
		t.Error("the stream has no end")
	}
	_ = near.Close()
}
