package engine

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/uplink"
)

// fullBGP is a and c with full tables, and b without BGP.
const fullBGP = `
hold: {up: 10s}
bgp: {as: 64500, router-id: 192.0.2.1, announce: [192.0.2.0/24]}
uplinks:
  - {name: a, interface: eth1, gateway: 203.0.113.1, bgp: {peer-as: 64501, import: full}}
  - {name: b, interface: eth2, gateway: 198.51.100.1}
  - {name: c, interface: eth3, gateway: 100.64.3.1, bgp: {peer-as: 64503, import: full}}
`

// Choices of fullBGP: a before c, c before a, both.
var (
	aFirst = bgp.Choice(0).With(0, bgp.First).With(1, bgp.Second)
	cFirst = bgp.Choice(0).With(1, bgp.First).With(0, bgp.Second)
	equals = bgp.Choice(0).With(0, bgp.First).With(1, bgp.First)
)

// prefixOwner is what marks the routes to prefixes of these tests.
func prefixOwner(t *testing.T) fib.BulkOwner {
	t.Helper()
	s := newSite(parseConfig(t, fullBGP))
	return bulkOwner(s.config, s.owner)
}

// tables says where prefixes lead, in words: "PREFIX > active members".
func (d *daemon) tables(t *testing.T) []string {
	t.Helper()
	synctest.Wait()
	var out []string
	for p, at := range d.fake.BulkTable(prefixOwner(t)) {
		out = append(out, p.String()+" > "+d.members(at))
	}
	slices.Sort(out)
	return out
}

// members names the uplinks of the active members of a group.
func (d *daemon) members(kernel uint32) string {
	actual, err := d.fake.List(context.Background(), d.site.owner)
	if err != nil {
		actual, _ = d.fake.List(context.Background(), d.site.owner) // It was told to fail once.
	}
	g, ok := actual.Groups[kernel]
	if !ok {
		return "no group"
	}
	var names []string
	for _, m := range g.Members {
		if w, ok := d.site.layout.WayOf(m.NextHop); ok && m.NextHop%2 == 0 {
			names = append(names, w.Uplink)
		}
	}
	return strings.Join(names, " ")
}

// tells makes the speaker tell routes, as "PREFIX" to choices.
func (v *voice) tells(synced bool, routes map[string]bgp.Choice) {
	b := bgp.Batch{Synced: synced}
	for _, p := range slices.Sorted(maps.Keys(routes)) {
		b.Routes = append(b.Routes, bgp.Route{Prefix: prefix(p), Choice: routes[p]})
	}
	v.opts.Routes(context.Background(), b)
}

// table is what the peers of these tests announce.
var table = map[string]bgp.Choice{"8.8.0.0/16": aFirst, "9.9.9.0/24": cFirst, "1.1.1.0/24": equals}

var tableWords = []string{"1.1.1.0/24 > a c", "8.8.0.0/16 > a", "9.9.9.0/24 > c"}

// full starts a daemon with full tables, whose prefixes are in the kernel.
func full(t *testing.T, k *fibtest.Kernel) *daemon {
	t.Helper()
	d := startOn(t, k, "", fullBGP, hostOf(t, hostA, hostB, hostC))
	d.speaks(t)
	return d
}

// speaks starts a child, its sessions and its table.
func (d *daemon) speaks(t *testing.T) {
	t.Helper()
	time.Sleep(5 * time.Second) // The first reading of the kernel may have failed.
	synctest.Wait()
	d.voices[0].starts(time.Now())
	d.voices[0].opts.Begin()
	d.voices[0].up("a/ipv4")
	d.voices[0].up("c/ipv4")
	synctest.Wait()
	d.voices[0].tells(true, table)
	d.settles()
}

// settles lets the prefixes be written.
func (d *daemon) settles() {
	synctest.Wait()
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func (d *daemon) expectTables(t *testing.T, when string, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, d.tables(t)); diff != "" {
		t.Errorf("%s -want +got:\n%s", when, diff)
	}
}

// TestBulk_failover: prefixes lead to groups, and a dead uplink is a rewrite of groups in
// the pass of the default group, without any write of a prefix.
func TestBulk_failover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := full(t, fibtest.New())
		defer d.end(t)
		d.expectTables(t, "at first", tableWords)
		if _, ok := d.fake.Text(), strings.Contains(d.fake.Text(), "lookup 222"); !ok {
			t.Errorf("no rule for the prefixes:\n%s", d.fake.Text())
		}
		d.fake.BulkWrites()
		d.fake.Writes()
		d.Board().Put(uplink.Evidence{Source: uplink.Source{Way: wayA, Kind: uplink.KindBFD}, Opinion: uplink.Down, Reason: "told so"})
		synctest.Wait()
		if n := len(d.fake.Writes()); n != 4 {
			t.Errorf("%d writes, want the default group and three of choices", n)
		}
		d.settles()
		d.expectTables(t, "a dead", []string{"1.1.1.0/24 > c", "8.8.0.0/16 > c", "9.9.9.0/24 > c"})
		d.Board().Put(uplink.Evidence{Source: uplink.Source{Way: wayC, Kind: uplink.KindBFD}, Opinion: uplink.Down, Reason: "told so"})
		d.settles()
		d.expectTables(t, "both dead: never worse off than the default", []string{"1.1.1.0/24 > b", "8.8.0.0/16 > b", "9.9.9.0/24 > b"})
		if n := len(d.fake.BulkWrites()); n != 0 {
			t.Errorf("%d prefixes written", n)
		}
	})
}

// TestBulk_incremental: prefixes that go or change are written, and groups that nothing
// leads to any more are removed, and not before.
func TestBulk_incremental(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := full(t, fibtest.New())
		defer d.end(t)
		v := d.voices[0]
		groups := func() int {
			actual, _ := d.fake.List(context.Background(), d.site.owner)
			return len(foundChoices(d.site.layout, d.site.owner, actual))
		}
		if groups() != 3 {
			t.Errorf("%d groups", groups())
		}
		v.tells(false, map[string]bgp.Choice{"8.8.0.0/16": cFirst, "1.1.1.0/24": 0})
		d.settles()
		d.expectTables(t, "changed", []string{"8.8.0.0/16 > c", "9.9.9.0/24 > c"})
		if groups() != 1 {
			t.Errorf("%d groups are left", groups())
		}
		s := d.Status()
		if p := s.BGP.Prefixes; p == nil || p.Routes != 2 || p.Groups != 1 || p.Table != 222 || p.Pending != 0 {
			t.Errorf("the status says %+v", p)
		}
	})
}

// TestBulk_crash: a child that dies and comes back with the same table writes nothing;
// what it does not tell again goes only once everything was told.
func TestBulk_crash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := full(t, fibtest.New())
		defer d.end(t)
		v := d.voices[0]
		d.fake.BulkWrites()
		d.fake.Writes()
		before := d.fake.Text()
		v.dies("killed")
		time.Sleep(10 * time.Second)
		v.starts(time.Now())
		v.opts.Begin()
		time.Sleep(10 * time.Second)
		v.tells(false, map[string]bgp.Choice{"8.8.0.0/16": aFirst, "9.9.9.0/24": cFirst})
		d.settles()
		if d.fake.Text() != before || len(d.fake.BulkWrites())+len(d.fake.Writes()) != 0 {
			t.Error("something was written before all was told")
		}
		v.tells(true, nil)
		d.settles()
		d.expectTables(t, "all told", []string{"8.8.0.0/16 > a", "9.9.9.0/24 > c"})
	})
}

// TestB_GR_03_B_GR_06_B_GR_08_BulkRestart: a daemon that starts again keeps groups and
// prefixes until everything was told, and then removes what was not.
func TestB_GR_03_B_GR_06_B_GR_08_BulkRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fibtest.New()
		first := full(t, k)
		first.end(t)
		before := k.Text()
		k.Writes()
		k.BulkWrites()
		remembered := filepath.Join(t.TempDir(), "mh.sock.drains")
		if err := (memory{Slots: first.peering.slots.remembered()}).write(remembered); err != nil {
			t.Fatal(err)
		}
		d := startOn(t, k, remembered, fullBGP, hostOf(t, hostA, hostB, hostC))
		defer d.end(t)
		time.Sleep(time.Minute)
		d.expectTables(t, "nobody has spoken", tableWords)
		if c, _ := d.voices[0].set(); !c.Restarting {
			t.Error("peers are not told that we went on forwarding")
		}
		d.voices[0].starts(time.Now())
		d.voices[0].opts.Begin()
		d.voices[0].up("a/ipv4")
		d.voices[0].up("c/ipv4")
		d.settles()
		if small, bulk := k.Writes(), k.BulkWrites(); k.Text() != before || len(small)+len(bulk) != 0 {
			t.Errorf("written before all was told: %q, %+v", small, bulk)
		}
		d.voices[0].tells(true, map[string]bgp.Choice{"8.8.0.0/16": aFirst, "1.1.1.0/24": equals})
		d.settles()
		d.expectTables(t, "told", []string{"1.1.1.0/24 > a c", "8.8.0.0/16 > a"})
		if w := k.BulkWrites(); len(w) != 1 || w[0].NextHop != 0 {
			t.Errorf("wrote %+v, want the one that did not come back to go", w)
		}
	})
}

// TestBulk_forgotten: where nobody remembers which place in a choice was whose, prefixes
// of a previous life do not follow an uplink that has the place now: they follow the
// default until they were told of anew.
func TestBulk_forgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fibtest.New()
		first := full(t, k)
		first.end(t)
		d := startOn(t, k, "", strings.Replace(fullBGP, "name: a,", "tier: 2, name: a,", 1), hostOf(t, hostA, hostB, hostC))
		defer d.end(t)
		d.settles()
		d.expectTables(t, "forgotten", []string{"1.1.1.0/24 > b c", "8.8.0.0/16 > b c", "9.9.9.0/24 > b c"})
		if d.log.count("level=WARN", "nobody remembers") != 1 {
			t.Error("it is not logged")
		}
		d.voices[0].starts(time.Now())
		d.voices[0].opts.Begin()
		d.voices[0].up("a/ipv4")
		d.voices[0].up("c/ipv4")
		synctest.Wait()
		at := map[string]bgp.Slot{}
		c, _ := d.voices[0].set()
		for _, p := range c.Peers {
			at[p.Name] = p.Slot
		}
		onlyC := bgp.Choice(0).With(at["c/ipv4"], bgp.First).With(at["a/ipv4"], bgp.Second)
		d.voices[0].tells(false, map[string]bgp.Choice{"8.8.0.0/16": onlyC})
		d.settles()
		d.expectTables(t, "told in part", []string{"1.1.1.0/24 > b c", "8.8.0.0/16 > c", "9.9.9.0/24 > b c"})
		d.voices[0].tells(true, map[string]bgp.Choice{"9.9.9.0/24": onlyC})
		d.settles()
		d.expectTables(t, "told", []string{"8.8.0.0/16 > c", "9.9.9.0/24 > c"})
		if s := d.peering.slots[fib.IPv4]; slices.Contains(s[:], forgotten) {
			t.Errorf("places are kept for nobody: %q", s[:])
		}
	})
}

// TestBulk_notWantedAnyMore: what a previous life left goes if no uplink imports more
// than a default any more, at a start and at a reload.
func TestBulk_notWantedAnyMore(t *testing.T) {
	plain := strings.ReplaceAll(fullBGP, ", import: full", "")
	t.Run("start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := fibtest.New()
			first := full(t, k)
			first.end(t)
			d := startOn(t, k, "", plain, hostOf(t, hostA, hostB, hostC))
			defer d.end(t)
			d.settles()
			if got := d.tables(t); len(got) != 0 || strings.Contains(k.Text(), "lookup 222") {
				t.Errorf("left: %q\n%s", got, k.Text())
			}
			actual, _ := k.List(t.Context(), d.site.owner)
			if left := foundChoices(d.site.layout, d.site.owner, actual); len(left) != 0 {
				t.Errorf("groups %d are left", left)
			}
		})
	})
	t.Run("reload", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := full(t, fibtest.New())
			defer d.end(t)
			d.Reload(t.Context(), parseConfig(t, plain))
			d.settles()
			if got := d.tables(t); len(got) != 0 {
				t.Errorf("left: %q", got)
			}
			d.Reload(t.Context(), parseConfig(t, fullBGP))
			synctest.Wait()
			d.voices[0].tells(true, table)
			d.settles()
			d.expectTables(t, "wanted again", tableWords)
		})
	})
}

// TestBulk_nobodyWants: without more than defaults the table is not even read.
func TestBulk_nobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, withBGP, hostOf(t, hostA, hostB))
		defer d.end(t)
		d.voices[0].starts(time.Now())
		d.voices[0].opts.Begin()
		d.voices[0].tells(true, nil)
		time.Sleep(20 * time.Minute)
		if n := d.fake.BulkCalls(); n != 0 {
			t.Errorf("%d calls", n)
		}
		if d.Status().BGP.Prefixes != nil {
			t.Error("the status has prefixes")
		}
	})
}

// TestBulk_carrier: groups that the kernel deleted with their prefixes, because the last
// device lost its carrier, come back with them.
func TestBulk_carrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := full(t, fibtest.New())
		defer d.end(t)
		for _, device := range []int{2, 3, 4} {
			d.fake.SetLink(device, false)
		}
		if got := d.tables(t); len(got) != 0 {
			t.Fatalf("the kernel keeps %q", got)
		}
		d.host.see(hostOf(t, hostA+" nocarrier", hostB+" nocarrier", hostC+" nocarrier"))
		d.settles()
		for _, device := range []int{2, 3, 4} {
			d.fake.SetLink(device, true)
		}
		d.host.see(hostOf(t, hostA, hostB, hostC))
		time.Sleep(30 * time.Second)
		d.settles()
		d.expectTables(t, "the carriers are back", tableWords)
	})
}

// TestBulk_sharedCarrierFlap: so they do when nobody noticed that they went.
func TestBulk_silentFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := full(t, fibtest.New())
		defer d.end(t)
		for _, device := range []int{2, 3, 4} {
			d.fake.SetLink(device, false)
			d.fake.SetLink(device, true)
		}
		time.Sleep(fib.FullRead + time.Second)
		d.settles()
		d.expectTables(t, "after a full read", tableWords)
	})
}

// TestBulk_everyCallFailsOnce: with any call failing the same comes of it.
func TestBulk_everyCallFailsOnce(t *testing.T) {
	life := func(t *testing.T, k *fibtest.Kernel) (text string) {
		synctest.Test(t, func(t *testing.T) {
			d := full(t, k)
			d.Board().Put(uplink.Evidence{Source: uplink.Source{Way: wayA, Kind: uplink.KindBFD}, Opinion: uplink.Down, Reason: "told so"})
			d.settles()
			d.voices[0].tells(false, map[string]bgp.Choice{"8.8.0.0/16": cFirst, "1.1.1.0/24": 0, "4.4.4.0/24": aFirst})
			time.Sleep(3 * time.Minute)
			d.expectTables(t, "in the end", []string{"4.4.4.0/24 > c", "8.8.0.0/16 > c", "9.9.9.0/24 > c"})
			text = firstChoice(k.Text())
			d.stop()
			if err := <-d.finished; err != nil {
				t.Error(err)
			}
		})
		return text
	}
	k := fibtest.New()
	want := life(t, k)
	small, bulk := k.Calls(), k.BulkCalls()
	for n := 1; n <= small; n++ {
		k := fibtest.New()
		k.FailCall(n, errTest)
		if diff := cmp.Diff(want, life(t, k)); diff != "" {
			t.Errorf("with call %d failing (-want +got):\n%s", n, diff)
		}
	}
	for n := 1; n <= bulk; n++ {
		k := fibtest.New()
		k.FailBulkCall(n, errTest)
		if diff := cmp.Diff(want, life(t, k)); diff != "" {
			t.Errorf("with bulk call %d failing (-want +got):\n%s", n, diff)
		}
	}
	t.Logf("%d and %d calls failed once each", small, bulk)
}

// TestBulk_owner: what says which prefixes are ours cannot change while they are there.
func TestBulk_owner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := full(t, fibtest.New())
		defer d.end(t)
		for _, change := range []string{"tables: {prefixes: 333}\n" + fullBGP, replaced(fullBGP, "as: 64500,", "as: 64500, protocol: 223,")} {
			d.Reload(t.Context(), parseConfig(t, change))
			synctest.Wait()
			if got := d.Status().ConfigError; got != errBulkOwner.Error() {
				t.Errorf("the status says %q", got)
			}
			d.expectTables(t, "refused", tableWords)
		}
		d.log.mu.Lock()
		d.log.text.Reset() // The refusals are errors, as they should be.
		d.log.mu.Unlock()
	})
	// Before anything is there it can.
	b := newBench(t, withBGP, hostOf(t, hostA, hostB))
	b.turn()
	b.reload("tables: {prefixes: 333}\n" + withBGP)
	if b.bulk.owner.Table != 333 || b.Status().ConfigError != "" {
		t.Errorf("table %d: %s", b.bulk.owner.Table, b.Status().ConfigError)
	}
}
