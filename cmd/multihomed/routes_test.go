package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/internal/status"
)

// answering serves a status with two uplinks, and whatever else the options say, until
// the end of the test. It returns the socket.
func answering(t *testing.T, options ...status.Option) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mh") //nolint:usetesting // the path of t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	way := status.Way{Family: "ipv4", Verdict: "live", Role: "active"}
	only6 := status.Way{Family: "ipv6", Verdict: "live", Role: "active"}
	doc := status.Status{Uplinks: []status.Uplink{{Name: "fiber", Ways: []status.Way{way, only6}}, {Name: "dsl", Ways: []status.Way{way}}}}
	socket := filepath.Join(dir, "s.sock")
	s, err := status.NewServer(socket, func() status.Status { return doc }, slog.New(slog.DiscardHandler), options...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// line is one command line and what is to come of it.
type line struct {
	args           []string
	code           int
	stdout, stderr string
}

func (l line) check(t *testing.T) {
	t.Helper()
	code, stdout, stderr := runHere(t, l.args...)
	if code != l.code || !strings.Contains(stdout, l.stdout) || !strings.Contains(stderr, l.stderr) {
		t.Errorf("multihomed %q: exit code %d, stdout %q, stderr %q; want %d with %q and %q", l.args, code, stdout, stderr, l.code, l.stdout, l.stderr)
	}
	if l.code == exitOK && l.stderr == "" && stderr != "" {
		t.Errorf("multihomed %q succeeds and complains: %s", l.args, stderr)
	}
}

func TestRoutes_command(t *testing.T) {
	var asked []status.RouteQuery
	path := status.Path{Uplink: "fiber", NextHop: "203.0.113.1", ASPath: "64501 64512", Origin: "igp", Rank: "first", Used: true, Why: "first: nobody else offers it"}
	socket := answering(t, status.WithRoutes(func(_ context.Context, q status.RouteQuery) ([]status.Route, error) {
		asked = append(asked, q)
		switch {
		case q.Prefix == netip.MustParsePrefix("10.0.0.0/8"):
			return nil, fmt.Errorf("%w: it is started again in 8s", status.ErrNotSpeaking)
		case q.Prefix.Addr().Is6():
			return nil, nil
		}
		return []status.Route{{Prefix: "192.0.2.0/24", Paths: []status.Path{path}}, {Prefix: "192.0.2.128/25"}}, nil
	}))
	silent := answering(t)
	for _, l := range []line{
		{[]string{"routes", "192.0.2.1", "--socket", socket}, exitOK, "* first  fiber  via 203.0.113.1  path 64501 64512 i", ""},
		{[]string{"routes", "192.0.2.0/24", "--longer", "--limit", "1", "-s", socket}, exitOK, "there are more; name a prefix, or ask for more with --limit", ""},
		{[]string{"routes", "-s", socket, "-o", "json"}, exitOK, `"why": "first: nobody else offers it"`, ""},
		{[]string{"routes", "2001:db8::/32", "-s", socket}, exitOK, "no path is known, neither of this prefix nor of one that covers it", ""},
		{[]string{"routes", "10.0.0.0/8", "-s", socket}, exitFailure, "", "nobody speaks BGP: it is started again in 8s; see `multihomed status`"},
		{[]string{"routes", "-s", silent}, exitFailure, "", "paths come from BGP"},
		{[]string{"routes", "fiber", "-s", socket}, exitUsage, "", `"fiber" is neither a prefix nor an address`},
		{[]string{"routes", "a", "b"}, exitUsage, "", "accepts at most 1 arg"},
		{[]string{"routes", "--limit", "0", "-s", socket}, exitUsage, "", "limit 0: write 1 to 10000"},
		{[]string{"routes", "-o", "xml", "-s", socket}, exitUsage, "", "use text or json"},
		{[]string{"routes", "-s", socket + ".none"}, exitNoDaemon, "", "is it running?"},
		{[]string{"routes", "--help"}, exitOK, "multihomed routes 192.0.2.1", ""},
	} {
		l.check(t)
	}
	want := []status.RouteQuery{
		{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Limit: status.DefaultRoutes + 1}, {Prefix: netip.MustParsePrefix("192.0.2.0/24"), Longer: true, Limit: 2},
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Longer: true, Limit: status.DefaultRoutes + 1},
		{Prefix: netip.MustParsePrefix("::/0"), Longer: true, Limit: status.DefaultRoutes - 1},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Limit: status.DefaultRoutes + 1}, {Prefix: netip.MustParsePrefix("10.0.0.0/8"), Limit: status.DefaultRoutes + 1},
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

func TestDrain_command(t *testing.T) {
	var told []string
	socket := answering(t, status.WithDrainer(status.Drainer{
		Drain: func(_ context.Context, uplink, family string, d time.Duration) ([]string, error) {
			told = append(told, fmt.Sprintf("drain %s %q %v", uplink, family, d))
			return []string{"a restart forgets it"}, nil
		},
		Undrain: func(_ context.Context, uplink, family string) ([]string, error) {
			told = append(told, fmt.Sprintf("undrain %s %q", uplink, family))
			return nil, nil
		},
	}))
	for _, l := range []line{
		{[]string{"drain", "dsl", "--socket", socket}, exitOK, "dsl/ipv4: drained\n", "warning: a restart forgets it"},
		{[]string{"drain", "DSL", "--for", "2h", "-s", socket}, exitOK, "dsl/ipv4: drained until 2", "warning: "},
		{[]string{"drain", "fiber", "-s", socket}, exitFailure, "", "no other uplink is live and could take over the ipv6 traffic of fiber; wait for another one, or force it (--force)"},
		{[]string{"drain", "fiber", "--family", "ipv4", "-s", socket}, exitOK, "fiber/ipv4: drained", "warning: "},
		{[]string{"drain", "fiber", "--force", "-s", socket}, exitOK, "fiber/ipv4, fiber/ipv6: drained", "warning: "},
		{[]string{"undrain", "fiber", "-s", socket}, exitOK, "fiber/ipv4, fiber/ipv6: undrained", ""},
		{[]string{"drain", "fibre", "-s", socket}, exitUsage, "", `no uplink is named "fibre"; there are fiber, dsl`},
		{[]string{"undrain", "fibre", "-s", socket}, exitUsage, "", `no uplink is named "fibre"`},
		{[]string{"drain", "dsl", "--family", "ipv6", "-s", socket}, exitUsage, "", "uplink dsl has no ipv6"},
		{[]string{"drain", "dsl", "--family", "inet", "-s", socket}, exitUsage, "", `family "inet": use ipv4 or ipv6`},
		{[]string{"drain", "dsl", "--for", "0s", "-s", socket}, exitUsage, "", "--for 0s: write 1s or more"},
		{[]string{"drain", "dsl", "--for", "2 hours", "-s", socket}, exitUsage, "", "invalid"},
		{[]string{"drain", "-s", socket}, exitUsage, "", "name one uplink"},
		{[]string{"drain", "dsl", "fiber", "-s", socket}, exitUsage, "", "name one uplink"},
		{[]string{"undrain", "dsl", "--force", "-s", socket}, exitUsage, "", "unknown flag"},
		{[]string{"drain", "dsl", "-s", socket + ".none"}, exitNoDaemon, "", "is it running?"},
		{[]string{"undrain", "dsl", "-s", socket + ".none"}, exitNoDaemon, "", "is it running?"},
		{[]string{"drain", "dsl", "-s", answering(t)}, exitFailure, "", "takes no drains"},
		{[]string{"drain", "--help"}, exitOK, "multihomed drain fiber --for 2h", ""},
		{[]string{"undrain", "--help"}, exitOK, "multihomed undrain fiber --family ipv6", ""},
	} {
		l.check(t)
	}
	want := []string{`drain dsl "" 0s`, `drain dsl "" 2h0m0s`, `drain fiber "ipv4" 0s`, `drain fiber "" 0s`, `undrain fiber ""`}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("the daemon was told (-want +got):\n%s", diff)
	}
}

// The names of uplinks complete from the daemon, and without one from the file.
func TestCompletion(t *testing.T) {
	socket := answering(t)
	for _, command := range []string{"drain", "undrain"} {
		line{[]string{cobra.ShellCompNoDescRequestCmd, command, "--socket", socket, ""}, exitOK, "fiber\ndsl\n:4", ""}.complete(t)
		line{[]string{cobra.ShellCompNoDescRequestCmd, command, "--socket", socket, "fiber", ""}, exitOK, ":4", ""}.complete(t)
	}
	line{[]string{cobra.ShellCompNoDescRequestCmd, "drain", "--family", ""}, exitOK, "ipv4\nipv6\n:4", ""}.complete(t)
	line{[]string{cobra.ShellCompNoDescRequestCmd, "routes", "-o", ""}, exitOK, "text\njson\n:4", ""}.complete(t)
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte("uplinks: [{name: a, interface: eth1}, {name: b, interface: eth2}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := uplinkNames(t.Context(), socket+".none", file); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("from the file: %q", got)
	}
	if got := uplinkNames(t.Context(), socket+".none", file+".none"); len(got) > 0 {
		t.Errorf("from nowhere: %q", got)
	}
}

// complete checks what a shell would be offered.
func (l line) complete(t *testing.T) {
	t.Helper()
	code, stdout, _ := runHere(t, l.args...)
	if code != l.code || !strings.HasPrefix(stdout, l.stdout) {
		t.Errorf("%q: exit code %d, %q; want %q", l.args, code, stdout, l.stdout)
	}
}
