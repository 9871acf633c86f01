package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// keyFile writes keys where only we may read them.
func keyFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bfd.key")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSessions_keys: never without the keys; a file that cannot be read any more leaves
// the old ones in use and is told; the exchange of keys is an update.
func TestSessions_keys(t *testing.T) {
	file := keyFile(t, "1 first\n")
	text := strings.Replace(withBFD, "interval: 50ms", "auth: {type: meticulous-sha1, key-id: 1, key-file: "+file+"}", 1)
	const session = "async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3, meticulous-sha1 1 of "
	b := newBench(t, text, hostOf(t, hostA, hostB))
	step := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, b.asked()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", what, diff)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warned := func() bool {
		return strings.Contains(strings.Join(b.Status().Warnings, "\n"), "the old keys stay in use: read key file")
	}
	b.turn()
	b.session().notices("up", b.now)
	b.turn()
	step("start", "open "+session+"[key 1]")
	write("1 first\n2 second\n")
	b.reload(text)
	step("a second key beside", "update "+session+"[key 1 key 2]")
	b.reload(text)
	step("the same again")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.reload(text)
	step("no file")
	if !warned() || b.log.count("cannot read the keys of BFD", "uplink=a", "old_keys_in_use=true") != 1 {
		t.Errorf("not told: %q", b.Status().Warnings)
	}
	b.reload(text)
	b.host.see(hostOf(t, "eth1 2 203.0.113.9/24", hostB))
	b.turn()
	other := strings.Replace(session, "113.2", "113.9", 1)
	step("another address, still no file", "close "+session+"[key 1 key 2]", "open "+other+"[key 1 key 2]")
	write("1 first\n2 other\n")
	b.reload(text)
	step("a file again", "update "+other+"[key 1 key 2]")
	if warned() {
		t.Error("warned although the file is there")
	}
	for _, w := range append(b.Status().Warnings, b.log.text.String()) {
		for _, secret := range []string{"first", "second", "other"} {
			if strings.Contains(w, "="+secret) || strings.Contains(w, " "+secret) {
				t.Errorf("a secret is told: %s", w)
			}
		}
	}
	b.reload(withBFD)
	step("no authentication any more", "update "+strings.TrimSuffix(other, ", meticulous-sha1 1 of "))
}

// TestSessions_noKeys: without its keys there is no session, at a start and where
// authentication is new; required means down.
func TestSessions_noKeys(t *testing.T) {
	const missing = "auth: {type: sha1, key-file: /nowhere/bfd.key}"
	for name, require := range map[string]bool{"optional": false, "required": true} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(withBFD, "interval: 50ms", fmt.Sprintf("%s, require: %t", missing, require), 1)
			b := newBench(t, text, hostOf(t, hostA, hostB))
			b.pass(11 * time.Second)
			e, _ := b.bfd()
			if got, want := e.Opinion == uplink.Down, require; got != want || !strings.HasSuffix(e.Reason, "/nowhere/bfd.key: no such file or directory; mend that and reload (SIGHUP), which reads the file again") {
				t.Errorf("%s: %s", e.Opinion, e.Reason)
			}
			if w := wayOf(t, b.Status(), "a", "ipv4"); w.BFD == nil || w.BFD.State != status.BFDClosed || !strings.Contains(w.BFD.Problem, "/nowhere/bfd.key") {
				t.Errorf("the status says %+v", w.BFD)
			}
			b.reload(withBFD)
			b.session().notices("up", b.now)
			b.asked()
			b.reload(text)
			if diff := cmp.Diff([]string{"close async 203.0.113.1%eth1 from 203.0.113.2, 50ms x 3"}, b.asked()); diff != "" {
				t.Errorf("an open session without authentication goes on (-want +got):\n%s", diff)
			}
		})
	}
}
