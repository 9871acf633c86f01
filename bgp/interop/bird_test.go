package interop

import (
	"fmt"
	"math"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/lab"
)

// bird is BIRD 2.
type bird struct{ dir string }

func newBird(t *testing.T) daemon {
	t.Helper()
	return &bird{dir: directory(t)}
}

func (b *bird) name() string { return "BIRD" }

func (b *bird) file(name string) string { return filepath.Join(b.dir, name) }

func (b *bird) launch(t *testing.T, h *lab.Host, w terms, again bool) *process {
	t.Helper()
	write(t, b.file("bird.conf"), birdConfig(w))
	args := []string{"-f", "-c", b.file("bird.conf"), "-s", b.file("ctl"), "-P", b.file("pid")}
	if again {
		args = append(args, "-R")
	}
	return start(t, h, b.dir, exec.Command(birdPath, args...))
}

func (b *bird) apply(t *testing.T, w terms) {
	t.Helper()
	write(t, b.file("bird.conf"), birdConfig(w))
	if out := b.ask(t, "configure"); !strings.Contains(out, "Reconfigured") && !strings.Contains(out, "Reconfiguration in progress") {
		t.Fatalf("birdc configure: %s", out)
	}
}

func (b *bird) ask(t *testing.T, words ...string) string {
	t.Helper()
	out, err := run(birdcPath, append([]string{"-s", b.file("ctl")}, words...)...)
	must(t, err)
	return out
}

// show is all that BIRD says of a session.
func (b *bird) show(p path) (string, error) {
	return run(birdcPath, "-s", b.file("ctl"), "show", "protocols", "all", birdName(p))
}

func (b *bird) state(p path) (string, bool, error) {
	out, err := b.show(p)
	if err != nil {
		return "", false, err
	}
	state := after(out, "BGP state:")
	return state, state == "Established", nil
}

// after is what follows a word on its line.
func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

func (b *bird) learned(p path, f bgp.Family) (map[netip.Prefix]seen, error) {
	out, err := run(birdcPath, "-s", b.file("ctl"), "show", "route", "all", "table", "master"+number(f), "protocol", birdName(p))
	if err != nil {
		return nil, err
	}
	// Stale routes are marked by nothing, but the session tells that it keeps some.
	about, err := b.show(p)
	if err != nil {
		return nil, err
	}
	found := parseBird(out)
	for prefix, s := range found {
		s.stale = strings.Contains(about, "Neighbor graceful restart active")
		found[prefix] = s
	}
	return found, nil
}

// parseBird reads `show route all` of one session:
//
//	193.0.0.0/21         unreachable [IPv4 03:41:07.551] * (100) [AS205001i]
//		BGP.as_path: 205001
//		BGP.next_hop: 192.0.2.1
//
// Further paths of the same prefix begin with blanks.
func parseBird(out string) map[netip.Prefix]seen {
	found := map[netip.Prefix]seen{}
	var at netip.Prefix
	for line := range strings.Lines(out) {
		word, _, _ := strings.Cut(line, " ")
		if p, err := netip.ParsePrefix(word); err == nil {
			at = p
			found[at] = seen{}
		}
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !at.IsValid() {
			continue
		}
		s := found[at]
		switch key {
		case "BGP.as_path":
			s.asPath = value
		case "BGP.med":
			s.med = value
		case "BGP.next_hop":
			// A link-local one may follow.
			first, _, _ := strings.Cut(value, " ")
			s.nextHop, _ = netip.ParseAddr(first)
		case "BGP.community":
			for _, c := range strings.Fields(value) {
				s.communities = append(s.communities, strings.ReplaceAll(strings.Trim(c, "()"), ",", ":"))
			}
		}
		found[at] = s
	}
	return found
}

// birdName is the name of a session.
func birdName(p path) string { return strings.NewReplacer("-", "_", " ", "_").Replace(p.name) }

// number is what a family is called in names.
func number(f bgp.Family) string {
	if f == bgp.IPv4 {
		return "4"
	}
	return "6"
}

// birdConfig is the whole configuration file.
func birdConfig(w terms) string {
	var b strings.Builder
	b.WriteString("log stderr all;\ndebug protocols { states, events };\nrouter id 10.9.9.9;\nprotocol device { }\n")
	for _, f := range bgp.Families {
		fmt.Fprintf(&b, "protocol static own%s {\n\t%s;\n", number(f), f)
		for _, r := range w.announce {
			if familyOf(r.prefix) == f {
				fmt.Fprintf(&b, "\troute %s blackhole;\n", r.prefix)
			}
		}
		b.WriteString("}\n")
	}
	// BIRD sends MED to another AS only if the export filter sets it.
	b.WriteString("filter to_us {\n\tif proto != \"own4\" && proto != \"own6\" then reject;\n")
	for _, r := range w.announce {
		if attributes := birdAttributes(w, r); attributes != "" {
			fmt.Fprintf(&b, "\tif net = %s then {%s }\n", r.prefix, attributes)
		}
	}
	b.WriteString("\taccept;\n}\n")
	for _, p := range w.paths {
		birdSession(&b, w, p)
	}
	return b.String()
}

func birdSession(b *strings.Builder, w terms, p path) {
	line := func(on bool, format string, a ...any) {
		if on {
			fmt.Fprintf(b, "\t"+format+";\n", a...)
		}
	}
	us := p.us.String()
	if p.us.IsLinkLocalUnicast() {
		us += "%" + device
	}
	fmt.Fprintf(b, "protocol bgp %s {\n", birdName(p))
	line(true, "local %s as %d", p.far, w.as)
	line(true, "neighbor %s as %d", us, w.usAS)
	line(true, "hold time %d", int(w.hold.Seconds()))
	line(true, "connect delay time 1")
	line(true, "connect retry time 2")
	line(true, "error wait time 1, 2")
	line(w.password != "", "password %q", w.password)
	line(w.ttl, "ttl security on")
	line(w.hops > 1, "multihop %d", w.hops)
	line(w.passive, "passive on")
	line(w.extended, "enable extended messages on")
	line(w.shut != "", "disabled")
	if w.graceful {
		line(true, "graceful restart on")
		line(true, "graceful restart time %d", int(w.restartTime.Seconds()))
	} else {
		line(true, "graceful restart off")
	}
	for _, f := range p.families {
		imports := "all"
		if w.refuse {
			imports = "none"
		}
		fmt.Fprintf(b, "\t%s {\n\t\timport %s;\n\t\texport filter to_us;\n", f, imports)
		if w.limit > 0 {
			fmt.Fprintf(b, "\t\timport limit %d action disable;\n", w.limit)
		}
		if w.nextHop6 {
			b.WriteString("\t\textended next hop on;\n")
		}
		b.WriteString("\t};\n")
	}
	b.WriteString("}\n")
}

// birdAttributes are statements of a filter.
func birdAttributes(w terms, r route) string {
	var b strings.Builder
	for _, c := range r.communities {
		fmt.Fprintf(&b, " bgp_community.add((%s));", strings.ReplaceAll(c, ":", ","))
	}
	if r.med != 0 {
		fmt.Fprintf(&b, " bgp_med = %d;", r.med)
	}
	for range r.prepend {
		fmt.Fprintf(&b, " bgp_path.prepend(%d);", w.as)
	}
	if r.bandwidth != 0 {
		// Link Bandwidth of AS_TRANS, a float of 32 bits. BIRD takes the form that is not
		// transitive off what it sends to another AS.
		fmt.Fprintf(&b, " bgp_ext_community.add((generic, 0x%x, 0x%x));", 0x00040000+23456, math.Float32bits(float32(r.bandwidth)))
	}
	return b.String()
}
