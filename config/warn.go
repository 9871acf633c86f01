package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// slowDetection is when transports begin to give up by themselves (RFC 1122
// section 3.3.1.4: detection should be quicker than they are).
const slowDetection = 30 * time.Second

// oftenInterval is when probes become so many that routers on the way limit
// them, which looks like loss.
const oftenInterval = 100 * time.Millisecond

// solicitation is how long the kernel waits for a neighbour in one round: three
// solicitations, one second apart (ucast_solicit, retrans_time_ms).
const solicitation = 3 * time.Second

// warn reports what is valid and probably not wanted.
func (c *Config) warn(r *report) {
	if len(c.Uplinks) == 1 {
		r.add("uplinks", "there is only one; nothing can take over when %s fails: add the second way out", c.Uplinks[0].Name)
	}
	for i := range c.Uplinks {
		u, path := &c.Uplinks[i], item("uplinks", i)
		if u.Neighbour == nil && u.ICMP == nil && u.BFD == nil && u.BGP == nil {
			r.add(path, "nothing but the link of %s is watched; status shows it as not verified (DGD-03); add icmp targets", u.Name)
		}
		u.warnSlow(r, path)
		if u.ICMP != nil {
			u.ICMP.warn(r, path+".icmp", u.Name)
		}
		if u.BFD != nil {
			u.BFD.warn(r, path+".bfd", u.Name)
		}
		if u.BGP != nil {
			u.BGP.warn(r, path+".bgp", u)
		}
	}
	c.warnBGP(r)
	c.warnShares(r)
}

// warnSlow looks at the slowest way in which an outage may show. With icmp that
// is an outage behind the gateway.
func (u *Uplink) warnSlow(r *report, path string) {
	var worst time.Duration
	var where, advice string
	switch {
	case u.ICMP != nil:
		worst = u.ICMP.Interval*time.Duration(u.ICMP.Down) + u.ICMP.Timeout
		where, advice = ".icmp", "write a shorter interval or a smaller down"
	case u.BFD != nil:
		worst = u.BFD.DetectionTime()
		where, advice = ".bfd", "write a shorter interval or a smaller multiplier, or add icmp"
	case u.Neighbour != nil:
		worst = (u.Neighbour.Interval + solicitation) * time.Duration(u.Neighbour.Tries)
		where, advice = ".neighbour", "write a shorter interval or fewer tries, or add icmp"
	case u.BGP != nil:
		worst = u.BGP.HoldTime
		where, advice = ".bgp.hold-time", "add bfd or icmp"
	}
	if worst > slowDetection {
		r.add(path+where, "an outage of %s may go unseen for %v, longer than connections wait (%v; DGD-09); %s", u.Name, worst, slowDetection, advice)
	}
}

func (m *ICMP) warn(r *report, path, uplink string) {
	if m.Interval < oftenInterval {
		r.add(path+".interval", "%v is so often that routers on the way may limit the answers, which looks like loss; write %v or more", m.Interval, oftenInterval)
	}
	if m.LatencyEnter >= m.Timeout {
		r.add(path+".latency", "%v can never be measured, since an answer is lost after %v; write less, or a longer timeout", m.LatencyEnter, m.Timeout)
	}
	count, only := map[bool]int{}, map[bool]netip.Addr{}
	for _, t := range m.Targets {
		count[t.Is4()]++
		only[t.Is4()] = t
	}
	for _, is4 := range [...]bool{true, false} {
		if count[is4] == 1 {
			t := only[is4]
			r.add(fmt.Sprintf("%s.targets", path), "%v is the only %s target of %s: if it fails, so does the uplink; add two more", t, familyName(t), uplink)
		}
	}
}

// warnShares finds uplinks whose weight is too small for a single bucket. A
// group has 60 buckets for up to six uplinks and 120 beyond, and each tier
// shares all of them.
func (c *Config) warnShares(r *report) {
	buckets := 60
	if len(c.Uplinks) > 6 {
		buckets = 120
	}
	sum := map[int]int{}
	for _, u := range c.Uplinks {
		sum[u.Tier] += u.Weight
	}
	small := map[int][]string{}
	first := map[int]int{}
	for i, u := range c.Uplinks {
		if u.Weight*buckets >= sum[u.Tier] {
			continue
		}
		if len(small[u.Tier]) == 0 {
			first[u.Tier] = i
		}
		small[u.Tier] = append(small[u.Tier], u.Name)
	}
	for _, tier := range slices.Sorted(maps.Keys(small)) {
		names := small[tier]
		r.add(item("uplinks", first[tier])+".weight", "less than one of %d buckets is left for %s in tier %d, so that it may get no traffic; write weights within 1:%d of the sum, or use another tier",
			buckets, few(names), tier, buckets)
	}
}

// few lists names, but not hundreds of them.
func few(names []string) string {
	if len(names) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
