package bgp

import (
	"fmt"
	"net/netip"
	"sync/atomic"
)

// origins validates the origin of a path (RFC 6811). It is nil where nobody is
// asked.
type origins interface {
	validate(prefix netip.Prefix, originAS uint32) validity
}

// validity is the state of RFC 6811 section 2.
type validity uint8

const (
	notFound validity = iota
	valid
	invalid
)

// String returns the word of v.
func (v validity) String() string {
	switch v {
	case notFound:
		return "not-found"
	case valid:
		return "valid"
	case invalid:
		return "invalid"
	default:
		return fmt.Sprintf("validity(%d)", uint8(v))
	}
}

// vrp is a validated ROA payload (RFC 6811 section 2).
type vrp struct {
	prefix netip.Prefix
	// maxLength is the longest prefix that may be announced, prefix.Bits()..32 or 128.
	maxLength uint8
	// as may announce it; 0 means that nobody may (RFC 6483 section 4).
	as uint32
}

// vrps holds the payloads of all caches. It is replaced as a whole, and may be asked
// meanwhile: the answers are those of before or those of after.
type vrps struct {
	tables atomic.Pointer[[len(Families) + 1]*vrpTable]
}

// replace makes records the whole of what is known. Those that contradict themselves
// are left out (RFC 6811 section 2: max-length is not shorter than the prefix).
func (v *vrps) replace(records []vrp) {
	var tables [len(Families) + 1]*vrpTable
	for _, f := range Families {
		tables[f] = newVRPTable(f, records)
	}
	v.tables.Store(&tables)
}

// len returns how many different records there are.
func (v *vrps) len() int {
	tables := v.tables.Load()
	if tables == nil {
		return 0
	}
	n := 0
	for _, f := range Families {
		n += len(tables[f].as)
	}
	return n
}

// validate returns the state of a path (RFC 6811 section 2). originAS is 0 if the path
// has no origin; no record matches that, also not one of AS 0.
func (v *vrps) validate(prefix netip.Prefix, originAS uint32) validity {
	tables := v.tables.Load()
	if tables == nil || !prefix.IsValid() {
		return notFound
	}
	return tables[FamilyOf(prefix.Addr())].validate(prefix, originAS)
}
