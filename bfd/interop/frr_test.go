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
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/lab"
)

// frr is FRR's bfdd, with zebra, which tells it of interfaces: without it, sessions
// of an interface never begin.
type frr struct {
	dir   string
	user  *syscall.Credential
	zebra *process
}

func newFRR(t *testing.T) daemon {
	t.Helper()
	f := &frr{dir: directory(t)}
	var err error
	f.user, err = frrUser()
	must(t, err, os.Chown(f.dir, int(f.user.Uid), int(f.user.Gid)))
	return f
}

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

// frrCapabilities are those that zebra and bfdd ask for, and SETGID, because they
// set their groups even if those are right.
var frrCapabilities = []uintptr{
	unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_ADMIN, unix.CAP_IPC_LOCK, unix.CAP_SETGID,
}

// start starts bfdd or zebra with a configuration.
func (f *frr) start(t *testing.T, h *lab.Host, program, config string, more ...string) *process {
	t.Helper()
	name := filepath.Base(program)
	write(t, f.file(name+".conf"), config)
	must(t, os.Chown(f.file(name+".conf"), int(f.user.Uid), int(f.user.Gid)))
	args := []string{
		"-f", f.file(name + ".conf"), "-i", f.file(name + ".pid"), "--vty_socket", f.dir, "-z", f.file("zserv.api"),
		"--log", "stdout", "--log-level", "debugging", "-P", "0",
	}
	cmd := exec.Command(program, append(args, more...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: f.user, AmbientCaps: frrCapabilities}
	return start(t, h, f.dir, cmd)
}

func (f *frr) file(name string) string { return filepath.Join(f.dir, name) }

func (f *frr) launch(t *testing.T, h *lab.Host, with terms) *process {
	t.Helper()
	if f.zebra == nil {
		f.zebra = f.start(t, h, zebraPath, "")
		// A bfdd that finds no zebra tries again only after ten seconds.
		eventually(t, "zebra listens", func() error {
			if f.zebra.hasEnded() {
				t.Fatalf("zebra ended: %s", f.zebra.tail(20))
			}
			_, err := os.Stat(f.file("zserv.api"))
			return err
		})
	}
	text := "debug bfd peer\nbfd\n"
	for _, p := range allPaths {
		for _, line := range frrPeer(p, with) {
			text += line + "\n"
		}
	}
	return f.start(t, h, bfddPath, text, "--bfdctl", f.file("bfdd.sock"))
}

func (f *frr) apply(t *testing.T, with terms) {
	t.Helper()
	f.configure(t, func(p path) []string { return frrPeer(p, with) })
}

func (f *frr) disable(t *testing.T, on bool) {
	t.Helper()
	word := "no shutdown"
	if on {
		word = "shutdown"
	}
	f.configure(t, func(p path) []string { return []string{frrName(p), word, "exit"} })
}

// configure gives lines for each path to the running daemon.
func (f *frr) configure(t *testing.T, lines func(path) []string) {
	t.Helper()
	commands := []string{"configure terminal", "bfd"}
	for _, p := range allPaths {
		commands = append(commands, lines(p)...)
	}
	if _, err := f.ask(commands...); err != nil {
		t.Fatal(err)
	}
}

func (f *frr) ask(commands ...string) (string, error) {
	args := []string{"--vty_socket", f.dir, "-d", "bfdd"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return run(vtyshPath, args...)
}

// frrSession is a part of what `show bfd peers json` prints. Intervals are in
// milliseconds.
type frrSession struct {
	Peer             netip.Addr `json:"peer"`
	Status           string     `json:"status"`
	Diagnostic       string     `json:"diagnostic"`
	RemoteDiagnostic string     `json:"remote-diagnostic"`
	Receive          int        `json:"receive-interval"`
	Transmit         int        `json:"transmit-interval"`
	RemoteReceive    int        `json:"remote-receive-interval"`
	RemoteTransmit   int        `json:"remote-transmit-interval"`
	RemoteEcho       int        `json:"remote-echo-receive-interval"`
	RemoteMultiplier int        `json:"remote-detect-multiplier"`
	Passive          bool       `json:"passive-mode"`
}

// sessions by the address of our end.
func (f *frr) sessions() (map[netip.Addr]frrSession, error) {
	out, err := f.ask("show bfd peers json")
	if err != nil {
		return nil, err
	}
	return parseFRR(out)
}

func parseFRR(out string) (map[netip.Addr]frrSession, error) {
	var list []frrSession
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read sessions of FRR: %w in %s", err, out)
	}
	sessions := map[netip.Addr]frrSession{}
	for _, s := range list {
		sessions[s.Peer] = s
	}
	return sessions, nil
}

func (f *frr) views() (map[netip.Addr]view, error) {
	sessions, err := f.sessions()
	if err != nil {
		return nil, err
	}
	views := map[netip.Addr]view{}
	for a, s := range sessions {
		v := view{
			interval: time.Duration(max(s.Transmit, s.RemoteReceive)) * time.Millisecond,
			timeout:  time.Duration(s.RemoteMultiplier*max(s.Receive, s.RemoteTransmit)) * time.Millisecond,
		}
		if v.state, err = frrState(s.Status); err != nil {
			return nil, err
		}
		views[a] = v
	}
	return views, nil
}

func frrState(word string) (bfd.State, error) {
	states := []string{bfd.AdminDown: "shutdown", bfd.Down: "down", bfd.Init: "init", bfd.Up: "up"}
	i := slices.Index(states, word)
	if i < 0 {
		return bfd.AdminDown, fmt.Errorf("status %q of FRR: unknown", word)
	}
	return bfd.State(i), nil
}

// counter is a number of `show bfd peers counters json`, by the address of our end.
func (f *frr) counter(name string) (map[netip.Addr]int, error) {
	out, err := f.ask("show bfd peers counters json")
	if err != nil {
		return nil, err
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read counters of FRR: %w in %s", err, out)
	}
	counters := map[netip.Addr]int{}
	for _, c := range list {
		peer, _ := c["peer"].(string)
		count, ok := c[name].(float64)
		a, err := netip.ParseAddr(peer)
		if err != nil || !ok {
			return nil, fmt.Errorf("read counter %s of FRR: not in %v", name, c)
		}
		counters[a] = int(count)
	}
	return counters, nil
}

// frrName enters the configuration of a peer.
func frrName(p path) string {
	if p.multihop {
		return fmt.Sprintf("peer %s multihop local-address %s", p.us, p.far)
	}
	return fmt.Sprintf("peer %s local-address %s interface %s", p.us, p.far, p.device())
}

// frrPeer is the configuration of a peer, in a file or for a running daemon.
func frrPeer(p path, with terms) []string {
	if with.auth.Type != bfd.AuthNone {
		panic("interop: FRR has no authentication")
	}
	yes := func(on bool, word string) string {
		if on {
			return word
		}
		return "no " + word
	}
	lines := []string{
		frrName(p),
		fmt.Sprintf("transmit-interval %d", with.tx.Milliseconds()),
		fmt.Sprintf("receive-interval %d", with.rx.Milliseconds()),
		fmt.Sprintf("detect-multiplier %d", with.multiplier),
		yes(with.passive, "passive-mode"),
	}
	if !p.multihop {
		lines = append(lines, yes(with.echo, "echo-mode"))
	}
	return append(lines, "exit")
}
