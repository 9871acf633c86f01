package status

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// startWithOptions is start with more that can be asked.
func startWithOptions(t *testing.T, snapshot func() Status, options ...Option) *running {
	t.Helper()
	return startWith(t, socketPath(t), snapshot, watchInterval, options...)
}

// table2 is what two ISPs offer for a few prefixes.
func table2() []Route {
	return []Route{
		{Prefix: "192.0.2.0/24", Paths: []Path{
			{Uplink: "dsl", Session: "dsl/ipv4", NextHop: "198.51.100.1", ASPath: "64502 64510 64511 64512", Origin: "incomplete", Preference: 100, Rank: "second", Why: "second: longer AS path than fiber (4 against 2)"},
			{
				Uplink: "fiber", Session: "fiber/ipv4", Peer: "203.0.113.1", NextHop: "203.0.113.1", ASPath: "64501 64512", Origin: "igp", Preference: 100, MED: ptr(uint32(7)),
				Communities: []string{"64501:100", "no-export"}, Bandwidth: 1.25e8, Received: before(day), Validity: "valid", Rank: "first", Used: true,
				Why: "first: shorter AS path than dsl (2 against 4)",
			},
		}},
		{Prefix: "198.18.0.0/15", Paths: []Path{
			{Uplink: "fiber", NextHop: "203.0.113.1", ASPath: "64501", Origin: "egp", Preference: 100, Stale: true, Rank: "none", Why: "refused: special-purpose address space"},
		}},
		{Prefix: "2001:db8::/32"},
	}
}

func TestRouteTable_golden(t *testing.T) {
	var out strings.Builder
	if err := RouteTable(&out, RouteList{Routes: table2(), Truncated: true}, night, TableOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	golden(t, "routes", out.String())
	if err := RouteTable(brokenPipe{}, RouteList{}, night, TableOptions{}); !errors.Is(err, errPipe) {
		t.Errorf("got %v, want %v", err, errPipe)
	}
}

// asked notes the questions that a server passes on.
type asked struct {
	mu        sync.Mutex
	questions []RouteQuery
	answer    func(q RouteQuery) ([]Route, error)
}

func (a *asked) routes(_ context.Context, q RouteQuery) ([]Route, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.questions = append(a.questions, q)
	return a.answer(q)
}

func TestRoutes_questions(t *testing.T) {
	a := &asked{answer: func(RouteQuery) ([]Route, error) { return table2(), nil }}
	s := startWithOptions(t, healthy, WithRoutes(a.routes))
	c := Dial(s.socket)
	got, err := c.Routes(t.Context(), netip.MustParsePrefix("192.0.2.0/24"), true, 50)
	if err != nil {
		t.Fatal(err)
	}
	if got.Truncated || len(got.Routes) != 3 || got.Routes[0].Paths[0].Uplink != "fiber" || got.Routes[0].Paths[1].Rank != "second" {
		t.Errorf("got %+v, want three routes whose paths are in the order of their ranks", got)
	}
	if diff := cmp.Diff(table2()[0].Paths[1], got.Routes[0].Paths[0]); diff != "" {
		t.Errorf("the path changed on its way (-want +got):\n%s", diff)
	}
	got, err = c.Routes(t.Context(), netip.Prefix{}, false, 4)
	if err != nil || !got.Truncated || len(got.Routes) != 4 {
		t.Errorf("everything, at most 4: got %+v, %v", got, err)
	}
	if _, err := c.Routes(t.Context(), netip.MustParsePrefix("::/0"), false, 0); err != nil {
		t.Error(err)
	}
	want := []RouteQuery{
		{netip.MustParsePrefix("192.0.2.0/24"), true, 51},
		{netip.MustParsePrefix("0.0.0.0/0"), true, 5}, {netip.MustParsePrefix("::/0"), true, 2},
		{netip.MustParsePrefix("::/0"), false, DefaultRoutes + 1},
	}
	if diff := cmp.Diff(want, a.questions, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
	for path, has := range map[string]string{
		"/v1/routes?prefix=10.0.0.0/33": "is neither a prefix nor an address", "/v1/routes?prefix=fe80::1%25eth0": "is neither a prefix nor an address",
		"/v1/routes?prefix=::ffff:1.2.3.0/120": "is neither a prefix nor an address",
		"/v1/routes?longer=maybe":              "write true or false", "/v1/routes?limit=0": "write 1 to 10000", "/v1/routes?limit=10001": "write 1 to 10000",
	} {
		code, contentType, body := ask(t, s.socket, http.MethodGet, path)
		if code != http.StatusBadRequest || contentType != "application/json" || !strings.Contains(body, has) {
			t.Errorf("%s: got %d, %s, %s; want 400 with %q", path, code, contentType, body, has)
		}
	}
}

// Why there is no answer reaches the client in words and as what it can branch on.
func TestRoutes_refusals(t *testing.T) {
	a := &asked{}
	s := startWithOptions(t, healthy, WithRoutes(a.routes))
	for _, tc := range []struct {
		err, is error
		code    int
	}{
		{fmt.Errorf("%w: it is started again in 8s", ErrNotSpeaking), ErrNotSpeaking, 503},
		{ErrNoBGP, ErrNoBGP, 404},
		{errors.New("no such thing"), nil, 500},
		{context.DeadlineExceeded, nil, 500},
	} {
		a.answer = func(RouteQuery) ([]Route, error) { return nil, tc.err }
		_, err := Dial(s.socket).Routes(t.Context(), netip.Prefix{}, false, 0)
		if err == nil || err.Error() != tc.err.Error() || tc.is != nil && !errors.Is(err, tc.is) || errors.Is(err, ErrLastUplink) {
			t.Errorf("%v arrives as %v", tc.err, err)
		}
		if code, _, _ := ask(t, s.socket, http.MethodGet, "/v1/routes"); code != tc.code {
			t.Errorf("%v has the code %d, want %d", tc.err, code, tc.code)
		}
	}
	_, err := Dial(start(t, healthy).socket).Routes(t.Context(), netip.Prefix{}, false, 0)
	if !errors.Is(err, ErrNoBGP) {
		t.Errorf("a daemon without routes: %v", err)
	}
	_, err = Dial(socketPath(t)).Routes(t.Context(), netip.Prefix{}, false, 0)
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("no daemon: %v", err)
	}
}

// A question that takes long keeps neither the status nor more than two others.
func TestRoutes_slowQuestions(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, maxRouteQuestions)
	s := startWithOptions(t, healthy, WithRoutes(func(context.Context, RouteQuery) ([]Route, error) {
		begun <- struct{}{}
		<-release
		return nil, nil
	}))
	var group sync.WaitGroup
	errs := make([]error, maxRouteQuestions)
	for i := range errs {
		group.Go(func() { _, errs[i] = Dial(s.socket).Routes(t.Context(), netip.MustParsePrefix("::/0"), false, 0) })
	}
	for range errs {
		<-begun
	}
	if _, err := Dial(s.socket).Routes(t.Context(), netip.Prefix{}, false, 0); err == nil || !strings.Contains(err.Error(), "ask again") {
		t.Errorf("a third question: %v", err)
	}
	if _, err := Dial(s.socket).Get(t.Context()); err != nil {
		t.Errorf("the status meanwhile: %v", err)
	}
	close(release)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// A client that goes away takes its question with it.
func TestRoutes_cancelled(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	s := startWithOptions(t, healthy, WithRoutes(func(ctx context.Context, _ RouteQuery) ([]Route, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := Dial(s.socket).Routes(ctx, netip.MustParsePrefix("::/0"), false, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the question ended with %v", err)
	}
}

func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128", "192.0.2.7/24": "192.0.2.0/24", "::/0": "::/0", "::ffff:192.0.2.1": "192.0.2.1/32",
	} {
		if got, err := ParsePrefix(text); err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fiber", "192.0.2.0/33", "fe80::1%eth0", "192.0.2", "::ffff:192.0.2.0/120"} {
		if got, err := ParsePrefix(text); err == nil {
			t.Errorf("%q became %v", text, got)
		}
	}
}

// The kinds of refusals on the wire are a contract, which the handbook states.
func TestRefusals_areDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		err  error
		code int
		kind string
	}{
		{ErrUnknownUplink, 404, "unknown-uplink"}, {ErrLastUplink, 409, "last-uplink"}, {ErrNotSpeaking, 503, "not-speaking"}, {ErrNoBGP, 404, "no-bgp"},
		{refusal(ErrLastUplink, "words"), 409, "last-uplink"}, {refusal(nil, "words"), 400, ""}, {errors.New("words"), 500, ""},
	} {
		code, body := answerOf(tc.err)
		if diff := cmp.Diff(refusalBody{Error: tc.err.Error(), Kind: tc.kind}, body); diff != "" || code != tc.code {
			t.Errorf("%v: code %d, want %d\n%s", tc.err, code, tc.code, diff)
		}
		if tc.kind != "" && (!strings.Contains(string(text), "`"+tc.kind+"`") || !errors.Is(tc.err, kindOf(body.Kind))) {
			t.Errorf("%v: %s is not documented, or does not lead back", tc.err, tc.kind)
		}
	}
}
