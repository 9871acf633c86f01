package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/uplink"
)

// wishWords prints sessions that are wanted.
func wishWords(all []peerWish) []string {
	var out []string
	for _, w := range all {
		c := w.conf
		words := fmt.Sprintf("%s: %s from %s on %q, %v for %v", c.Name, c.Address, c.Local, c.Interface, c.Families, w.ways)
		if c.Multihop > 0 {
			words += fmt.Sprintf(", %d hops", c.Multihop)
		}
		if w.why != "" {
			words += ", not tried: " + w.why
		}
		out = append(out, words)
	}
	return out
}

// TestPeerWishes: with whom a session is wanted, and from where, for each kind of uplink.
func TestPeerWishes(t *testing.T) {
	const head = "bgp: {as: 64500, router-id: 192.0.2.1}\nuplinks:\n  - {name: a, interface: eth1, "
	const both = "eth1 2 203.0.113.2/24 2001:db8:1::2/64 fe80::2/64"
	sharedGateway := func(t *testing.T) *netmon.Snapshot {
		t.Helper()
		s := learned(hostOf(t, both), "eth1", "fe80::1")
		one := s.Defaults[0]
		one.Dst = fib.IPv4.Any()
		s.Defaults = append(s.Defaults, one)
		return s
	}
	tests := []struct {
		name, uplink string
		host         func(t *testing.T) *netmon.Snapshot
		want         []string
	}{
		{"the gateways as written", `gateway: [203.0.113.1, "2001:db8:1::1"], bgp: {peer-as: 64501}}`, nil, []string{
			`a/ipv4: 203.0.113.1 from 203.0.113.2 on "eth1", [ipv4] for [a/ipv4]`,
			`a/ipv6: 2001:db8:1::1 from 2001:db8:1::2 on "eth1", [ipv6] for [a/ipv6]`,
		}},
		{"one family of them", `gateway: [203.0.113.1, "2001:db8:1::1"], bgp: {peer-as: 64501, families: [ipv6]}}`, nil, []string{
			`a/ipv6: 2001:db8:1::1 from 2001:db8:1::2 on "eth1", [ipv6] for [a/ipv6]`,
		}},
		{"the gateway as learned, link-local", "bgp: {peer-as: 64501}}", func(t *testing.T) *netmon.Snapshot {
			t.Helper()
			return learned(learned(hostOf(t, both), "eth1", "fe80::1"), "eth1", "203.0.113.1")
		}, []string{
			`a/ipv4: 203.0.113.1 from 203.0.113.2 on "eth1", [ipv4] for [a/ipv4]`,
			`a/ipv6: fe80::1%eth1 from fe80::2%eth1 on "eth1", [ipv6] for [a/ipv6]`,
		}},
		{"one gateway for both families (RFC 8950)", "bgp: {peer-as: 64501}}", sharedGateway, []string{
			`a/ipv4: fe80::1%eth1 from fe80::2%eth1 on "eth1", [ipv4 ipv6] for [a/ipv4 a/ipv6]`,
		}},
		{"no gateway learned yet", "bgp: {peer-as: 64501}}", nil, []string{
			`a/ipv4: invalid IP from invalid IP on "eth1", [ipv4] for [a/ipv4], not tried: no gateway is known on eth1`,
			`a/ipv6: invalid IP from invalid IP on "eth1", [ipv6] for [a/ipv6], not tried: no gateway is known on eth1`,
		}},
		{"a family that the host does not have", "bgp: {peer-as: 64501}}", func(t *testing.T) *netmon.Snapshot {
			t.Helper()
			return learned(hostOf(t, "eth1 2 203.0.113.2/24"), "eth1", "203.0.113.1")
		}, []string{`a/ipv4: 203.0.113.1 from 203.0.113.2 on "eth1", [ipv4] for [a/ipv4]`}},
		{"one session for both families", `gateway: [203.0.113.1, "2001:db8:1::1"], bgp: {peer: 203.0.113.9, families: [ipv4, ipv6], peer-as: 64501}}`, nil, []string{
			`a/ipv4: 203.0.113.9 from 203.0.113.2 on "eth1", [ipv4 ipv6] for [a/ipv4 a/ipv6]`,
		}},
		{"several hops away", `gateway: [203.0.113.1, "2001:db8:1::1"], bgp: {peer: ["192.0.2.99", "2001:db8:9::9"], multihop: 3, peer-as: 64501}}`, nil, []string{
			`a/ipv4: 192.0.2.99 from 203.0.113.2 on "", [ipv4] for [a/ipv4], 3 hops`,
			`a/ipv6: 2001:db8:9::9 from 2001:db8:1::2 on "", [ipv6] for [a/ipv6], 3 hops`,
		}},
		{"the other end of a point-to-point link", "bgp: {peer-as: 64501}}", func(t *testing.T) *netmon.Snapshot {
			t.Helper()
			return hostOf(t, "eth1 2 p2p 10.9.0.2/32peer=10.9.0.1")
		}, []string{`a/ipv4: 10.9.0.1 from 10.9.0.2 on "eth1", [ipv4] for [a/ipv4]`}},
		{"the interface is away", `gateway: [203.0.113.1], bgp: {peer: 203.0.113.1, peer-as: 64501}}`, func(t *testing.T) *netmon.Snapshot {
			t.Helper()
			return hostOf(t, hostB)
		}, []string{`a/ipv4: 203.0.113.1 from invalid IP on "eth1", [ipv4] for [a/ipv4], not tried: no source address for 203.0.113.1 on eth1`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			site := newSite(parseConfig(t, head+tt.uplink))
			s := hostOf(t, both)
			if tt.host != nil {
				s = tt.host(t)
			}
			views := map[uplink.Way]view{}
			for _, m := range site.members {
				views[m.Way] = site.look(m, s)
			}
			draws := func(m member) bool { return !m.optional || views[m.Way].present }
			if diff := cmp.Diff(tt.want, wishWords(site.peerWishes(views, s, draws, nil))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestPeerWishes_learned: there is no peer before the gateway is known, and it stays the
// same while its route or device is away for a moment.
func TestPeerWishes_learned(t *testing.T) {
	text := replaced(withBGP, "gateway: 203.0.113.1, ", "")
	b := newBench(t, text, hostOf(t, hostA, hostB))
	b.turn()
	if c, _ := b.voice().set(); len(c.Peers) != 0 {
		t.Errorf("told %+v", c.Peers)
	}
	if e := b.bgpSaid(wayA); e.Opinion != uplink.Down {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	b.host.see(learned(hostOf(t, hostA, hostB), "eth1", "203.0.113.1"))
	b.turn()
	b.allUp()
	before := b.told()
	if before.Address != addr("203.0.113.1") {
		t.Errorf("told %+v", before)
	}
	for _, host := range []*netmon.Snapshot{hostOf(t, hostA, hostB), hostOf(t, hostB), hostOf(t, "eth1 2 nocarrier", hostB)} {
		b.host.see(host)
		b.pass(time.Minute)
		if after := b.told(); after.Address != before.Address || after.Local != before.Local {
			t.Errorf("told %+v", after)
		}
	}
	b.host.see(learned(hostOf(t, hostA, hostB), "eth1", "203.0.113.9"))
	b.turn()
	if after := b.told(); after.Address != addr("203.0.113.9") {
		t.Errorf("another gateway, and told %+v", after)
	}
}

// TestB_SEC_06_Passwords: what a file may hold, and that nothing of it is in an error.
func TestB_SEC_06_Passwords(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		want bgp.Secret
		err  string
	}{
		"good":         {"s3cret word", 0o600, "s3cret word", ""},
		"newline":      {"s3cret\r\n", 0o400, "s3cret", ""},
		"longest":      {strings.Repeat("s", 80), 0o600, bgp.Secret(strings.Repeat("s", 80)), ""},
		"too-long":     {strings.Repeat("s", 81), 0o600, "", "81 characters"},
		"empty":        {"\n", 0o600, "", "no password in it"},
		"two-lines":    {"s3cret\nmore\n", 0o600, "", "more than one line"},
		"space-behind": {"s3cret \n", 0o600, "", "a space"},
		"octets":       {"s3cr\xffet", 0o600, "", "printable ASCII"},
		"readable":     {"s3cret", 0o644, "", "chmod 600"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := readPassword(file)
		if got != tt.want || (err == nil) != (tt.err == "") {
			t.Errorf("%s: %q, %v", name, string(got), err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cr") || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readPassword(dir); err == nil {
		t.Error("a directory was read")
	}
}

// TestB_SEC_11_PasswordMissing: without its password there is no session, a file that
// cannot be read any more ends none, and no log has it.
func TestB_SEC_11_PasswordMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	text := replaced(withBGP, "peer-as: 64501", "peer-as: 64501, password-file: "+file)
	b := newBench(t, text, hostOf(t, hostA, hostB))
	b.turn()
	if c, _ := b.voice().set(); len(c.Peers) != 0 {
		t.Fatalf("a session without its password: %+v", c.Peers)
	}
	if e := b.bgpSaid(wayA); e.Opinion != uplink.Down || !strings.Contains(e.Reason, "no session: read password file") || !strings.Contains(e.Reason, "SIGHUP") {
		t.Errorf("%s: %s", e.Opinion, e.Reason)
	}
	if w := wayOf(t, b.Status(), "a", "ipv4"); w.BGP == nil || w.BGP.State != "closed" || !strings.Contains(w.BGP.Trouble, file) {
		t.Errorf("the status says %+v", w.BGP)
	}
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.reload(text)
	if p := b.told(); p.Password != "s3cret" {
		t.Errorf("told %q", string(p.Password))
	}
	b.allUp()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.reload(text)
	if p := b.told(); p.Password != "s3cret" {
		t.Error("the session lost its password")
	}
	if w := strings.Join(b.Status().Warnings, "\n"); !strings.Contains(w, "the old password stays in use") || strings.Contains(w, "s3cret") || b.log.count("s3cret") != 0 {
		t.Errorf("warnings: %s", w)
	}
	if got := b.verdict("a", fib.IPv4); got != "live active" {
		t.Errorf("a is %s", got)
	}
}

// TestAddBGP: the status has what the speaker says, for each way that a session serves.
func TestAddBGP(t *testing.T) {
	b := newBench(t, replaced(withBGP, "peer-as: 64501", "peer-as: 64501, med: 3"), hostOf(t, hostA, hostB))
	if s := b.Status(); s.BGP == nil || s.BGP.AS != 64500 || s.BGP.Trouble == "" {
		t.Errorf("before the start: %+v", s.BGP)
	}
	b.turn()
	b.allUp()
	b.voice().say(func(s *speaker.Status) {
		s.BGP.Synced, s.BGP.Error = true, "port 179 is taken: is another BGP daemon running?"
		s.BGP.RPKI = []bgp.CacheStatus{{Address: "rpki:323", Up: true, Records: 5}}
		p := &s.BGP.Peers[0]
		p.RouterID, p.HoldTime, p.Restart, p.RestartTime, p.Flaps, p.LastError = addr("10.0.0.1"), 90*time.Second, true, time.Minute, 2, "hold timer"
		p.Families[0].Received, p.Families[0].Refused, p.Families[0].Announced = 3, map[bgp.Reason]int{bgp.NotAsked: 2, bgp.Bogon: 0}, 1
	})
	b.turn()
	s := b.Status()
	if g := s.BGP; !g.Speaking || g.PID != 101 || g.Starts != 1 || g.RouterID != "192.0.2.1" || !g.Synced || g.Prefixes != nil || len(g.RPKI) != 1 || !strings.Contains(g.Error, "179") {
		t.Errorf("the status says %+v", g)
	}
	if !strings.Contains(strings.Join(s.Warnings, "\n"), "bgp: port 179 is taken") {
		t.Errorf("warnings %q", s.Warnings)
	}
	w := wayOf(t, s, "a", "ipv4").BGP
	if w == nil {
		t.Fatal("no session in the status")
	}
	med := uint32(3)
	if w.Session != "a/ipv4" || w.Peer != "203.0.113.1" || w.Local != "203.0.113.2" || w.PeerAS != 64501 || w.LocalAS != 64500 || w.Import != "default" ||
		w.State != "established" || w.Flaps != 2 || w.LastError != "hold timer" || w.RouterID != "10.0.0.1" || w.HoldTime != 90 || !w.Restart || w.RestartTime != 60 {
		t.Errorf("the session is %+v", w)
	}
	if w.Received != 3 || w.Accepted != 1 || !cmp.Equal(w.Refused, map[string]int{"not-asked": 2}) || w.Default != "accepted" || w.Announced != 1 ||
		len(w.Announces) != 1 || w.Announces[0].Prefix != "192.0.2.0/24" || *w.Announces[0].MED != med || w.MaxPrefixes == 0 || !w.Synced || !w.Negotiated {
		t.Errorf("the family is %+v", w)
	}
	if wayOf(t, s, "b", "ipv4").BGP != nil {
		t.Error("b has a session")
	}
}
