package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestAdversity is a short one from its command line to its report; package main of the
// daemon tests all of them.
func TestAdversity(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	var out, progress bytes.Buffer
	code := run([]string{"bgp-restart", "-n", "1000", "-patience", patience.String(), "-daemon", d.path}, strings.NewReader(""), &out, &progress)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, &progress)
	}
	for _, want := range []string{"## bgp-restart\n", "1000 prefixes from two peers", "after the death of the child: 10 routes removed", " 0 lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestAdversity_refuses(t *testing.T) {
	t.Parallel()
	for _, name := range adversityNames() {
		for _, args := range [][]string{{"-n", "999"}, {"-time", "0s"}, {"-rate", "0"}, {"-peers", "61"}, {"more"}, {"-nonsense"}} {
			var out, progress bytes.Buffer
			if code := run(append([]string{name}, args...), strings.NewReader(""), &out, &progress); code != 2 || progress.Len() == 0 {
				t.Errorf("%s %v: exit code %d, want 2 and why: %s", name, args, code, &progress)
			}
		}
	}
}
