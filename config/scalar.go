package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A scalar takes one value of a file or of the environment. Values arrive as
// string, bool, int, int64, uint64, float64, nil, or as something that no key
// takes; the error says what to write instead.
type scalar interface {
	set(v any) error
}

// A list takes several values, or one where a list of one is meant. A value
// that cannot be read leaves a placeholder, so that the index of the others
// stays the one of the file.
type list interface {
	begin()
	add(v any) error
}

var errNoValue = errors.New("has no value; write one, or remove the key to get the default")

// describe names a value in a message.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v)
	case nil:
		return "nothing"
	case []any:
		return "a list"
	case map[string]any, map[any]any:
		return "a section"
	default:
		return fmt.Sprintf("a value of another kind (%v)", v)
	}
}

// number is a whole number; "0x1f" is as good as 31.
type number struct {
	value int64
	given bool
}

func (n *number) set(v any) error {
	value, err := wholeNumber(v)
	if err == nil {
		n.value, n.given = value, true
	}
	return err
}

func wholeNumber(v any) (int64, error) {
	switch v := v.(type) {
	case nil:
		return 0, errNoValue
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
		return 0, fmt.Errorf("%d is too large", v)
	case float64:
		// JSON has no whole numbers: 5 arrives as 5.0.
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v), nil
		}
	case string:
		text := strings.TrimSpace(v)
		if len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9' {
			return 0, fmt.Errorf("%q begins with 0; write it without, or as 0x for hexadecimal", v)
		}
		if n, err := strconv.ParseInt(text, 0, 64); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s is not a whole number; write one such as 10 or 0x100", describe(v))
}

// fraction is a number that may have a fraction.
type fraction struct {
	value float64
	given bool
}

func (r *fraction) set(v any) error {
	value := math.NaN()
	switch v := v.(type) {
	case nil:
		return errNoValue
	case int:
		value = float64(v)
	case int64:
		value = float64(v)
	case uint64:
		value = float64(v)
	case float64:
		value = v
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			value = f
		}
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return fmt.Errorf("%s is not a number; write one such as 750", describe(v))
	}
	r.value, r.given = value, true
	return nil
}

// duration is a number with a unit.
type duration struct {
	value time.Duration
	given bool
}

func (d *duration) set(v any) error {
	var text string
	switch v := v.(type) {
	case nil:
		return errNoValue
	case string:
		text = strings.TrimSpace(v)
	case int, int64, uint64, float64:
		text = fmt.Sprint(v)
	}
	if value, err := time.ParseDuration(text); err == nil {
		d.value, d.given = value, true
		return nil
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return fmt.Errorf("%s has no unit; write \"%ss\" for seconds", describe(v), text)
	}
	return fmt.Errorf(`%s is not a duration; write a number and its unit, such as "500ms", "10s" or "2m"`, describe(v))
}

// share is a part of the whole: "40%" or 0.4.
type share struct {
	value float64
	given bool
}

func (s *share) set(v any) error {
	if text, ok := v.(string); ok {
		if percent, ok := strings.CutSuffix(strings.TrimSpace(text), "%"); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
			if err != nil || math.IsNaN(f) || f < 0 || f > 100 {
				return fmt.Errorf("%s is not a share; write 0%% to 100%%", describe(v))
			}
			s.value, s.given = f/100, true
			return nil
		}
	}
	var f fraction
	if err := f.set(v); err != nil {
		if errors.Is(err, errNoValue) {
			return err
		}
		return fmt.Errorf(`%s is not a share; write it as "40%%" or 0.4`, describe(v))
	}
	switch {
	case f.value < 0:
		return fmt.Errorf(`%s is less than nothing; write it as "40%%" or 0.4`, describe(v))
	case f.value == 1:
		return fmt.Errorf(`%s may mean one percent or all; write "1%%" or "100%%"`, describe(v))
	case f.value > 1:
		return fmt.Errorf(`%s has no percent sign; write "%v%%"`, describe(v), f.value)
	}
	s.value, s.given = f.value, true
	return nil
}

// text is a string. Numbers and true are not: their spelling would be lost.
type text struct {
	value string
	given bool
}

func (t *text) set(v any) error {
	switch v := v.(type) {
	case nil:
		return errNoValue
	case string:
		t.value, t.given = v, true
		return nil
	case bool, int, int64, uint64, float64:
		return fmt.Errorf(`%v is read as a number or a truth value; write it in quotes`, v)
	}
	return fmt.Errorf("%s is not a word; write one", describe(v))
}

// flag is true or false.
type flag struct {
	value bool
	given bool
}

func (f *flag) set(v any) error {
	switch v := v.(type) {
	case nil:
		return errNoValue
	case bool:
		f.value, f.given = v, true
		return nil
	case string:
		// YAML before 1.2 knew yes, no, on and off, and people still do.
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true", "yes", "on":
			f.value, f.given = true, true
			return nil
		case "false", "no", "off":
			f.value, f.given = false, true
			return nil
		}
	}
	return fmt.Errorf("%s is neither true nor false", describe(v))
}

// addresses is a list of addresses.
type addresses struct {
	values []netip.Addr
	given  bool
}

func (a *addresses) begin() { a.values, a.given = nil, true }

func (a *addresses) add(v any) error {
	addr, err := address(v)
	a.values = append(a.values, addr)
	return err
}

func address(v any) (netip.Addr, error) {
	s, ok := v.(string)
	if !ok {
		return netip.Addr{}, notAddress(v)
	}
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(s)
	switch {
	case err == nil && addr.Is4In6():
		return netip.Addr{}, fmt.Errorf("%s is IPv4 in IPv6 clothes; write %s", s, addr.Unmap())
	case err == nil && addr.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%s names an interface; write %s, the uplink has its interface already", s, addr.WithZone(""))
	case err == nil:
		return addr, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return netip.Addr{}, fmt.Errorf("%s is a prefix; write an address such as %s", s, p.Addr())
	}
	return netip.Addr{}, notAddress(v)
}

func notAddress(v any) error {
	if v == nil {
		return errNoValue
	}
	return fmt.Errorf("%s is not an IP address; write one such as 192.0.2.1 or 2001:db8::1 (names are not looked up)", describe(v))
}

// prefixes is a list of prefixes; an address is the prefix of full length.
type prefixes struct {
	values []netip.Prefix
	given  bool
}

func (p *prefixes) begin() { p.values, p.given = nil, true }

func (p *prefixes) add(v any) error {
	prefix, err := prefixOf(v)
	p.values = append(p.values, prefix)
	return err
}

func prefixOf(v any) (netip.Prefix, error) {
	s, _ := v.(string)
	if !strings.Contains(s, "/") {
		addr, err := address(v)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(s))
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a prefix; write one such as 203.0.113.0/29 or 2001:db8:1::/48", s)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 in IPv6 clothes; write %s", p, p.Addr().Unmap())
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its length; write %s for the network or %s for the address", p, p.Masked(), p.Addr())
	}
	return p, nil
}
