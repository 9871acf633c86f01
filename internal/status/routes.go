package status

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Route is what is known of one prefix.
type Route struct {
	Prefix string `json:"prefix"`
	// Paths in the order of their ranks, the refused ones last.
	Paths []Path `json:"paths"`
}

// Path is a path as it was received, and what became of it.
type Path struct {
	Uplink string `json:"uplink"`
	// Session is the name of the session that it came by, Peer the address.
	Session string `json:"session"`
	Peer    string `json:"peer,omitempty"`
	NextHop string `json:"next_hop,omitempty"`
	// ASPath as it is usually written: "64501 64510 {64511 64512}".
	ASPath string `json:"as_path"`
	// Origin is "igp", "egp" or "incomplete".
	Origin string `json:"origin"`
	// MED is absent if none came.
	MED        *uint32 `json:"med,omitempty"`
	Preference uint32  `json:"preference"`
	// Communities as they are usually written, extended and large ones too.
	Communities []string `json:"communities,omitempty"`
	// Bandwidth in octets per second, 0 if none.
	Bandwidth float64   `json:"bandwidth_octets_per_second"`
	Received  time.Time `json:"received,omitzero"`
	// Stale: its session was lost, and it waits to be sent again.
	Stale bool `json:"stale"`
	// Validity by RPKI is "valid", "invalid", "not-found", or empty if nobody is
	// asked.
	Validity string `json:"validity,omitempty"`
	// Rank is "first", "second", "rest", or "none" for a path that is refused.
	Rank string `json:"rank"`
	// Used: it carries traffic at present.
	Used bool `json:"used"`
	// Why says in words why it has its rank, and why it is used or not.
	Why string `json:"why"`
}

// RouteQuery selects what is asked for.
type RouteQuery struct {
	// Prefix to look for: exactly, or else the longest one that covers it.
	Prefix netip.Prefix
	// Longer asks for all prefixes that lie in Prefix instead.
	Longer bool
	// Limit is the most prefixes to return, 1..MaxRoutes+1.
	Limit int
}

// RouteList answers a question for routes.
type RouteList struct {
	// Routes in the order of prefixes, IPv4 first.
	Routes []Route `json:"routes"`
	// Truncated: there are more than were asked for.
	Truncated bool `json:"truncated"`
}

// Limits of questions for routes.
const (
	// DefaultRoutes is how many prefixes are returned if nothing is said.
	DefaultRoutes = 1000
	// MaxRoutes is how many can be asked for at once: some megabytes.
	MaxRoutes = 10_000
	// maxRouteQuestions bounds the questions at a time, because each walks a table.
	maxRouteQuestions = 2
	// routesTimeout is how long the answer to one may take.
	routesTimeout = 30 * time.Second
)

// WithRoutes lets a [Server] answer questions for routes. The function may be called
// by many goroutines at once and may block until ctx ends; its error may wrap
// ErrNotSpeaking or ErrNoBGP.
func WithRoutes(f func(ctx context.Context, q RouteQuery) ([]Route, error)) Option {
	return func(s *Server) { s.routes = f }
}

// anything are the prefixes that hold all others.
var anything = [...]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// parseRouteQuery reads the parameters of GET /v1/routes into one question, or into
// one per family where no prefix is named.
func parseRouteQuery(v url.Values) (questions []RouteQuery, limit int, err error) {
	var q RouteQuery
	if limit, err = parseLimit(v.Get("limit")); err != nil {
		return nil, 0, err
	}
	switch longer := v.Get("longer"); longer {
	case "", "false", "0":
	case "true", "1":
		q.Longer = true
	default:
		return nil, 0, refusal(nil, "longer is %q; write true or false", longer)
	}
	text := v.Get("prefix")
	if text == "" {
		for _, p := range anything {
			questions = append(questions, RouteQuery{Prefix: p, Longer: true})
		}
		return questions, limit, nil
	}
	if q.Prefix, err = ParsePrefix(text); err != nil {
		return nil, 0, refusal(nil, "%v", err)
	}
	return []RouteQuery{q}, limit, nil
}

func parseLimit(text string) (int, error) {
	if text == "" {
		return DefaultRoutes, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxRoutes {
		return 0, refusal(nil, "limit is %q; write 1 to %d", text, MaxRoutes)
	}
	return n, nil
}

// ParsePrefix reads a prefix, or an address as the prefix of its full length. Bits
// beyond the length are cleared. The error says what to write.
func ParsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is neither a prefix nor an address; write one such as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32", text)
	}
	return p.Masked(), nil
}

func (s *Server) serveRoutes(w http.ResponseWriter, r *http.Request) {
	if s.routes == nil {
		refuse(w, refusal(ErrNoBGP, "this daemon knows no routes to prefixes"))
		return
	}
	questions, limit, err := parseRouteQuery(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default:
		refuse(w, &refused{http.StatusServiceUnavailable, nil, "others ask for routes already; ask again"})
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(routesTimeout + writeTimeout)); err != nil {
		refuse(w, fmt.Errorf("set write deadline: %w", err))
		return
	}
	ctx, stop := context.WithTimeout(r.Context(), routesTimeout)
	defer stop()
	list := RouteList{Routes: []Route{}}
	for _, q := range questions {
		// One more than is wanted tells whether there are more.
		if q.Limit = limit + 1 - len(list.Routes); q.Limit == 0 {
			break
		}
		routes, err := s.routes(ctx, q)
		if err != nil {
			refuse(w, err)
			return
		}
		list.Routes = append(list.Routes, routes...)
	}
	if list.Truncated = len(list.Routes) > limit; list.Truncated {
		list.Routes = list.Routes[:limit]
	}
	for _, route := range list.Routes {
		slices.SortStableFunc(route.Paths, func(a, b Path) int { return cmp.Compare(rankOrder(a.Rank), rankOrder(b.Rank)) })
	}
	reply(w, list)
}

// rankOrder puts refused paths behind all others.
func rankOrder(rank string) int {
	if i := slices.Index([]string{"first", "second", "rest"}, rank); i >= 0 {
		return i
	}
	return 3
}

// Routes asks for the paths of prefix and, with longer, of what lies in it; of
// everything if prefix is not valid. limit is 1..MaxRoutes, 0 for DefaultRoutes. The
// error satisfies errors.Is with ErrNotSpeaking or ErrNoBGP where that is why, and
// is as that of Get otherwise.
func (c *Client) Routes(ctx context.Context, prefix netip.Prefix, longer bool, limit int) (RouteList, error) {
	v := url.Values{}
	if prefix.IsValid() {
		v.Set("prefix", prefix.String())
	}
	if longer {
		v.Set("longer", "true")
	}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	patient := *c
	patient.silence = max(c.silence, routesTimeout+writeTimeout)
	return request[RouteList](ctx, &patient, http.MethodGet, "/v1/routes?"+v.Encode(), nil)
}
