package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The client of RPKI caches (RFC 8210, and RFC 6810 towards old ones). The one in
// GoBGP panics at a cache that has a name instead of an address, believes any length
// that a cache announces, and leaves goroutines behind.

// Kinds of protocol data units (RFC 8210 section 5).
const (
	rtrSerialNotify  = 0
	rtrSerialQuery   = 1
	rtrResetQuery    = 2
	rtrCacheResponse = 3
	rtrPrefix4       = 4
	rtrPrefix6       = 6
	rtrEndOfData     = 7
	rtrCacheReset    = 8
	rtrRouterKey     = 9
	rtrErrorReport   = 10
)

const (
	rtrHeader = 8
	// rtrLongest is the longest unit that is read. Only an error report may be long,
	// and a router key, which nobody needs.
	rtrLongest = 64 << 10
	// rtrRetry is between attempts to reach a cache (RFC 8210 section 6, its default
	// is 600s, which is long for a daemon that has just started).
	rtrRetry = 30 * time.Second
	// rtrRefresh is how long nobody asks a cache that does not say so itself (RFC 8210
	// section 6: the default refresh interval).
	rtrRefresh = 3600 * time.Second
	// rtrExpire is how long records are believed of a cache that is gone (RFC 8210
	// section 6: the default expire interval).
	rtrExpire = 7200 * time.Second
	// rtrNoData and rtrVersion are codes of errors (RFC 8210 section 12).
	rtrNoData  = 2
	rtrVersion = 4
	// rtrMost is the most records of a cache; there are about 0.8 million in 2026.
	rtrMost = 8_000_000
)

// rtrClients are those of all caches.
type rtrClients struct {
	mu      sync.Mutex
	clients []*rtrClient
	// changed is called with whether records did.
	changed func(records bool)
	cancel  context.CancelFunc
	group   sync.WaitGroup
}

// rtrClient is one of them.
type rtrClient struct {
	address string
	// version 1, or 0 once the cache refused that.
	version uint8
	session uint16
	serial  uint32
	// known: session and serial are those of records.
	known   bool
	records map[vrp]struct{}
	// dropAt is when the records are not believed any more, connected or not: expire
	// after the last answer that was complete. drop is what does that; nil before the
	// first answer.
	dropAt time.Time
	drop   *time.Timer
	// answerBy is when the answer to a query must have begun; zero if none is waited for.
	answerBy time.Time
	up       bool
	refresh,
	expire time.Duration
}

func newRTRClients(addresses []string, log *slog.Logger, changed func(records bool)) *rtrClients {
	ctx, cancel := context.WithCancel(context.Background())
	x := &rtrClients{changed: changed, cancel: cancel}
	for _, a := range addresses {
		c := &rtrClient{address: a, version: 1, records: map[vrp]struct{}{}, refresh: rtrRefresh, expire: rtrExpire}
		x.clients = append(x.clients, c)
		x.group.Go(func() { x.serve(ctx, c, log) })
	}
	return x
}

func (x *rtrClients) stop() {
	x.cancel()
	x.group.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.clients {
		if c.drop != nil {
			c.drop.Stop()
		}
		// A timer that has fired already finds that nothing is to be dropped.
		c.dropAt = time.Time{}
	}
}

// status of all caches.
func (x *rtrClients) status() []CacheStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]CacheStatus, 0, len(x.clients))
	for _, c := range x.clients {
		list = append(list, CacheStatus{Address: c.address, Up: c.up, Records: len(c.records)})
	}
	return list
}

// records of all caches, together (RFC 6811 section 2).
func (x *rtrClients) all() []vrp {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []vrp
	for _, c := range x.clients {
		for r := range c.records {
			list = append(list, r)
		}
	}
	return list
}

// serve talks to one cache until ctx ends.
func (x *rtrClients) serve(ctx context.Context, c *rtrClient, log *slog.Logger) {
	last := ""
	for ctx.Err() == nil {
		err := x.talk(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != last {
			last = err.Error()
			log.Warn("RPKI cache", slog.String("cache", c.address), slog.String("reason", last))
		}
		x.mu.Lock()
		was := c.up
		c.up, c.answerBy = false, time.Time{}
		x.mu.Unlock()
		if was {
			x.changed(false)
		}
		pause := time.NewTimer(rtrRetry)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// talk has one connection with a cache.
func (x *rtrClients) talk(ctx context.Context, c *rtrClient) error {
	var d net.Dialer
	dialing, cancel := context.WithTimeout(ctx, rtrRetry)
	conn, err := d.DialContext(dialing, "tcp", c.address)
	cancel()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close() //nolint:errcheck // Nobody can do anything about it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	return x.converse(conn, c)
}

// converse asks and listens until something goes wrong.
func (x *rtrClients) converse(conn net.Conn, c *rtrClient) error {
	if err := x.query(conn, c); err != nil {
		return err
	}
	var load *rtrLoad
	for {
		if err := conn.SetReadDeadline(x.deadline(c, load != nil)); err != nil {
			return fmt.Errorf("wait for cache: %w", err)
		}
		u, err := readRTR(conn)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && load == nil && u.kind == noUnit {
			if x.waits(c) {
				return errNoAnswer
			}
			if err = x.query(conn, c); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if load, err = x.unit(conn, c, load, u); err != nil {
			return err
		}
	}
}

// errNoAnswer is said of a cache that does not answer a query, though it is connected.
var errNoAnswer = errors.New("wait for cache: it does not answer")

// deadline is until when the next unit must come: an answer that has begun goes on, and
// one that was asked for begins. Otherwise the cache is asked then.
func (x *rtrClients) deadline(c *rtrClient, loading bool) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case loading:
		return time.Now().Add(rtrRetry)
	case !c.answerBy.IsZero():
		return c.answerBy
	default:
		return time.Now().Add(c.refresh)
	}
}

// waits says whether an answer is waited for that has not begun.
func (x *rtrClients) waits(c *rtrClient) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !c.answerBy.IsZero()
}

// forget drops the records of a cache whose time is over.
func (x *rtrClients) forget(c *rtrClient) {
	x.mu.Lock()
	over := !c.dropAt.IsZero() && !time.Now().Before(c.dropAt)
	some := len(c.records) > 0
	if over {
		c.records, c.known, c.dropAt = map[vrp]struct{}{}, false, time.Time{}
	}
	x.mu.Unlock()
	if over {
		x.changed(some)
	}
}

// rtrLoad is an answer that is not complete.
type rtrLoad struct {
	session uint16
	records map[vrp]struct{}
}

// rtrUnit is one protocol data unit.
type rtrUnit struct {
	version, kind uint8
	// field is what is in the header besides: a session, or the code of an error.
	field uint16
	body  []byte
}

// noUnit is the kind of a unit of which nothing was read.
const noUnit = 255

func readRTR(r io.Reader) (rtrUnit, error) {
	var h [rtrHeader]byte
	if n, err := io.ReadFull(r, h[:]); err != nil {
		u := rtrUnit{kind: noUnit}
		if n > 0 {
			u.kind = 0
		}
		return u, fmt.Errorf("read from cache: %w", err)
	}
	u := rtrUnit{version: h[0], kind: h[1], field: binary.BigEndian.Uint16(h[2:])}
	length := binary.BigEndian.Uint32(h[4:])
	if length < rtrHeader || length > rtrLongest {
		return u, fmt.Errorf("read from cache: a unit of %d octets", length)
	}
	u.body = make([]byte, length-rtrHeader)
	if _, err := io.ReadFull(r, u.body); err != nil {
		return u, fmt.Errorf("read from cache: %w", err)
	}
	return u, nil
}

// query asks for everything, or for what changed if something is known.
func (x *rtrClients) query(w io.Writer, c *rtrClient) error {
	x.mu.Lock()
	c.answerBy = time.Now().Add(rtrRetry)
	b := []byte{c.version, rtrResetQuery, 0, 0, 0, 0, 0, rtrHeader}
	if c.known {
		b = []byte{c.version, rtrSerialQuery, 0, 0, 0, 0, 0, rtrHeader + 4, 0, 0, 0, 0}
		binary.BigEndian.PutUint16(b[2:], c.session)
		binary.BigEndian.PutUint32(b[8:], c.serial)
	}
	x.mu.Unlock()
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("ask cache: %w", err)
	}
	return nil
}

// unit takes one unit.
func (x *rtrClients) unit(w io.Writer, c *rtrClient, load *rtrLoad, u rtrUnit) (*rtrLoad, error) {
	switch u.kind {
	case rtrSerialNotify:
		if load != nil || x.waits(c) {
			return load, nil
		}
		return nil, x.query(w, c)
	case rtrCacheResponse:
		x.mu.Lock()
		defer x.mu.Unlock()
		c.answerBy = time.Time{}
		load = &rtrLoad{session: u.field, records: map[vrp]struct{}{}}
		if c.known && u.field == c.session {
			// What changed, on top of what is known.
			for r := range c.records {
				load.records[r] = struct{}{}
			}
		}
		return load, nil
	case rtrPrefix4, rtrPrefix6:
		if load == nil {
			return nil, errors.New("read from cache: a record that nobody asked for")
		}
		if err := load.record(u); err != nil {
			return nil, err
		}
		return load, nil
	case rtrEndOfData:
		if load == nil || len(u.body) < 4 || u.field != load.session {
			return nil, errors.New("read from cache: an end of data that fits nothing")
		}
		x.finish(c, load, u)
		return nil, nil
	case rtrCacheReset:
		x.mu.Lock()
		c.known = false
		x.mu.Unlock()
		return nil, x.query(w, c)
	case rtrErrorReport:
		return nil, x.refused(c, u)
	case rtrRouterKey:
		return load, nil
	default:
		return load, nil
	}
}

// refused reads an error report.
func (x *rtrClients) refused(c *rtrClient, u rtrUnit) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if u.field == rtrVersion && c.version > 0 {
		c.version = 0
	}
	if u.field == rtrNoData {
		return errors.New("the cache has no data yet")
	}
	return fmt.Errorf("the cache reports error %d", u.field)
}

// record takes one record (RFC 8210 sections 5.6 and 5.7).
func (l *rtrLoad) record(u rtrUnit) error {
	size := 4
	if u.kind == rtrPrefix6 {
		size = 16
	}
	if len(u.body) != 4+size+4 {
		return fmt.Errorf("read from cache: a record of %d octets", len(u.body))
	}
	addr, _ := netip.AddrFromSlice(u.body[4 : 4+size])
	r := vrp{prefix: netip.PrefixFrom(addr, int(u.body[1])).Masked(), maxLength: u.body[2], as: binary.BigEndian.Uint32(u.body[4+size:])}
	if !r.prefix.IsValid() || int(r.maxLength) < r.prefix.Bits() || int(r.maxLength) > addr.BitLen() {
		return fmt.Errorf("read from cache: a record for a prefix of length %d to %d", u.body[1], u.body[2])
	}
	if u.body[0]&1 == 0 {
		delete(l.records, r)
		return nil
	}
	if len(l.records) >= rtrMost {
		return errors.New("read from cache: too many records")
	}
	l.records[r] = struct{}{}
	return nil
}

// finish makes an answer what is known.
func (x *rtrClients) finish(c *rtrClient, load *rtrLoad, u rtrUnit) {
	x.mu.Lock()
	differs := !maps.Equal(c.records, load.records)
	c.records, c.session, c.known, c.up = load.records, load.session, true, true
	c.serial = binary.BigEndian.Uint32(u.body)
	if u.version >= 1 && len(u.body) == 16 {
		c.expire = clampSeconds(binary.BigEndian.Uint32(u.body[12:]), 10*time.Minute, 48*time.Hour)
		// The expire interval must be longer than the refresh interval (RFC 8210 section 6):
		// with a cache that says otherwise, records would go between two queries.
		c.refresh = min(clampSeconds(binary.BigEndian.Uint32(u.body[4:]), time.Second, 24*time.Hour), c.expire/2)
	}
	c.dropAt = time.Now().Add(c.expire)
	if c.drop == nil {
		c.drop = time.AfterFunc(c.expire, func() { x.forget(c) })
	} else {
		c.drop.Reset(c.expire)
	}
	x.mu.Unlock()
	x.changed(differs)
}

// clampSeconds keeps what a cache says within what RFC 8210 section 6 allows.
func clampSeconds(n uint32, least, most time.Duration) time.Duration {
	return max(least, min(time.Duration(n)*time.Second, most))
}
