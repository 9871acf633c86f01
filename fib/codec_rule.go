package fib

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ruleHeaderLen is sizeof(struct fib_rule_hdr).
const ruleHeaderLen = 12

// noSuppression is the kernel's word for "suppress nothing"
// (net/core/fib_rules.c): -1.
const noSuppression = 1<<32 - 1

func (r Rule) check() error {
	if r.Family == FamilyUnknown {
		return fmt.Errorf("family is not set")
	}
	for _, p := range []struct {
		what   string
		prefix netip.Prefix
	}{{"from", r.From}, {"to", r.To}} {
		if p.prefix == (netip.Prefix{}) {
			continue
		}
		if err := checkPrefix(p.what, p.prefix, r.Family); err != nil {
			return err
		}
	}
	switch {
	case (r.Goto == 0) == (r.Table == 0):
		return fmt.Errorf("a rule needs either a table or a goto")
	case r.Goto != 0 && r.Goto <= r.Priority:
		return fmt.Errorf("goto %d does not lead forward from %d", r.Goto, r.Priority)
	case r.Mark&^r.Mask != 0:
		return fmt.Errorf("mark 0x%x has bits outside of mask 0x%x", r.Mark, r.Mask)
	case r.MinPrefixLen < 0 || r.MinPrefixLen > 128:
		return fmt.Errorf("shortest prefix length %d is not in 0..128", r.MinPrefixLen)
	case r.Goto != 0 && r.MinPrefixLen != 0:
		return fmt.Errorf("a goto looks up no table, so it has no shortest prefix")
	}
	return nil
}

// encodeRule treats Replace as Add: a rule is its own key. The create flags make
// the kernel refuse a second copy.
func encodeRule(w *builder, v Verb, r Rule, protocol uint8, seq uint32) error {
	if v == Replace {
		v = Add
	}
	if err := r.check(); err != nil {
		return err
	}
	kind, flags := v.request(unix.RTM_NEWRULE, unix.RTM_DELRULE)
	start := w.begin(kind, flags, seq)
	encodeRuleBody(w, r, protocol)
	w.end(start)
	return nil
}

// encodeRuleBody writes struct fib_rule_hdr and the attributes. A delete removes
// the first rule that agrees with what is said here, so everything is said; what
// cannot be said (that a selector is absent) is settled in exactRule.
func encodeRuleBody(w *builder, r Rule, protocol uint8) {
	action := uint8(unix.FR_ACT_TO_TBL)
	if r.Goto != 0 {
		action = unix.FR_ACT_GOTO
	}
	w.raw(addressFamily(r.Family), prefixBits(r.To), prefixBits(r.From), 0,
		smallTable(r.Table), 0, 0, action)
	w.rawU32(0)
	w.attrU32(unix.FRA_PRIORITY, r.Priority)
	if prefixBits(r.To) > 0 {
		w.attrAddr(unix.FRA_DST, r.To.Addr())
	}
	if prefixBits(r.From) > 0 {
		w.attrAddr(unix.FRA_SRC, r.From.Addr())
	}
	if r.Mask != 0 {
		w.attrU32(unix.FRA_FWMARK, r.Mark)
		w.attrU32(unix.FRA_FWMASK, r.Mask)
	}
	if r.Goto != 0 {
		w.attrU32(unix.FRA_GOTO, r.Goto)
	} else {
		w.attrU32(unix.FRA_TABLE, r.Table)
	}
	if r.MinPrefixLen > 0 {
		w.attrU32(unix.FRA_SUPPRESS_PREFIXLEN, uint32(r.MinPrefixLen-1))
	}
	w.attr(unix.FRA_PROTOCOL, protocol)
}

func prefixBits(p netip.Prefix) uint8 {
	if !p.IsValid() {
		return 0
	}
	return uint8(p.Bits())
}

// ruleMessage is a decoded RTM_NEWRULE or RTM_DELRULE.
type ruleMessage struct {
	rule     Rule
	protocol uint8
	// strange says what of the kernel's rule Rule cannot express; "" if it
	// expresses all of it.
	strange string
}

// writtenRuleAttributes are the attributes that encodeRuleBody writes.
const writtenRuleAttributes = 1<<unix.FRA_DST | 1<<unix.FRA_SRC | 1<<unix.FRA_GOTO |
	1<<unix.FRA_PRIORITY | 1<<unix.FRA_FWMARK | 1<<unix.FRA_FWMASK | 1<<unix.FRA_TABLE |
	1<<unix.FRA_SUPPRESS_PREFIXLEN | 1<<unix.FRA_PROTOCOL | 1<<unix.FRA_PAD

// decodeRule reads the part of a message behind its header.
func decodeRule(body []byte) (ruleMessage, error) {
	if len(body) < ruleHeaderLen {
		return ruleMessage{}, malformed("a rule of %d bytes", len(body))
	}
	a, err := parseAttributes(body[ruleHeaderLen:])
	if err != nil {
		return ruleMessage{}, fmt.Errorf("read rule: %w", err)
	}
	var m ruleMessage
	r := &m.rule
	r.Family = familyFromKernel(body[0])
	if r.Family == FamilyUnknown {
		// Multicast routing has rules of its own families.
		m.strange = fmt.Sprintf("address family %d", body[0])
	}
	if m.protocol, err = a.uint8(unix.FRA_PROTOCOL); err != nil {
		return ruleMessage{}, fmt.Errorf("read rule: %w", err)
	}
	if r.Priority, err = a.uint32(unix.FRA_PRIORITY); err != nil {
		return ruleMessage{}, fmt.Errorf("read rule: %w", err)
	}
	if m.strange == "" {
		if err := decodeSelectors(r, body, &a); err != nil {
			return ruleMessage{}, fmt.Errorf("read rule %d: %w", r.Priority, err)
		}
		if m.strange, err = decodeAction(r, body, &a); err != nil {
			return ruleMessage{}, fmt.Errorf("read rule %d: %w", r.Priority, err)
		}
	}
	return m, nil
}

func decodeSelectors(r *Rule, body []byte, a *attributes) error {
	for _, p := range []struct {
		to   *netip.Prefix
		kind uint16
		bits uint8
	}{{&r.To, unix.FRA_DST, body[1]}, {&r.From, unix.FRA_SRC, body[2]}} {
		prefix, err := a.prefix(p.kind, r.Family, p.bits)
		if err != nil {
			return err
		}
		if prefix.Bits() > 0 {
			*p.to = prefix
		}
	}
	mark, err := a.uint32(unix.FRA_FWMARK)
	if err != nil {
		return err
	}
	if r.Mask, err = a.uint32(unix.FRA_FWMASK); err != nil {
		return err
	}
	r.Mark = mark & r.Mask
	return nil
}

// decodeAction reads what the rule does, and returns what Rule has no word for.
func decodeAction(r *Rule, body []byte, a *attributes) (strange string, err error) {
	shortest, err := a.uint32(unix.FRA_SUPPRESS_PREFIXLEN)
	if err != nil {
		return "", err
	}
	if a.has(unix.FRA_SUPPRESS_PREFIXLEN) && shortest != noSuppression {
		if shortest > 127 {
			return fmt.Sprintf("suppress_prefixlength %d", shortest), nil
		}
		r.MinPrefixLen = int(shortest) + 1
	}
	table := uint32(body[4])
	if a.has(unix.FRA_TABLE) {
		if table, err = a.uint32(unix.FRA_TABLE); err != nil {
			return "", err
		}
	}
	jump, err := a.uint32(unix.FRA_GOTO)
	if err != nil {
		return "", err
	}
	switch body[7] {
	case unix.FR_ACT_TO_TBL:
		r.Table = table
	case unix.FR_ACT_GOTO:
		r.Goto = jump
	default:
		return fmt.Sprintf("action %d", body[7]), nil
	}
	return strangeSelector(body, a), nil
}

// strangeSelector names a selector that Rule does not have.
func strangeSelector(body []byte, a *attributes) string {
	if body[3] != 0 {
		return fmt.Sprintf("tos 0x%02x", body[3])
	}
	if body[8]&unix.FIB_RULE_INVERT != 0 {
		return "not"
	}
	kind, other := a.beyond(writtenRuleAttributes)
	if !other {
		return ""
	}
	switch kind {
	case unix.FRA_IIFNAME:
		return "iif " + unix.ByteSliceToString(a.value[kind])
	case unix.FRA_OIFNAME:
		return "oif " + unix.ByteSliceToString(a.value[kind])
	default:
		return fmt.Sprintf("attribute %d", kind)
	}
}

// removedBy reports whether the kernel would take m for the rule that a delete of
// d means (net/core/fib_rules.c, rule_find): whatever d does not say agrees with
// everything. Both are of one protocol.
func (m ruleMessage) removedBy(d Rule) bool {
	r := m.rule
	return r.Family == d.Family && r.Priority == d.Priority &&
		(d.From == netip.Prefix{} || d.From == r.From) &&
		(d.To == netip.Prefix{} || d.To == r.To) &&
		(d.Mask == 0 || d.Mask == r.Mask) &&
		(d.Mark == 0 || d.Mark == r.Mark) &&
		(d.Table == 0 || d.Table == r.Table) &&
		(d.Goto == 0) == (r.Goto == 0) &&
		(d.MinPrefixLen == 0 || d.MinPrefixLen == r.MinPrefixLen)
}
