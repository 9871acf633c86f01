package interop

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/lab"
)

// bird is BIRD 2.
type bird struct{ dir string }

func newBird(t *testing.T) daemon {
	t.Helper()
	return &bird{dir: directory(t)}
}

func (b *bird) file(name string) string { return filepath.Join(b.dir, name) }

func (b *bird) launch(t *testing.T, h *lab.Host, with terms) *process {
	t.Helper()
	write(t, b.file("bird.conf"), birdConfig(allPaths, with))
	return start(t, h, b.dir, exec.Command(birdPath, "-f", "-c", b.file("bird.conf"), "-s", b.file("ctl"), "-P", b.file("pid")))
}

func (b *bird) apply(t *testing.T, with terms) {
	t.Helper()
	write(t, b.file("bird.conf"), birdConfig(allPaths, with))
	if out := b.ask(t, "configure"); !strings.Contains(out, "Reconfigured") {
		t.Fatalf("birdc configure: %s", out)
	}
}

func (b *bird) disable(t *testing.T, on bool) {
	t.Helper()
	word := "enable"
	if on {
		word = "disable"
	}
	b.ask(t, word, "bfd1")
}

func (b *bird) ask(t *testing.T, words ...string) string {
	t.Helper()
	out, err := run(birdcPath, append([]string{"-s", b.file("ctl")}, words...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (b *bird) views() (map[netip.Addr]view, error) {
	out, err := run(birdcPath, "-s", b.file("ctl"), "show", "bfd", "sessions")
	if err != nil {
		if strings.Contains(err.Error(), "There is no BFD protocol running") {
			// A disabled protocol has no sessions.
			return nil, nil
		}
		return nil, err
	}
	return parseBird(out)
}

// parseBird reads the table of `show bfd sessions`:
//
//	IP address                Interface  State      Since         Interval  Timeout
//	192.0.2.1                 eth0       Up         23:33:44.019    0.100    0.210
func parseBird(out string) (map[netip.Addr]view, error) {
	views := map[netip.Addr]view{}
	for _, line := range strings.Split(out, "\n") {
		words := strings.Fields(line)
		if len(words) != 6 {
			continue
		}
		peer, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		var v view
		switch words[2] {
		case "AdminDown":
			v.state = bfd.AdminDown
		case "Down":
			v.state = bfd.Down
		case "Init":
			v.state = bfd.Init
		case "Up":
			v.state = bfd.Up
		default:
			return nil, fmt.Errorf("state %q of %q: unknown", words[2], line)
		}
		if v.interval, err = seconds(words[4]); err != nil {
			return nil, err
		}
		if v.timeout, err = seconds(words[5]); err != nil {
			return nil, err
		}
		views[peer] = v
	}
	return views, nil
}

func seconds(word string) (time.Duration, error) {
	f, err := strconv.ParseFloat(word, 64)
	return time.Duration(f*1e6) * time.Microsecond, err
}

// birdConfig is the whole configuration file.
func birdConfig(paths []path, with terms) string {
	var b strings.Builder
	options := birdOptions(with)
	fmt.Fprintf(&b, "log stderr all;\nrouter id 192.0.2.2;\nprotocol device { }\nprotocol bfd bfd1 {\n\tdebug { states, events, packets };\n")
	fmt.Fprintf(&b, "\tinterface \"eth0\" {%s };\n\tmultihop {%s };\n", options, options)
	for _, p := range paths {
		if p.multihop {
			fmt.Fprintf(&b, "\tneighbor %s local %s multihop on;\n", p.us, p.far)
		} else {
			fmt.Fprintf(&b, "\tneighbor %s dev %q local %s;\n", p.us, p.device(), p.far)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// birdOptions are those of an interface.
func birdOptions(with terms) string {
	var b strings.Builder
	fmt.Fprintf(&b, " min tx interval %d us; min rx interval %d us; multiplier %d;",
		with.tx.Microseconds(), with.rx.Microseconds(), with.multiplier)
	if with.passive {
		b.WriteString(" passive on;")
	}
	if with.auth.Type == bfd.AuthNone {
		return b.String()
	}
	fmt.Fprintf(&b, " authentication %s;", birdAuth(with.auth.Type))
	// BIRD sends with the first key that it may send with.
	for _, sending := range []bool{true, false} {
		for _, k := range with.auth.Keys {
			if (k.ID == with.auth.KeyID) == sending {
				fmt.Fprintf(&b, " password %q { id %d; };", string(k.Secret), k.ID)
			}
		}
	}
	return b.String()
}

func birdAuth(a bfd.AuthType) string {
	switch a {
	case bfd.AuthNone:
		return "none"
	case bfd.AuthSimple:
		return "simple"
	case bfd.AuthMD5:
		return "keyed md5"
	case bfd.AuthMeticulousMD5:
		return "meticulous keyed md5"
	case bfd.AuthSHA1:
		return "keyed sha1"
	case bfd.AuthMeticulousSHA1:
		return "meticulous keyed sha1"
	default:
		panic(fmt.Sprintf("interop: unhandled authentication type %d", a))
	}
}
