package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/multihomed/multihomed/internal/bgptest"
	"github.com/multihomed/multihomed/internal/lab"
)

// witness tells when a table is in the kernel. It looks up some of the prefixes, which
// costs nothing, and counts all routes only when those are there: the kernel walks
// its whole table for that.
type witness struct {
	host    *lab.Host
	kernel  *kernelSocket
	ipv6    bool
	devices []int
	// base is how many routes there were before.
	base    int
	samples []expected
	missing int // of samples: the one that was missing or wrong last time
}

// expected is a prefix that no longer one is in, and the number of the uplink that
// has the shortest path to it; less than 0 if none has.
type expected struct {
	prefix netip.Prefix
	uplink int
}

const (
	// spread samples are distributed over the table, and tail ones are its end.
	spreadSamples = 2000
	tailSamples   = 200
)

// newWitness remembers how many routes there are. devices are the near ends of the
// uplinks.
func newWitness(h *lab.Host, ipv6 bool, devices []int, samples []expected) (w *witness, err error) {
	w = &witness{host: h, ipv6: ipv6, devices: devices, samples: samples}
	if w.kernel, err = openKernel(h, 0); err != nil {
		return nil, err
	}
	w.base, err = w.routes()
	return w, err
}

func (w *witness) close() error { return w.kernel.close() }

// chooseSamples chooses prefixes of the longest common length, so that a lookup of their
// address can match nothing else.
func chooseSamples(t *bgptest.Table, p bgptest.Preference, peers int) []expected {
	longest := longestOf(t.Family())
	var found []expected
	step := max(t.Len()/spreadSamples, 1)
	for i := range t.Len() {
		if i%step != 0 && i < t.Len()-tailSamples {
			continue
		}
		if prefix := t.Prefix(i); prefix.Bits() == longest {
			found = append(found, expected{prefix, shortest(t, p, peers, i)})
		}
	}
	return found
}

// longestOf is the length that no prefix of a table exceeds.
func longestOf(f bgptest.Family) int {
	if f == bgptest.IPv6 {
		return 48
	}
	return 24
}

// shortest returns the number of the peer with the shortest path to prefix i.
func shortest(t *bgptest.Table, p bgptest.Preference, peers, i int) int {
	if peers == 1 {
		return 0
	}
	a := len(t.Attributes(bgptest.View{Slot: 0, Preference: p}, i).ASPath)
	b := len(t.Attributes(bgptest.View{Slot: 1, Preference: p}, i).ASPath)
	switch {
	case a < b:
		return 0
	case a > b:
		return 1
	default:
		return -1
	}
}

// loaded reports whether n routes more than before are in the kernel. Those of IPv6
// need not be looked up first: their number costs nothing, and the kernel (6.18) does
// not tell which of them matched if they share a next-hop object.
func (w *witness) loaded(n int) (bool, error) {
	if !w.ipv6 {
		if ok, err := w.all(w.present); !ok || err != nil {
			return false, err
		}
	}
	now, err := w.routes()
	return now-w.base >= n, err
}

// settled reports whether every sample goes out by its uplink.
func (w *witness) settled() (bool, error) { return w.all(w.right) }

// first tells what was missing or wrong last time.
func (w *witness) first() string {
	if len(w.samples) == 0 {
		return "the default"
	}
	return w.samples[w.missing].prefix.String()
}

// all asks first for what was missing last time.
func (w *witness) all(f func(e expected) (bool, error)) (bool, error) {
	for i := range w.samples {
		at := (w.missing + i) % len(w.samples)
		if ok, err := f(w.samples[at]); !ok || err != nil {
			w.missing = at
			return false, err
		}
	}
	return true, nil
}

func (w *witness) present(e expected) (bool, error) {
	r, ok, err := w.kernel.ask(e.prefix.Addr(), true)
	return ok && r.prefix == e.prefix, err
}

func (w *witness) right(e expected) (bool, error) {
	if e.uplink < 0 {
		return true, nil
	}
	r, ok, err := w.kernel.ask(e.prefix.Addr(), false)
	return ok && r.device == w.devices[e.uplink], err
}

// outside is an address per family that no table has a prefix for.
var outside = map[bool]netip.Addr{false: netip.MustParseAddr("198.51.100.1"), true: netip.MustParseAddr("2001:db8:ffff::1")}

// routes counts those of the family in all tables, without the default over all
// uplinks: some have one before a peer announces it.
func (w *witness) routes() (int, error) {
	n, err := w.countRoutes()
	if err != nil {
		return 0, err
	}
	_, ok, err := w.kernel.ask(outside[w.ipv6], false)
	if ok {
		n--
	}
	return n, err
}

func (w *witness) countRoutes() (n int, err error) {
	name, parse := "/proc/thread-self/net/fib_triestat", parseTries
	if w.ipv6 {
		name, parse = "/proc/thread-self/net/rt6_stats", parseRoutes6
	}
	var text []byte
	err = w.host.Do(func() (err error) {
		text, err = os.ReadFile(name)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count routes: %w", err)
	}
	return parse(string(text))
}

// parseTries adds up the prefixes of all tries but the local one, which is the same
// as the main one until there is a rule (net/ipv4/fib_trie.c).
func parseTries(text string) (int, error) {
	total, found, local := 0, false, false
	for line := range strings.Lines(text) {
		if line[0] != '\t' {
			local = strings.HasPrefix(line, "Local:")
		}
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "Prefixes:")
		if !ok || local {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return 0, fmt.Errorf("count routes: %w", err)
		}
		total, found = total+n, true
	}
	if !found {
		return 0, fmt.Errorf("count routes: no prefixes in %q", text)
	}
	return total, nil
}

// parseRoutes6 reads the fourth number, fib_rt_entries, which is hexadecimal
// (rt6_stats_seq_show in net/ipv6/route.c).
func parseRoutes6(text string) (int, error) {
	fields := strings.Fields(text)
	if len(fields) < 4 {
		return 0, fmt.Errorf("count routes: rt6_stats is %q", text)
	}
	n, err := strconv.ParseUint(fields[3], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("count routes: %w", err)
	}
	return int(n), nil
}
