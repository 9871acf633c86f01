package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// host is one address.
type host struct {
	value netip.Addr
	given bool
}

func (h *host) set(v any) error {
	a, err := address(v)
	if err == nil {
		h.value, h.given = a, true
	}
	return err
}

// network is one prefix; an address is the prefix of full length.
type network struct {
	value netip.Prefix
	given bool
}

func (n *network) set(v any) error {
	if v == nil {
		return errNoValue
	}
	p, err := prefixOf(v)
	// What was written wrongly is not missing.
	n.value, n.given = p, true
	return err
}

// words is a list of words.
type words struct {
	values []string
	given  bool
}

func (w *words) begin() { w.values, w.given = nil, true }

func (w *words) add(v any) error {
	var t text
	err := t.set(v)
	w.values = append(w.values, strings.TrimSpace(t.value))
	return err
}

// communities is a list of communities (RFC 1997), in 32 bits each.
type communities struct {
	values []uint32
	given  bool
}

func (c *communities) begin() { c.values, c.given = nil, true }

func (c *communities) add(v any) error {
	value, err := community(v)
	c.values = append(c.values, value)
	return err
}

// wellKnown are the communities that have names (the registry of IANA).
var wellKnown = map[string]uint32{
	"graceful-shutdown": 0xffff0000, "blackhole": 0xffff029a, "no-export": 0xffffff01, "no-advertise": 0xffffff02,
	"no-export-subconfed": 0xffffff03, "no-peer": 0xffffff04,
}

const communityAdvice = `write two numbers up to 65535 such as "64500:1", or no-export, no-advertise, no-peer, graceful-shutdown or blackhole`

func community(v any) (uint32, error) {
	s, ok := v.(string)
	switch {
	case v == nil:
		return 0, errNoValue
	case !ok:
		return 0, fmt.Errorf("%s is not a community; %s, in quotes", describe(v), communityAdvice)
	}
	s = strings.TrimSpace(s)
	if value, ok := wellKnown[strings.ReplaceAll(strings.ToLower(s), "_", "-")]; ok {
		return value, nil
	}
	high, low, _ := strings.Cut(s, ":")
	h, errHigh := strconv.ParseUint(high, 10, 16)
	l, errLow := strconv.ParseUint(low, 10, 16)
	switch {
	case errHigh == nil && errLow == nil:
		return uint32(h)<<16 | uint32(l), nil
	case strings.Count(s, ":") == 2:
		return 0, fmt.Errorf("%q is an extended or a large community, which are not sent; %s", s, communityAdvice)
	}
	return 0, fmt.Errorf("%q is not a community; %s", s, communityAdvice)
}
