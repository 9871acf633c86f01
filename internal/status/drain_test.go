package status

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told notes what a Drainer was told.
type told struct {
	mu       sync.Mutex
	calls    []string
	warnings []string
	err      error
}

func (d *told) note(format string, args ...any) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
	return d.warnings, d.err
}

func (d *told) drainer() Drainer {
	return Drainer{
		Drain: func(_ context.Context, uplink, family string, t time.Duration) ([]string, error) {
			return d.note("drain %s %q %v", uplink, family, t)
		},
		Undrain: func(_ context.Context, uplink, family string) ([]string, error) {
			return d.note("undrain %s %q", uplink, family)
		},
	}
}

// two is a site with two live uplinks in IPv4, and one in IPv6.
func two() Status { return healthy() }

func TestDrain(t *testing.T) {
	d := &told{warnings: []string{"a restart forgets it: no space left on device"}}
	s := startWithOptions(t, two, WithDrainer(d.drainer()))
	c := Dial(s.socket)
	got, err := c.Drain(t.Context(), DrainRequest{Uplink: "FIBER", Family: "ipv4", For: 7200})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(got.Until); left < 7200*time.Second-patience || left > 7200*time.Second {
		t.Errorf("it ends in %v, want 2h", left)
	}
	got.Until = time.Time{}
	if diff := cmp.Diff(DrainAnswer{Ways: []string{"fiber/ipv4"}, Warnings: d.warnings}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, err = c.Undrain(t.Context(), DrainRequest{Uplink: "fiber"}); err != nil || len(got.Ways) != 2 || !got.Until.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err = c.Drain(t.Context(), DrainRequest{Uplink: "dsl"}); err != nil {
		t.Error(err)
	}
	want := []string{`drain fiber "ipv4" 2h0m0s`, `undrain fiber ""`, `drain dsl "" 0s`}
	if diff := cmp.Diff(want, d.calls); diff != "" {
		t.Errorf("the daemon was told (-want +got):\n%s", diff)
	}
	d.err = errors.New("it does not want to")
	if _, err = c.Drain(t.Context(), DrainRequest{Uplink: "dsl"}); err == nil || err.Error() != d.err.Error() {
		t.Errorf("got %v", err)
	}
}

func TestDrain_refusals(t *testing.T) {
	d := &told{}
	s := startWithOptions(t, two, WithDrainer(d.drainer()))
	c := Dial(s.socket)
	for _, tc := range []struct {
		q   DrainRequest
		is  error
		has string
	}{
		{DrainRequest{Uplink: "fibre"}, ErrUnknownUplink, `no uplink is named "fibre"; there are fiber, dsl`},
		{DrainRequest{Uplink: ""}, ErrUnknownUplink, `no uplink is named ""`},
		{DrainRequest{Uplink: "dsl", Family: "ipv6"}, ErrUnknownUplink, "uplink dsl has no ipv6"},
		{DrainRequest{Uplink: "fiber"}, ErrLastUplink, "no other uplink is live and could take over the ipv6 traffic of fiber"},
		{DrainRequest{Uplink: "fiber", Family: "ipv6"}, ErrLastUplink, "the ipv6 traffic"},
		{DrainRequest{Uplink: "fiber", Family: "inet"}, nil, `family is "inet"; write ipv4 or ipv6`},
		{DrainRequest{Uplink: "dsl", For: -1}, nil, "for_seconds is -1"},
		{DrainRequest{Uplink: "dsl", For: 0.5}, nil, "for_seconds is 0.5"},
		{DrainRequest{Uplink: "dsl", For: 1e30}, nil, "for_seconds is 1e+30"},
	} {
		_, err := c.Drain(t.Context(), tc.q)
		if err == nil || !strings.Contains(err.Error(), tc.has) || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%+v: got %v, want %q", tc.q, err, tc.has)
		}
	}
	if _, err := c.Undrain(t.Context(), DrainRequest{Uplink: "dsl", Force: true}); err == nil {
		t.Error("an undrain by force is taken")
	}
	if len(d.calls) > 0 {
		t.Errorf("the daemon was told %q", d.calls)
	}
	if _, err := c.Drain(t.Context(), DrainRequest{Uplink: "fiber", Force: true}); err != nil || len(d.calls) != 1 {
		t.Errorf("by force: %v, told %q", err, d.calls)
	}
	for _, body := range []string{"", "{", `{"uplink": "dsl"} {}`, `{"uplink": "dsl", "famly": "ipv4"}`, `{"uplink": 3}`, `["dsl"]`, `{"uplink": "` + strings.Repeat("x", maxRequest) + `"}`} {
		code, answer := postText(t, s.socket, "/v1/drain", body)
		if code != http.StatusBadRequest || !strings.Contains(answer, "the request") {
			t.Errorf("%.40q: got %d %s", body, code, answer)
		}
	}
	if code, _, _ := ask(t, s.socket, http.MethodGet, "/v1/drain"); code != http.StatusMethodNotAllowed {
		t.Errorf("a drain by GET: %d", code)
	}
	if _, err := Dial(start(t, two).socket).Drain(t.Context(), DrainRequest{Uplink: "dsl"}); err == nil || !strings.Contains(err.Error(), "takes no drains") {
		t.Errorf("a daemon that takes none: %v", err)
	}
	if len(d.calls) != 1 {
		t.Errorf("the daemon was told %q", d.calls)
	}
}

func postText(t *testing.T, socket, path, body string) (int, string) {
	t.Helper()
	_, err := request[DrainAnswer](t.Context(), Dial(socket), http.MethodPost, path, []byte(body))
	var r *refused
	if !errors.As(err, &r) {
		t.Fatalf("%.40q: %v", body, err)
	}
	return r.code, r.text
}

// Whether something can take over is asked of the verdicts of the moment.
func TestDrain_lastUplink(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(fiber, dsl *Way)
		last   bool
	}{
		"both live":                      {func(*Way, *Way) {}, false},
		"the other is dead":              {func(_, dsl *Way) { dsl.Verdict, dsl.Role = "dead", "standby" }, true},
		"the other is held":              {func(_, dsl *Way) { dsl.Verdict, dsl.Role = "held", "standby" }, true},
		"the other is a standby tier":    {func(_, dsl *Way) { dsl.Role = "standby" }, false},
		"the other drains":               {func(_, dsl *Way) { dsl.Drain = &Drain{By: "operator"} }, true},
		"this one is dead":               {func(fiber, dsl *Way) { fiber.Verdict, fiber.Role, dsl.Verdict = "dead", "none", "dead" }, false},
		"this one is dead and in use":    {func(fiber, dsl *Way) { fiber.Verdict, dsl.Verdict, dsl.Role = "dead", "dead", "standby" }, true},
		"this one is drained by the ISP": {func(fiber, _ *Way) { fiber.Drain, fiber.Role, fiber.Verdict = &Drain{By: "isp"}, "draining", "held" }, false},
	} {
		s := two()
		tc.change(&s.Uplinks[0].Ways[0], &s.Uplinks[1].Ways[0])
		uplink, ways, err := DrainRequest{Uplink: "fiber", Family: "ipv4"}.ways(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := lastOf(s, uplink, ways); (len(got) > 0) != tc.last {
			t.Errorf("%s: the last one in %v, want %v", name, got, tc.last)
		}
	}
}
