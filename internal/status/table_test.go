package status

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func render(t *testing.T, s Status, opts TableOptions) string {
	t.Helper()
	var out strings.Builder
	if err := Table(&out, s, opts); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTable_golden(t *testing.T) {
	for name, tc := range map[string]struct {
		doc  Status
		opts TableOptions
	}{
		"healthy":       {healthy(), TableOptions{Width: 100}},
		"broken":        {broken(), TableOptions{Width: 100}},
		"broken-narrow": {broken(), TableOptions{Width: 60}},
		"broken-colour": {broken(), TableOptions{Width: 100, Color: true}},
		"starting":      {starting(), TableOptions{Width: 100}},
		"empty":         {Status{}, TableOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := render(t, tc.doc, tc.opts)
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; go test -update writes it", err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("the table has changed; if that is wanted: go test -update (-want +got):\n%s", diff)
			}
		})
	}
}

// The colours repeat what the words say: without them the text is the same.
func TestTable_colourAddsNoText(t *testing.T) {
	coloured := render(t, broken(), TableOptions{Color: true, Width: 100})
	var b strings.Builder
	for i := 0; i < len(coloured); i++ {
		if coloured[i] == '\x1b' {
			i += strings.IndexByte(coloured[i:], 'm')
			continue
		}
		b.WriteByte(coloured[i])
	}
	if diff := cmp.Diff(render(t, broken(), TableOptions{Width: 100}), b.String()); diff != "" {
		t.Errorf("-plain +coloured:\n%s", diff)
	}
	if !strings.Contains(coloured, "\x1b[31mDEAD\x1b[0m") {
		t.Error("a dead way is not red")
	}
}

func TestTable_wrapsProse(t *testing.T) {
	for _, width := range []int{60, 80, 100, 120} {
		for _, line := range strings.Split(render(t, broken(), TableOptions{Width: width}), "\n") {
			columns := strings.HasPrefix(line, "UPLINK") || strings.HasPrefix(line, "fiber") || strings.HasPrefix(line, "dsl") ||
				strings.Contains(line, "rtt ") || strings.HasPrefix(line, "multihomed ")
			if len(line) > width && !columns {
				t.Errorf("width %d: a line of %d columns: %q", width, len(line), line)
			}
		}
	}
}

// What strangers send (the text of an ICMP error, a name from a file) must not
// steer the terminal of the operator.
func TestTable_neverPassesControlCharacters(t *testing.T) {
	evil := "\x1b[2Jowned\x9b\r\x00\u202e"
	s := broken()
	s.Version, s.Config, s.ConfigError, s.Kernel.Mode = evil, evil, evil, evil
	s.Warnings, s.Kernel.Errors = []string{evil}, []string{evil}
	s.Kernel.LastChange, s.Kernel.LastDrift = evil, evil
	u := &s.Uplinks[0]
	u.Name, u.Interface = evil, evil
	w := &u.Ways[0]
	w.Verdict, w.Role, w.Family, w.Gateway, w.Sources, w.Reasons = evil, evil, evil, evil, []string{evil}, []string{evil}
	w.Advice.Last = evil
	w.BFD = &BFD{Mode: evil, Peer: evil, State: evil, Diagnostic: evil, Problem: evil, Auth: evil, Dropped: map[string]uint64{evil: 1}}
	s.Uplinks[0].Ways[1].BFD.Problem = evil
	w.Evidence = []Evidence{{Kind: evil, Opinion: evil, Reason: evil, Targets: []Target{{Address: evil, Opinion: evil, Reason: evil}}}}
	got := render(t, s, TableOptions{Width: 80})
	for _, r := range got {
		if r != '\n' && (r < ' ' || r > '~') {
			t.Fatalf("%q passes in:\n%q", r, got)
		}
	}
	if !strings.Contains(got, "owned") {
		t.Error("the text itself is gone")
	}
}

func TestAge(t *testing.T) {
	tb := &table{now: night}
	for _, tc := range []struct {
		at   time.Time
		want string
	}{
		{time.Time{}, "-"},
		{night.Add(time.Hour), "0s"},
		{night, "0s"},
		{before(999 * time.Millisecond), "0s"},
		{before(59 * time.Second), "59s"},
		{before(time.Minute), "1m00s"},
		{before(time.Hour - time.Second), "59m59s"},
		{before(time.Hour), "1h00m"},
		{before(day - time.Second), "23h59m"},
		{before(day), "1d00h"},
		{before(400*day + 5*time.Hour), "400d05h"},
	} {
		if got := tb.age(tc.at); got != tc.want {
			t.Errorf("age of %v: got %q, want %q", tc.at, got, tc.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{
		0: "0%", 0.0001: "<1%", 0.01: "1%", 0.334: "33%", 0.75: "75%", 0.99: "99%", 0.995: ">99%", 1: "100%",
	} {
		if got := percent(share); got != want {
			t.Errorf("percent(%v): got %q, want %q", share, got, want)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for seconds, want := range map[float64]string{
		-1: "-", 0: "-", 0.0000421: "0.04ms", 0.0042: "4.20ms", 0.0123: "12.3ms", 0.1834: "183ms", 2.5: "2500ms",
	} {
		if got := milliseconds(seconds); got != want {
			t.Errorf("milliseconds(%v): got %q, want %q", seconds, got, want)
		}
	}
}

type brokenPipe struct{}

var errPipe = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestTable_reportsWriteErrors(t *testing.T) {
	if err := Table(brokenPipe{}, healthy(), TableOptions{}); !errors.Is(err, errPipe) {
		t.Errorf("got %v, want %v", err, errPipe)
	}
}
