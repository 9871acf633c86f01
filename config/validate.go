package config

import (
	"fmt"
	"math"
	"strings"
)

// Validate says what is wrong with c, as [Problems] without files and lines;
// nil if nothing is. Load and Parse have done this; it is for those who build a
// Config by other means.
func (c *Config) Validate() error {
	var r report
	c.validate(&r)
	if len(r.problems) == 0 {
		return nil
	}
	return r.problems
}

func (c *Config) validate(r *report) {
	c.checkProtocol(r)
	r.within("tables.balance", int64(c.Tables.Balance), tables)
	r.within("tables.uplinks", int64(c.Tables.Uplinks), tables)
	c.checkRules(r)
	r.within("marks.mask", int64(c.Marks.Mask), marks)
	if r.within("marks.base", int64(c.Marks.Base), marks) && c.Marks.Base&^c.Marks.Mask != 0 {
		r.add("marks.base", "%#x has bits outside of the mask %#x; write a base within it, or a wider mask", c.Marks.Base, c.Marks.Mask)
	}
	r.within("next-hops.base", int64(c.NextHops.Base), nextHopIDs)
	if !c.OnExit.known() {
		r.add("on-exit", "is not set; use Keep or Withdraw")
	}
	if !c.AllDead.known() {
		r.add("all-dead", "is not set; use KeepLast, KeepAll or WithdrawAll")
	}
	c.checkHold(r)
	c.checkGroup(r)
	c.checkBGP(r)
	switch n := len(c.Uplinks); {
	case n == 0:
		r.add("uplinks", `there is none; write at least one "- name: …" with its interface below "uplinks:"`)
	case n > maxUplinks:
		r.add("uplinks", "there are %d; at most %d are possible", n, maxUplinks)
	default:
		c.checkUplinks(r)
	}
}

func (c *Config) checkProtocol(r *report) {
	if !r.within("protocol", int64(c.Protocol), protocols) {
		return
	}
	if owner, ok := daemons[c.Protocol]; ok {
		r.add("protocol", "%d marks the routes of %s, and what carries our number is ours to delete; write one that nobody uses, such as %d", c.Protocol, owner, defaultProtocol)
	}
}

func (c *Config) checkRules(r *report) {
	names := [...]string{"rules.main", "rules.source", "rules.mark", "rules.balance"}
	priority := [...]uint32{c.Rules.Main, c.Rules.Source, c.Rules.Mark, c.Rules.Balance}
	for i, name := range names {
		if !r.within(name, int64(priority[i]), priorities) || i == 0 {
			continue
		}
		// A rule that looks into main stands between the marks and the balance.
		if gap := int64(1 + i/3); int64(priority[i]) < int64(priority[i-1])+gap {
			r.add(name, "%d is not far enough behind %s (%d); write at least %d (the order is main < source < mark < balance-1)",
				priority[i], names[i-1], priority[i-1], int64(priority[i-1])+gap)
		}
	}
}

func (c *Config) checkHold(r *report) {
	h := c.Hold
	r.lasts("hold.up", h.Up, holds)
	r.lasts("hold.penalty-half-life", h.PenaltyHalfLife, halfLives)
	positive := func(path string, f float64) bool {
		// The negation also catches what is not a number.
		if !(f > 0 && f <= maxPenalty) {
			r.add(path, "%v is out of range; write more than 0 and at most %v (each outage adds 1000)", f, float64(maxPenalty))
			return false
		}
		return true
	}
	if positive("hold.suppress", h.Suppress) && positive("hold.reuse", h.Reuse) && h.Reuse >= h.Suppress {
		r.add("hold.reuse", "%v is not less than hold.suppress (%v); write less, or an uplink would be released the moment it is held", h.Reuse, h.Suppress)
	}
}

// maxPenalty is a penalty that no uplink reaches: a thousand outages.
const maxPenalty = 1_000_000

func (c *Config) checkGroup(r *report) {
	if c.Group.IdleTimer != 0 {
		r.lasts("group.idle-timer", c.Group.IdleTimer, timers)
	}
	if c.Group.UnbalancedTimer != 0 {
		r.lasts("group.unbalanced-timer", c.Group.UnbalancedTimer, timers)
	}
}

// checkTable refuses the tables that exist without us.
func (c *Config) checkTable(r *report, path string, table uint32) bool {
	if !r.within(path, int64(table), tables) {
		return false
	}
	var name string
	switch table {
	case 253:
		name = "default"
	case 254:
		name = "main"
	case 255:
		name = "local"
	default:
		return true
	}
	r.add(path, "%d is the kernel's table %s; write another number (a free range for many uplinks: tables.uplinks: 10000)", table, name)
	return false
}

// once finds who has a value already: two users of one table, mark or address
// would take each other's packets.
type once[K comparable] map[K]string

func (o once[K]) take(key K, owner string) (other string, taken bool) {
	if other, taken = o[key]; taken {
		return other, true
	}
	o[key] = owner
	return "", false
}

func (c *Config) checkUplinks(r *report) {
	names, tableOf, markOf := once[string]{}, once[uint32]{}, once[uint32]{}
	if c.checkTable(r, "tables.balance", c.Tables.Balance) {
		tableOf.take(c.Tables.Balance, "tables.balance")
	}
	for i := range c.Uplinks {
		u, path := &c.Uplinks[i], item("uplinks", i)
		if checkName(r, path+".name", u.Name) {
			if other, taken := names.take(strings.ToLower(u.Name), u.Name); taken {
				r.add(path+".name", "%q is the name of another uplink already (%s; capitals do not count); write another", u.Name, other)
			}
		}
		checkInterface(r, path+".interface", u.Interface)
		owner := fmt.Sprintf("uplink %s", u.Name)
		if c.checkTable(r, path+".table", u.Table) {
			if other, taken := tableOf.take(u.Table, owner); taken {
				r.add(path+".table", "%d is the table of %s already; write another one here, or another tables.uplinks (uplink n gets tables.uplinks+n)", u.Table, other)
			}
		}
		switch other, taken := markOf.take(u.Mark, owner); {
		case u.Mark == 0:
			r.add(path+".mark", "is 0, which every packet without a mark has; write another")
		case u.Mark&^c.Marks.Mask != 0:
			r.add(path+".mark", "%#x has bits outside of marks.mask (%#x); write a mark within it, or a wider mask (uplink n gets marks.base*(n+1))", u.Mark, c.Marks.Mask)
		case taken:
			r.add(path+".mark", "%#x is the mark of %s already; write another", u.Mark, other)
		}
		r.within(path+".weight", int64(u.Weight), weights)
		r.within(path+".tier", int64(u.Tier), tiers)
		u.checkGateways(r, path)
		u.checkNeighbour(r, path)
		if u.ICMP != nil {
			u.ICMP.check(r, path+".icmp", u)
		}
		if u.BFD != nil {
			u.BFD.check(r, path+".bfd", u)
		}
		if u.BGP != nil {
			u.BGP.check(r, path+".bgp", u, c.BGP)
		}
	}
	c.checkInterfaces(r)
	c.checkSources(r)
	c.checkSessions(r)
	c.checkBGPSessions(r)
	c.checkPrefixes(r, tableOf)
}

// checkName keeps names to what logs, metrics and variables can carry.
func checkName(r *report, path, name string) bool {
	const want = "write 1 to 32 letters, digits, - _ or ."
	switch {
	case name == "":
		r.add(path, "is missing; %s", want)
		return false
	case len(name) > 32:
		r.add(path, "%q is %d bytes long; %s", name, len(name), want)
		return false
	}
	for _, c := range name {
		if c > math.MaxInt8 || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", c) {
			r.add(path, "%q has %q in it; %s", name, c, want)
			return false
		}
	}
	return true
}

// checkInterface holds a name against the kernel's rule (dev_valid_name in
// net/core/dev.c).
func checkInterface(r *report, path, name string) {
	switch {
	case name == "":
		r.add(path, "is missing; write the device of the uplink, such as eth1 (ip link shows them)")
	case len(name) > 15:
		r.add(path, "%q is %d bytes long; the kernel's names have 1 to 15", name, len(name))
	case name == "." || name == ".." || strings.ContainsAny(name, "/ \t\n\v\f\r\u0000"):
		r.add(path, "%q cannot be a device; write a name without slashes and spaces", name)
	case strings.Contains(name, ":"):
		device, _, _ := strings.Cut(name, ":")
		r.add(path, "%q is an alias; write the device %q, and the address as source", name, device)
	case name == "lo":
		r.add(path, "lo is no way out; write the device of the uplink")
	}
}
