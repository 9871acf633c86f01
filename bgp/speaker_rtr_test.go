package bgp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// rtrUnitOf encodes a protocol data unit.
func rtrUnitOf(version, kind uint8, field uint16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{version, kind}, field)
	b = binary.BigEndian.AppendUint32(b, uint32(rtrHeader+len(body)))
	return append(b, body...)
}

func rtrRecord(version uint8, announce bool, p netip.Prefix, longest int, as uint32) []byte {
	flags := byte(0)
	if announce {
		flags = 1
	}
	kind := uint8(rtrPrefix4)
	if p.Addr().Is6() {
		kind = rtrPrefix6
	}
	body := append([]byte{flags, byte(p.Bits()), byte(longest), 0}, p.Addr().AsSlice()...)
	return rtrUnitOf(version, kind, 0, binary.BigEndian.AppendUint32(body, as)...)
}

func rtrEnd(version uint8, session uint16, serial uint32) []byte {
	body := binary.BigEndian.AppendUint32(nil, serial)
	if version == 1 {
		for _, n := range []uint32{3600, 600, 7200} {
			body = binary.BigEndian.AppendUint32(body, n)
		}
	}
	return rtrUnitOf(version, rtrEndOfData, session, body...)
}

// cache is an RPKI cache that says what it is told to.
type cache struct {
	t    *testing.T
	l    net.Listener
	conn net.Conn
}

func newCache(t *testing.T) *cache {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(nextHost(), 0).String())
	must(t, err)
	c := &cache{t: t, l: l}
	t.Cleanup(func() { _ = l.Close() })
	return c
}

func (c *cache) accept() {
	c.t.Helper()
	conn, err := c.l.Accept()
	must(c.t, err)
	must(c.t, conn.SetDeadline(time.Now().Add(patience)))
	c.conn = conn
	c.t.Cleanup(func() { _ = conn.Close() })
}

func (c *cache) hears(kind uint8) rtrUnit {
	c.t.Helper()
	u, err := readRTR(c.conn)
	if err != nil || u.kind != kind {
		c.t.Fatalf("heard %+v, %v; want %d", u, err, kind)
	}
	return u
}

func (c *cache) says(units ...[]byte) {
	c.t.Helper()
	_, err := c.conn.Write(bytes.Join(units, nil))
	must(c.t, err)
}

func TestB_POL_28_RecordsThatChangeAreLookedAt(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	s := pooled(t)
	s.config.RPKI = []string{c.l.Addr().String()}
	a := s.peer(64501, 0, func(p *Peer) { p.Import.RejectInvalid = true })
	s.apply()
	f := s.far(a, bgptest.Options{})
	p, q := prefix("198.41.0.0/24"), prefix("198.51.0.0/16")
	must(t, f.Announce(hop(a, 64501, 3356), p, q, prefix("0.0.0.0/0")))
	r := s.routes()
	r.until("both are accepted while nothing is known", func(r *routes) bool { return len(r.known) == 2 })
	c.accept()
	c.hears(rtrResetQuery)
	c.says(rtrUnitOf(1, rtrCacheResponse, 7), rtrRecord(1, true, p, 24, 1299), rtrRecord(1, true, prefix("2600::/12"), 48, 3356), rtrEnd(1, 7, 100))
	r.until("the one of another AS is gone", func(r *routes) bool { return len(r.known) == 1 })
	st := s.until("the cache is up", func(s Status) bool { return len(s.RPKI) == 1 && s.RPKI[0].Up && s.RPKI[0].Records == 2 })
	if st.RPKI[0].Address != s.config.RPKI[0] {
		t.Errorf("%+v", st.RPKI)
	}
	s.untilPeer("as64501", "counts it", func(p PeerStatus) bool { return familyOf(p, IPv4).Refused[Invalid] == 1 })
	paths, err := s.Paths(testContext(t), Query{Prefix: p})
	must(t, err)
	if x := paths[0].Paths[0]; x.Validity != "invalid" || x.Why != "refused: "+Invalid.String() {
		t.Errorf("%+v", x)
	}
	// A change: the owner is put right.
	c.says(rtrUnitOf(1, rtrSerialNotify, 7, 0, 0, 0, 101))
	if u := c.hears(rtrSerialQuery); u.field != 7 || binary.BigEndian.Uint32(u.body) != 100 {
		t.Errorf("%+v", u)
	}
	c.says(rtrUnitOf(1, rtrCacheResponse, 7), rtrRecord(1, false, p, 24, 1299), rtrRecord(1, true, p, 24, 3356), rtrEnd(1, 7, 101))
	r.until("it is back", func(r *routes) bool { return len(r.known) == 2 })
	if n := s.Status().RPKI[0].Records; n != 2 {
		t.Errorf("%d records", n)
	}
	if paths, err = s.Paths(testContext(t), Query{Prefix: p}); err != nil || paths[0].Paths[0].Validity != "valid" {
		t.Errorf("%+v %v", paths, err)
	}
	// Nobody is asked any more.
	c.says(rtrUnitOf(1, rtrSerialNotify, 7, 0, 0, 0, 102))
	c.hears(rtrSerialQuery)
	c.says(rtrUnitOf(1, rtrCacheReset, 0))
	c.hears(rtrResetQuery)
	c.says(rtrUnitOf(1, rtrCacheResponse, 8), rtrRecord(1, true, q, 24, 0), rtrEnd(1, 8, 1))
	r.until("AS 0 may not", func(r *routes) bool { return len(r.known) == 1 })
	s.config.RPKI = nil
	s.apply()
	r.until("nobody is asked", func(r *routes) bool { return len(r.known) == 2 })
}

func TestRTR_oldAndWrongCaches(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	changed := make(chan struct{}, 100)
	x := newRTRClients([]string{c.l.Addr().String()}, slog.New(slog.DiscardHandler), func(bool) { changed <- struct{}{} })
	defer x.stop()
	x.mu.Lock()
	client := x.clients[0]
	x.mu.Unlock()
	for name, units := range map[string][]byte{
		"a unit that is too long":  {1, rtrCacheResponse, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"a unit that is too short": {1, rtrCacheResponse, 0, 0, 0, 0, 0, 3},
		"a record unasked":         rtrRecord(1, true, prefix("198.41.0.0/24"), 24, 1),
		"a length that is wrong":   bytes.Join([][]byte{rtrUnitOf(1, rtrCacheResponse, 7), rtrRecord(1, true, prefix("198.41.0.0/24"), 20, 1)}, nil),
		"an end of something else": bytes.Join([][]byte{rtrUnitOf(1, rtrCacheResponse, 7), rtrEnd(1, 8, 1)}, nil),
	} {
		var load *rtrLoad
		r := bytes.NewReader(units)
		var err error
		for err == nil {
			var u rtrUnit
			if u, err = readRTR(r); err == nil {
				load, err = x.unit(io.Discard, client, load, u)
			}
		}
		if errors.Is(err, io.EOF) || client.known {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A cache of the old version says so.
	c.accept()
	c.hears(rtrResetQuery)
	if err := x.refused(client, rtrUnit{kind: rtrErrorReport, field: rtrVersion}); err == nil || client.version != 0 {
		t.Errorf("version %d, %v", client.version, err)
	}
	load := &rtrLoad{session: 3, records: map[vrp]struct{}{}}
	end, err := readRTR(bytes.NewReader(rtrEnd(0, 3, 5)))
	must(t, err)
	if _, err := x.unit(io.Discard, client, load, end); err != nil || !client.up {
		t.Errorf("%+v %v", client, err)
	}
}
