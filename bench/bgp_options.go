package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// bgpOptions are the flags of the scenarios of BGP.
type bgpOptions struct {
	// prefixes is nil for the numbers that a scenario has by itself.
	prefixes     []int
	peers        []int
	loading      time.Duration
	flows        int
	destinations int
	flowRate     int
	backWithin   time.Duration
	churnRate    int
	churnFor     time.Duration
	idleFor      time.Duration
	daemon       string
}

func (o *bgpOptions) flags(f *flag.FlagSet, prefixes, peers *string) {
	f.StringVar(prefixes, "prefixes", "", "sizes of tables, 0 for a default alone; by default what suits a scenario")
	f.StringVar(peers, "peers", "1,2", "numbers of peers of bgp-load, 1 or 2")
	f.DurationVar(&o.loading, "loading", 5*time.Minute, "how long loading a table may take")
	f.IntVar(&o.flows, "flows", 120, "flows of bgp-failover")
	f.IntVar(&o.destinations, "destinations", 24, "addresses that they go to")
	f.IntVar(&o.flowRate, "flow-rate", 100, "packets per second of each flow")
	f.DurationVar(&o.backWithin, "back-within", time.Minute, "how long a flow may be out before it counts as lost")
	f.IntVar(&o.churnRate, "churn-rate", 1000, "updates per second of bgp-churn")
	f.DurationVar(&o.churnFor, "churn-for", time.Minute, "how long bgp-churn lasts")
	f.DurationVar(&o.idleFor, "idle-for", 30*time.Second, "how long bgp-idle lasts")
	f.StringVar(&o.daemon, "daemon", "", "the program to measure as multihomed; by default it is built from these sources")
}

func (o *bgpOptions) parse(prefixes, peers string) (err error) {
	var errs []error
	if prefixes != "" {
		o.prefixes, err = parseNumbers("prefixes", prefixes, 0, bgptest.MaxTable)
		errs = append(errs, err)
	}
	o.peers, err = parseNumbers("peers", peers, 1, 2)
	return errors.Join(append(errs, err)...)
}

func parseNumbers(what, list string, low, high int) ([]int, error) {
	var found []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < low || n > high {
			return nil, fmt.Errorf("%s %q: want numbers from %d to %d", what, word, low, high)
		}
		found = append(found, n)
	}
	return found, nil
}

func (o *bgpOptions) validate() error {
	var errs []error
	for _, v := range []struct {
		name      string
		value     int
		low, high int
	}{
		{"flows", o.flows, 1, 5000}, {"destinations", o.destinations, 1, 100}, {"flow-rate", o.flowRate, 1, 1000},
		{"churn-rate", o.churnRate, 1, 100_000},
	} {
		if v.value < v.low || v.value > v.high {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", v.name, v.value, v.low, v.high))
		}
	}
	for name, d := range map[string]time.Duration{"loading": o.loading, "churn-for": o.churnFor, "idle-for": o.idleFor, "back-within": o.backWithin} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s %v: want more than 0", name, d))
		}
	}
	return errors.Join(errs...)
}

// tables are the sizes that were asked for, or those of the scenario.
func (o *bgpOptions) tables(usual ...int) []int {
	if o.prefixes != nil {
		return o.prefixes
	}
	return usual
}

func (o *bgpOptions) addSettings(m map[string]string) {
	m["flows"] = fmt.Sprintf("%d to %d addresses, each %d packets/s", o.flows, o.destinations, o.flowRate)
	m["churn"] = fmt.Sprintf("%d updates/s for %v", o.churnRate, o.churnFor)
}

func (o options) bgpSetting(prefixes, peers int, p bgptest.Preference, ipv6 bool) bgpSetting {
	return bgpSetting{
		prefixes: prefixes, peers: peers, preference: p, ipv6: ipv6, interval: o.interval, multiplier: o.multiplier,
		startup: o.startup, loading: o.bgp.loading,
	}
}
