package interop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/lab"
)

// frr is FRR's bgpd, with zebra, which tells it of interfaces.
type frr struct {
	dir   string
	user  *syscall.Credential
	zebra *process
	terms terms
}

func newFRR(t *testing.T) daemon {
	t.Helper()
	f := &frr{dir: directory(t)}
	var err error
	f.user, err = frrUser()
	must(t, err, os.Chown(f.dir, int(f.user.Uid), int(f.user.Gid)))
	return f
}

func (f *frr) name() string { return "FRR" }

// frrUser is who FRR's daemons are. They would give up root by themselves, but a
// process that changes its user is no longer killed when the test program dies
// (prctl(2), PR_SET_PDEATHSIG). So they begin as who they want to be.
func frrUser() (*syscall.Credential, error) {
	u, err := user.Lookup("frr")
	if err != nil {
		return nil, fmt.Errorf("find the user of FRR: %w", err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("find the groups of user %s: %w", u.Username, err)
	}
	var ids []uint32
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, uint32(id))
	}
	return &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}, nil
}

// frrCapabilities are those that zebra and bgpd ask for, and SETGID, because they
// set their groups even if those are right.
var frrCapabilities = []uintptr{
	unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_ADMIN, unix.CAP_IPC_LOCK, unix.CAP_SETGID,
}

func (f *frr) file(name string) string { return filepath.Join(f.dir, name) }

// start starts bgpd or zebra with a configuration.
func (f *frr) start(t *testing.T, h *lab.Host, program, config string) *process {
	t.Helper()
	name := filepath.Base(program)
	write(t, f.file(name+".conf"), config)
	must(t, os.Chown(f.file(name+".conf"), int(f.user.Uid), int(f.user.Gid)))
	cmd := exec.Command(program,
		"-f", f.file(name+".conf"), "-i", f.file(name+".pid"), "--vty_socket", f.dir, "-z", f.file("zserv.api"),
		"--log", "stdout", "--log-level", "debugging", "-P", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: f.user, AmbientCaps: frrCapabilities}
	return start(t, h, f.dir, cmd)
}

func (f *frr) launch(t *testing.T, h *lab.Host, w terms, _ bool) *process {
	t.Helper()
	if f.zebra == nil {
		f.zebra = f.start(t, h, zebraPath, "")
		eventually(t, "zebra listens", func() error {
			if f.zebra.hasEnded() {
				t.Fatalf("zebra ended: %s", f.zebra.tail(20))
			}
			_, err := os.Stat(f.file("zserv.api"))
			return err
		})
	}
	f.terms = w
	text := "debug bgp neighbor-events\ndebug bgp graceful-restart\ndebug bgp updates in\ndebug bgp keepalives\n"
	for _, s := range frrConfig(w) {
		text += strings.Join(frrIn(s.contexts, s.lines), "\n") + "\n"
	}
	return f.start(t, h, bgpdPath, text)
}

// apply takes back what is not to be any more, and adds the rest.
func (f *frr) apply(t *testing.T, w terms) {
	t.Helper()
	was, is := frrConfig(f.terms), frrConfig(w)
	commands := append(frrTakesBack(was, is), frrAdds(was, is)...)
	f.terms = w
	if len(commands) > 0 {
		f.configure(t, commands...)
	}
}

func (f *frr) configure(t *testing.T, commands ...string) {
	t.Helper()
	_, err := f.ask(append([]string{"configure terminal"}, commands...)...)
	must(t, err)
}

func (f *frr) ask(commands ...string) (string, error) {
	args := []string{"--vty_socket", f.dir, "-d", "bgpd"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return run(vtyshPath, args...)
}

// frrNeighbour is a part of what FRR prints of a neighbour in JSON.
type frrNeighbour struct {
	State        string `json:"bgpState"`
	HoldTime     int    `json:"bgpTimerHoldTimeMsecs"`
	Keepalive    int    `json:"bgpTimerKeepAliveIntervalMsecs"`
	Reset        string `json:"lastResetDueTo"`
	ErrorCode    string `json:"lastErrorCodeSubcode"`
	Notification string `json:"lastNotificationReason"`
	Shutdown     string `json:"lastShutdownDescription"`
	Restart      struct {
		LocalMode   string           `json:"localGrMode"`
		RemoteMode  string           `json:"remoteGrMode"`
		RBit        bool             `json:"rBit"`
		NBit        bool             `json:"nBit"`
		IPv4Unicast frrRestartFamily `json:"ipv4Unicast"`
		IPv6Unicast frrRestartFamily `json:"ipv6Unicast"`
	} `json:"gracefulRestartInfo"`
	Received struct {
		RouteRefresh int `json:"routeRefreshRecv"`
	} `json:"messageStats"`
}

type frrRestartFamily struct {
	FBit bool `json:"fBit"`
}

func (f *frr) neighbour(p path) (frrNeighbour, error) {
	out, err := f.ask(fmt.Sprintf("show bgp neighbors %s json", p.us))
	if err != nil {
		return frrNeighbour{}, err
	}
	byAddress := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(out), &byAddress); err != nil {
		return frrNeighbour{}, fmt.Errorf("read neighbour of FRR: %w in %s", err, out)
	}
	var n frrNeighbour
	if err := json.Unmarshal(byAddress[p.us.String()], &n); err != nil {
		return n, fmt.Errorf("read neighbour of FRR: %w in %s", err, out)
	}
	return n, nil
}

func (f *frr) state(p path) (string, bool, error) {
	n, err := f.neighbour(p)
	return n.State, n.State == "Established", err
}

// frrPath is a part of what FRR prints of a path.
type frrPath struct {
	Path   string  `json:"path"`
	Metric *uint32 `json:"metric"`
	Stale  bool    `json:"stale"`
	ASPath struct {
		String string `json:"string"`
	} `json:"aspath"`
	Community struct {
		String string `json:"string"`
	} `json:"community"`
	MED      *uint32 `json:"med"`
	NextHops []struct {
		IP string `json:"ip"`
	} `json:"nexthops"`
	Peer struct {
		ID string `json:"peerId"`
	} `json:"peer"`
}

func (f *frr) learned(p path, family bgp.Family) (map[netip.Prefix]seen, error) {
	list := fmt.Sprintf("show bgp %s unicast", family)
	out, err := f.ask(fmt.Sprintf("%s neighbors %s routes json", list, p.us))
	if err != nil {
		return nil, err
	}
	var all struct {
		Routes map[netip.Prefix]json.RawMessage `json:"routes"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("read routes of FRR: %w in %s", err, out)
	}
	found := map[netip.Prefix]seen{}
	for prefix := range all.Routes {
		if len(all.Routes) > 10 {
			// Nobody wants to know that much.
			found[prefix] = seen{}
			continue
		}
		out, err := f.ask(fmt.Sprintf("%s %s json", list, prefix))
		if err != nil {
			return nil, err
		}
		var detail struct {
			Paths []frrPath `json:"paths"`
		}
		if err := json.Unmarshal([]byte(out), &detail); err != nil {
			return nil, fmt.Errorf("read route of FRR: %w in %s", err, out)
		}
		for _, x := range detail.Paths {
			if x.Peer.ID == p.us.String() {
				found[prefix] = x.seen()
			}
		}
	}
	return found, nil
}

func (x frrPath) seen() seen {
	s := seen{asPath: x.ASPath.String, stale: x.Stale, communities: strings.Fields(x.Community.String)}
	for i, c := range s.communities {
		if c == "graceful-shutdown" {
			s.communities[i] = "65535:0"
		}
	}
	if x.Metric != nil {
		s.med = strconv.FormatUint(uint64(*x.Metric), 10)
	}
	if len(x.NextHops) > 0 {
		s.nextHop, _ = netip.ParseAddr(x.NextHops[0].IP)
	}
	return s
}

// frrSection is a part of FRR's configuration, with what leads into it.
type frrSection struct {
	contexts, lines []string
}

func lines(sections []frrSection, contexts []string) []string {
	for _, s := range sections {
		if slices.Equal(s.contexts, contexts) {
			return s.lines
		}
	}
	return nil
}

// frrConfig is the configuration of bgpd.
func frrConfig(w terms) []frrSection {
	router := fmt.Sprintf("router bgp %d", w.as)
	sections := frrRouteMaps(w)
	global := frrSection{contexts: []string{router}, lines: []string{
		"bgp router-id 10.9.9.9", "no bgp ebgp-requires-policy", "no bgp default ipv4-unicast", "no bgp network import-check",
	}}
	if w.graceful {
		global.lines = append(global.lines, "bgp graceful-restart", "bgp graceful-restart preserve-fw-state",
			fmt.Sprintf("bgp graceful-restart restart-time %d", int(w.restartTime.Seconds())), "bgp graceful-restart select-defer-time 10")
	} else {
		global.lines = append(global.lines, "bgp graceful-restart-disable")
	}
	for _, p := range w.paths {
		global.lines = append(global.lines, frrNeighbourLines(w, p)...)
	}
	sections = append(sections, global)
	for _, f := range bgp.Families {
		s := frrSection{contexts: []string{router, fmt.Sprintf("address-family %s unicast", f)}}
		for _, p := range w.paths {
			if !slices.Contains(p.families, f) {
				continue
			}
			s.lines = append(s.lines, fmt.Sprintf("neighbor %s activate", p.us), fmt.Sprintf("neighbor %s route-map out out", p.us))
			if w.refuse {
				s.lines = append(s.lines, fmt.Sprintf("neighbor %s route-map nothing in", p.us))
			}
			if w.limit > 0 {
				s.lines = append(s.lines, fmt.Sprintf("neighbor %s maximum-prefix %d", p.us, w.limit))
			}
		}
		for _, r := range w.announce {
			if familyOf(r.prefix) == f {
				s.lines = append(s.lines, "network "+r.prefix.String())
			}
		}
		sections = append(sections, s)
	}
	return sections
}

func frrNeighbourLines(w terms, p path) []string {
	var list []string
	line := func(on bool, format string, a ...any) {
		if on {
			list = append(list, fmt.Sprintf("neighbor %s ", p.us)+fmt.Sprintf(format, a...))
		}
	}
	hold := int(w.hold.Seconds())
	line(true, "remote-as %d", w.usAS)
	line(p.us.IsLinkLocalUnicast(), "interface %s", device)
	line(true, "timers %d %d", max(1, hold/3), hold)
	line(true, "timers connect 1")
	line(w.password != "", "password %s", w.password)
	line(w.ttl, "ttl-security hops 1")
	line(w.hops > 1, "ebgp-multihop %d", w.hops)
	line(w.passive, "passive")
	line(w.shut != "", "shutdown message %s", w.shut)
	line(w.nextHop6, "capability extended-nexthop")
	line(w.extended, "capability extended-messages")
	return list
}

// frrRouteMaps give the announcements their attributes.
func frrRouteMaps(w terms) []frrSection {
	// FRR would tell us our own prefixes.
	lists := frrSection{lines: []string{"bgp as-path access-list own permit ^$"}}
	var sections []frrSection
	for i, r := range w.announce {
		if len(r.communities) == 0 && r.med == 0 && r.prepend == 0 && r.bandwidth == 0 {
			continue
		}
		word := "ip"
		if familyOf(r.prefix) == bgp.IPv6 {
			word = "ipv6"
		}
		name := strings.NewReplacer("/", "-", ":", "_").Replace(r.prefix.String())
		lists.lines = append(lists.lines, fmt.Sprintf("%s prefix-list %s seq 5 permit %s", word, name, r.prefix))
		s := frrSection{contexts: []string{fmt.Sprintf("route-map out permit %d", i+1)}}
		s.lines = append(s.lines, fmt.Sprintf("match %s address prefix-list %s", word, name))
		if len(r.communities) > 0 {
			s.lines = append(s.lines, "set community "+strings.Join(r.communities, " "))
		}
		if r.med != 0 {
			s.lines = append(s.lines, fmt.Sprintf("set metric %d", r.med))
		}
		if r.prepend > 0 {
			s.lines = append(s.lines, "set as-path prepend"+strings.Repeat(fmt.Sprintf(" %d", w.as), r.prepend))
		}
		if r.bandwidth > 0 {
			// In Mbit/s. The non-transitive form does not leave the AS.
			s.lines = append(s.lines, fmt.Sprintf("set extcommunity bandwidth %d", int(r.bandwidth*8/1e6)))
		}
		sections = append(sections, s)
	}
	last := frrSection{contexts: []string{"route-map out permit 65000"}, lines: []string{"match as-path own"}}
	nothing := frrSection{contexts: []string{"route-map nothing deny 1"}, lines: []string{"description nothing"}}
	return append([]frrSection{lists, nothing}, append(sections, last)...)
}

// frrTakesBack are the commands that take back what is in a and not in b. A part of a
// route map goes as a whole; lists stay, and do no harm.
func frrTakesBack(a, b []frrSection) []string {
	var commands []string
	for _, s := range a {
		known := lines(b, s.contexts)
		var changed []string
		for _, line := range s.lines {
			if !slices.Contains(known, line) {
				changed = append(changed, "no "+line)
			}
		}
		switch {
		case len(changed) == 0 || len(s.contexts) == 0:
		case strings.HasPrefix(s.contexts[0], "route-map"):
			commands = append(commands, "no "+s.contexts[0])
		default:
			commands = append(commands, frrIn(s.contexts, changed)...)
		}
	}
	return commands
}

// frrAdds are the commands that add what is in b and not in a, and all of each route
// map.
func frrAdds(a, b []frrSection) []string {
	var commands []string
	for _, s := range b {
		known := lines(a, s.contexts)
		wholly := len(s.contexts) > 0 && strings.HasPrefix(s.contexts[0], "route-map")
		fresh := slices.DeleteFunc(slices.Clone(s.lines), func(line string) bool { return !wholly && slices.Contains(known, line) })
		if len(fresh) > 0 {
			commands = append(commands, frrIn(s.contexts, fresh)...)
		}
	}
	return commands
}

// frrIn are commands within contexts.
func frrIn(contexts, commands []string) []string {
	return slices.Concat(contexts, commands, slices.Repeat([]string{"exit"}, len(contexts)))
}
