package bgp

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// conversation is a client of an RPKI cache, and the far end of its connection.
type conversation struct {
	t       *testing.T
	x       *rtrClients
	c       *rtrClient
	far     net.Conn
	changes []bool
	ended   chan error
}

// converse begins a conversation in which no network takes part.
func converse(t *testing.T) *conversation {
	t.Helper()
	v := &conversation{t: t, ended: make(chan error, 1)}
	v.x = newRTRClients(nil, slog.New(slog.DiscardHandler), func(records bool) { v.changes = append(v.changes, records) })
	v.c = &rtrClient{address: "cache", version: 1, records: map[vrp]struct{}{}, refresh: rtrRefresh, expire: rtrExpire}
	v.x.clients = []*rtrClient{v.c}
	near, far := net.Pipe()
	v.far = far
	go func() { v.ended <- v.x.converse(near, v.c) }()
	return v
}

func (v *conversation) hears(kind uint8) {
	v.t.Helper()
	if u, err := readRTR(v.far); err != nil || u.kind != kind {
		v.t.Fatalf("heard %+v, %v; want %d", u, err, kind)
	}
}

func (v *conversation) says(units ...[]byte) {
	v.t.Helper()
	_, err := v.far.Write(bytes.Join(units, nil))
	must(v.t, err)
	synctest.Wait()
}

// answer is one record and the end of data.
func (v *conversation) answer() {
	v.t.Helper()
	v.says(rtrUnitOf(1, rtrCacheResponse, 7), rtrRecord(1, true, prefix("198.41.0.0/24"), 24, 1299), rtrEnd(1, 7, 100))
}

func (v *conversation) is(records int, up bool) {
	v.t.Helper()
	if s := v.x.status()[0]; s.Records != records || s.Up != up {
		v.t.Errorf("%+v, want %d records, up %v", s, records, up)
	}
}

// TestRTR_aQueryWithoutAnswer has a cache that is connected and silent. It is given up,
// and its records go when their time is over.
func TestRTR_aQueryWithoutAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := converse(t)
		began := time.Now()
		v.hears(rtrResetQuery)
		v.answer()
		v.is(1, true)
		v.hears(rtrSerialQuery)
		if after := time.Since(began); after != 3600*time.Second {
			t.Errorf("asked again after %v", after)
		}
		// What is no answer does not make it wait for longer, and is not answered.
		time.AfterFunc(rtrRetry/2, func() { _, _ = v.far.Write(rtrUnitOf(1, rtrSerialNotify, 7, 0, 0, 0, 101)) })
		if err := <-v.ended; !errors.Is(err, errNoAnswer) || time.Since(began) != 3600*time.Second+rtrRetry {
			t.Errorf("ended after %v: %v", time.Since(began), err)
		}
		<-time.After(time.Until(began.Add(7200*time.Second - 1)))
		v.is(1, true)
		<-time.After(1)
		synctest.Wait()
		if v.is(0, true); len(v.changes) != 2 || !v.changes[1] {
			t.Errorf("changes %v", v.changes)
		}
		v.x.stop()
	})
}

// TestRTR_recordsExpireWhileConnected has a cache that says something all the time, and
// never what is asked.
func TestRTR_recordsExpireWhileConnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := converse(t)
		began := time.Now()
		v.hears(rtrResetQuery)
		v.answer()
		// The same records once more are no change, but believed for longer.
		v.hears(rtrSerialQuery)
		v.answer()
		if len(v.changes) != 2 || !v.changes[0] || v.changes[1] {
			t.Errorf("changes %v", v.changes)
		}
		v.says(rtrUnitOf(1, rtrSerialNotify, 7, 0, 0, 0, 101))
		v.hears(rtrSerialQuery)
		until := began.Add((3600 + 7200) * time.Second)
		for time.Now().Add(rtrRetry / 2).Before(until) {
			<-time.After(rtrRetry / 2)
			v.says(rtrUnitOf(1, rtrCacheReset, 0))
			v.hears(rtrResetQuery)
		}
		v.is(1, true)
		<-time.After(time.Until(until) + 1)
		synctest.Wait()
		v.is(0, true)
		must(t, v.far.Close())
		if err := <-v.ended; !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		v.x.stop()
	})
}
