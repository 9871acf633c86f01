package speaker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"

	"github.com/multihomed/multihomed/bgp"
)

// maxRoutes is how many routes a frame holds: enough that a frame costs little
// beside them (20 microseconds of system call and wake-up for two milliseconds of
// kernel routes), few enough that a status is not late behind them.
const maxRoutes = 1024

// maxRouteLen is the longest route on the wire: family, length of the prefix, 16
// octets of address, choice.
const maxRouteLen = 1 + 1 + 16 + 2

// flagSynced is the bit of the first octet of a batch that is Batch.Synced.
const flagSynced = 1

// The octets that stand for the families on the wire.
const (
	wireIPv4 = 4
	wireIPv6 = 6
)

// appendBatch appends a batch in its binary form: one octet of flags, then each
// route: family (4 or 6), bits of the prefix, as many octets of the address as hold
// these bits, and 2 octets of choice. A prefix must be valid and masked.
func appendBatch(b []byte, batch bgp.Batch) []byte {
	var flags byte
	if batch.Synced {
		flags |= flagSynced
	}
	b = append(b, flags)
	for _, r := range batch.Routes {
		a, bits := r.Prefix.Addr(), r.Prefix.Bits()
		if a.Is4() {
			octets := a.As4()
			b = append(b, wireIPv4, byte(bits))
			b = append(b, octets[:(bits+7)/8]...)
		} else {
			octets := a.As16()
			b = append(b, wireIPv6, byte(bits))
			b = append(b, octets[:(bits+7)/8]...)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(r.Choice))
	}
	return b
}

// sendable tells whether a prefix can go over the wire.
func sendable(p netip.Prefix) bool { return p.IsValid() && !p.Addr().Is4In6() && p == p.Masked() }

// readBatch reads what appendBatch made. The routes are appended to buf.
func readBatch(p []byte, buf []bgp.Route) (bgp.Batch, error) {
	if len(p) == 0 {
		return bgp.Batch{}, malformed(kindRoutes, "it is empty")
	}
	if p[0]&^flagSynced != 0 {
		return bgp.Batch{}, malformed(kindRoutes, "flags %#02x", p[0])
	}
	batch := bgp.Batch{Synced: p[0]&flagSynced != 0, Routes: buf}
	for p = p[1:]; len(p) > 0; {
		r, n, err := readRoute(p)
		if err != nil {
			return bgp.Batch{}, err
		}
		if len(batch.Routes)-len(buf) == maxRoutes {
			return bgp.Batch{}, malformed(kindRoutes, "more than %d routes", maxRoutes)
		}
		batch.Routes = append(batch.Routes, r)
		p = p[n:]
	}
	return batch, nil
}

// readRoute reads the first route of p and returns how long it was.
func readRoute(p []byte) (bgp.Route, int, error) {
	if len(p) < 4 {
		return bgp.Route{}, 0, malformed(kindRoutes, "%d octets are no route", len(p))
	}
	family, bits := p[0], int(p[1])
	most := 32
	switch family {
	case wireIPv4:
	case wireIPv6:
		most = 128
	default:
		return bgp.Route{}, 0, malformed(kindRoutes, "family %d", family)
	}
	if bits > most {
		return bgp.Route{}, 0, malformed(kindRoutes, "%d bits of prefix, at most %d are possible", bits, most)
	}
	n := (bits + 7) / 8
	if len(p) < 2+n+2 {
		return bgp.Route{}, 0, malformed(kindRoutes, "it ends within a route")
	}
	var octets [16]byte
	copy(octets[:], p[2:2+n])
	if bits%8 != 0 && octets[n-1]<<(bits%8) != 0 {
		return bgp.Route{}, 0, malformed(kindRoutes, "bits behind the prefix length")
	}
	addr := netip.AddrFrom16(octets)
	switch {
	case family == wireIPv4:
		addr = netip.AddrFrom4([4]byte(octets[:4]))
	case addr.Is4In6():
		return bgp.Route{}, 0, malformed(kindRoutes, "an IPv4-mapped prefix")
	}
	return bgp.Route{
		Prefix: netip.PrefixFrom(addr, bits),
		Choice: bgp.Choice(binary.BigEndian.Uint16(p[2+n:])),
	}, 2 + n + 2, nil
}

// question asks for paths.
type question struct {
	ID    uint64
	Query bgp.Query
}

// answer is one part of what a question is answered with. The last one says so.
type answer struct {
	ID    uint64
	Paths []bgp.PrefixPaths
	Last  bool
	// Error is why there is no answer, in words; only in the last part.
	Error string
}

// maxWords bounds the words of a reset, in octets. RFC 9003 sends 255 at most.
const maxWords = 1024

// resetOrder asks to end a session and begin it anew.
type resetOrder struct{ Peer, Words string }

// encode returns the JSON form of one of our own types.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b, nil
}

// decode reads what encode made. Its error shows nothing of p, which may be secret.
func decode(k kind, p []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return malformed(k, "it is no %T at octet %d (%s)", v, d.InputOffset(), decodeTrouble(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed(k, "octets behind the document")
	}
	return nil
}

// decodeTrouble says what is wrong with a document in words that hold nothing of it.
func decodeTrouble(err error) string {
	var syntax *json.SyntaxError
	var value *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return "bad syntax"
	case errors.As(err, &value):
		return "bad type of " + value.Field
	default:
		return "bad value"
	}
}

// finite replaces what JSON has no word for by 0, in place of an error that would hide
// the whole document.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
