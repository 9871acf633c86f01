package engine

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/uplink"
)

// TestPeering_begunAnew: a reload for which a session has to begin anew does not take its
// uplink out of use, unless the session does not come back or is lost again.
func TestPeering_begunAnew(t *testing.T) {
	slower := strings.Replace(twoBGP, "peer-as: 64501", "peer-as: 64501, hold-time: 30s", 1)
	begun := func(t *testing.T, text string) *bench {
		b := speaks(t, twoBGP, hostA, hostC)
		b.reload(text)
		b.pass(time.Second) // The child has not looked at it yet.
		b.voice().lost("a/ipv4", "this side began the session anew")
		b.pass(20 * time.Second)
		return b
	}
	back := func(b *bench) {
		b.voice().up("a/ipv4")
		b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.Since = b.now })
		b.pass(time.Second)
	}
	t.Run("back", func(t *testing.T) {
		b := begun(t, slower)
		if got := b.verdict("a", fib.IPv4); got != "live active" || !strings.Contains(b.bgpSaid(wayA).Reason, "begun anew by the new configuration") {
			t.Errorf("begun anew, a is %s: %s", got, b.bgpSaid(wayA).Reason)
		}
		back(b)
		b.expectWrites("back", 0)
		if e := b.bgpSaid(wayA); e.Opinion != uplink.Up {
			t.Errorf("back, %s: %s", e.Opinion, e.Reason)
		}
		b.voice().lost("a/ipv4", "hold timer expired")
		b.turn()
		if got := b.verdict("a", fib.IPv4); got != "dead standby" {
			t.Errorf("lost again, a is %s", got)
		}
	})
	t.Run("never back", func(t *testing.T) {
		b := begun(t, slower)
		b.pass(returnLimit)
		if got := b.verdict("a", fib.IPv4); got != "dead standby" {
			t.Errorf("a is %s", got)
		}
	})
	t.Run("all of them", func(t *testing.T) {
		b := begun(t, strings.Replace(twoBGP, "192.0.2.1,", "192.0.2.9,", 1))
		if got := b.verdict("a", fib.IPv4); got != "live active" {
			t.Errorf("a is %s", got)
		}
	})
	t.Run("lost after another change", func(t *testing.T) {
		b := begun(t, strings.Replace(twoBGP, "192.0.2.0/24]", "192.0.2.0/24, 198.51.100.0/24]", 1))
		if got := b.verdict("a", fib.IPv4); got != "dead standby" {
			t.Errorf("a is %s: %s", got, b.bgpSaid(wayA).Reason)
		}
	})
	t.Run("was no good", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		b.voice().session("a/ipv4", func(p *bgp.PeerStatus) { p.Families[0].Default = bgp.DefaultRoute{} })
		b.turn()
		b.reload(slower)
		b.voice().lost("a/ipv4", "this side began the session anew")
		b.turn()
		if e := b.bgpSaid(wayA); e.Opinion != uplink.Down {
			t.Errorf("%s: %s", e.Opinion, e.Reason)
		}
	})
}

// TestBeginsAnew goes through all that can be said of a session.
func TestBeginsAnew(t *testing.T) {
	outlived := map[string]bool{
		"Name": true, "Slot": true, "Import": true, "MaxPrefixes": true, "Tier": true, "Preference": true, "Drained": true,
		"Announce": true, "Shutdown": true,
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[bgp.Peer]()) {
		var p bgp.Peer
		switch v := reflect.ValueOf(&p).Elem().FieldByIndex(field.Index); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int8, reflect.Int64:
			v.SetInt(1)
		case reflect.Uint8, reflect.Uint16, reflect.Uint32:
			v.SetUint(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			switch field.Name {
			case "Address", "Local":
				v.Set(reflect.ValueOf(addr("192.0.2.7")))
			case "Import":
				p.Import.Mode = bgp.ImportFull
			case "GracefulRestart":
				p.GracefulRestart.Enabled = true
			default:
				t.Fatalf("what is %s?", field.Name)
			}
		}
		if got := beginsAnew(bgp.Peer{}, p); got == outlived[field.Name] {
			t.Errorf("with another %s a session begins anew: %t", field.Name, got)
		}
	}
}

// kernelLog is a log that says whether a way is in the balanced group when a line is
// written.
type kernelLog struct {
	kernel *fibtest.Kernel
	lines  bytes.Buffer
	words  string
	// carried: so it was when the last line with words was written; seen: there was one.
	carried, seen bool
}

func (l *kernelLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(l.words)) {
		l.seen = true
		l.carried = strings.Contains(l.kernel.Text(), "group 22100000,255/")
	}
	return l.lines.Write(p)
}

// TestPeering_writesBeforeItSpeaks: a log that blocks does not keep the kernel from being
// written.
func TestPeering_writesBeforeItSpeaks(t *testing.T) {
	t.Run("lost", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		log := &kernelLog{kernel: b.fake, words: "BGP session is down"}
		b.Engine.log = slog.New(slog.NewTextHandler(log, nil))
		b.voice().lost("a/ipv4", "hold timer expired")
		b.turn()
		if !log.seen || log.carried {
			t.Errorf("logged %t, with a in the balanced group %t", log.seen, log.carried)
		}
	})
	t.Run("cannot be asked", func(t *testing.T) {
		b := speaks(t, twoBGP, hostA, hostC)
		log := &kernelLog{kernel: b.fake, words: "cannot ask the BGP part"}
		b.Engine.log = slog.New(slog.NewTextHandler(log, nil))
		b.voice().panics = true
		b.board.Put(uplink.Evidence{Source: uplink.Source{Way: wayA, Kind: uplink.KindBFD}, Opinion: uplink.Down, Reason: "told so"})
		b.turn()
		b.turn()
		if !log.seen || log.carried || strings.Count(log.lines.String(), log.words) != 1 {
			t.Errorf("logged %t, with a in the balanced group %t:\n%s", log.seen, log.carried, log.lines.String())
		}
		b.voice().panics = false
	})
}
