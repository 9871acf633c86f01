package fences

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUnit: the unit gives the daemon exactly the rights that it needs, and the
// operators' page says what each capability is for.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("../../contrib/systemd/multihomed.service")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	const capabilities = "CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_NICE"
	for key, want := range map[string]string{
		"AmbientCapabilities":     capabilities,
		"CapabilityBoundingSet":   capabilities,
		"RestrictAddressFamilies": "AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX",
	} {
		if diff := cmp.Diff(strings.Fields(want), setting(string(text), key)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", key, diff)
		}
	}
	for _, c := range strings.Fields(capabilities) {
		if !strings.Contains(string(page), "`"+c+"` (") {
			t.Errorf("docs/operations.md does not say what %s is for", c)
		}
	}
}

// setting returns the words of a setting of a unit in order. One that is given twice
// adds to the first (systemd.exec(5)).
func setting(unit, key string) []string {
	var words []string
	for line := range strings.Lines(unit) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), key+"="); is {
			words = append(words, strings.Fields(value)...)
		}
	}
	slices.Sort(words)
	return words
}
