package status

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Drain is why and how far a way is being emptied.
type Drain struct {
	// By is "operator", or "isp" for a graceful shutdown that the ISP announces
	// (RFC 8326). Reason says it in words.
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Until is when the drain ends by itself; absent if it does not.
	Until time.Time `json:"until,omitzero"`
	// Shut: the session was ended, because no flow was left or ShutAt had come.
	Shut   bool      `json:"shut"`
	ShutAt time.Time `json:"shut_at,omitzero"`
	// Busy is how many buckets still lead this way; absent if that is not known.
	Busy *int `json:"busy_buckets,omitempty"`
}

// Drainer empties ways and fills them again. family is "ipv4", "ipv6", or "" for
// each family that the uplink has. The uplink exists, and its name is spelt as in
// the configuration. Both functions may be called by many goroutines at once, return
// when it is decided (and not when the last flow has moved), and return warnings for
// what was done and not as it should be, such as a drain that a restart would forget.
type Drainer struct {
	// Drain empties until Undrain, or for d if that is not 0.
	Drain   func(ctx context.Context, uplink, family string, d time.Duration) (warnings []string, err error)
	Undrain func(ctx context.Context, uplink, family string) (warnings []string, err error)
}

// WithDrainer lets a [Server] take drains.
func WithDrainer(d Drainer) Option { return func(s *Server) { s.drainer = d } }

// DrainRequest is the body of POST /v1/drain and /v1/undrain.
type DrainRequest struct {
	Uplink string `json:"uplink"`
	// Family is "ipv4", "ipv6", or empty for both.
	Family string `json:"family,omitempty"`
	// For is in seconds, 0 for until it is undrained.
	For float64 `json:"for_seconds,omitempty"`
	// Force drains also what nothing can take over from.
	Force bool `json:"force,omitempty"`
}

// DrainAnswer says what came of a [DrainRequest].
type DrainAnswer struct {
	// Ways that it is about, as "uplink/family".
	Ways []string `json:"ways"`
	// Until is when the drain ends by itself; absent if it does not.
	Until    time.Time `json:"until,omitzero"`
	Warnings []string  `json:"warnings,omitempty"`
}

// Refusals of a request, which a client may tell apart by errors.Is.
var (
	// ErrUnknownUplink: no uplink has this name, or not this family.
	ErrUnknownUplink = errors.New("unknown uplink")
	// ErrLastUplink: nothing could take over from what is to be drained.
	ErrLastUplink = errors.New("last uplink")
	// ErrNotSpeaking: nobody speaks BGP at present, so that there is nothing to ask.
	ErrNotSpeaking = errors.New("nobody speaks BGP")
	// ErrNoBGP: no uplink has a session of BGP.
	ErrNoBGP = errors.New("no uplink has BGP")
)

// maxDrain bounds the time of a drain: who means longer means for ever.
const maxDrain = 365 * 24 * time.Hour

// ways returns the uplink as it is spelt, and the ways that r is about.
func (r DrainRequest) ways(s Status) (uplink string, ways []Way, err error) {
	names := make([]string, 0, len(s.Uplinks))
	for _, u := range s.Uplinks {
		names = append(names, u.Name)
		if !strings.EqualFold(u.Name, r.Uplink) {
			continue
		}
		for _, w := range u.Ways {
			if r.Family == "" || w.Family == r.Family {
				ways = append(ways, w)
			}
		}
		if len(ways) == 0 {
			return "", nil, refusal(ErrUnknownUplink, "uplink %s has no %s", u.Name, r.familyWord())
		}
		return u.Name, ways, nil
	}
	return "", nil, refusal(ErrUnknownUplink, "no uplink is named %q; there are %s", r.Uplink, strings.Join(names, ", "))
}

func (r DrainRequest) familyWord() string {
	if r.Family == "" {
		return "family that this host has"
	}
	return r.Family
}

// lastOf says which families would be left without a live uplink if ways of uplink
// were drained. A way that carries nothing now may be drained at any time.
func lastOf(s Status, uplink string, ways []Way) []string {
	var last []string
	for _, w := range ways {
		if w.Role != "active" && w.Verdict != "live" {
			continue
		}
		relief := slices.ContainsFunc(s.Uplinks, func(u Uplink) bool {
			return u.Name != uplink && slices.ContainsFunc(u.Ways, func(o Way) bool {
				return o.Family == w.Family && o.Verdict == "live" && o.Drain == nil
			})
		})
		if !relief {
			last = append(last, w.Family)
		}
	}
	return last
}

func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) {
	s.serveDrainer(w, r, func(ctx context.Context, now Status, q DrainRequest, uplink string, ways []Way) (DrainAnswer, error) {
		d := time.Duration(q.For * float64(time.Second))
		if !(q.For >= 0 && q.For <= maxDrain.Seconds()) || q.For > 0 && d < time.Second {
			return DrainAnswer{}, refusal(nil, "for_seconds is %v; a drain takes 1 second to %v, or 0 for until it is undrained", q.For, maxDrain)
		}
		if last := lastOf(now, uplink, ways); len(last) > 0 && !q.Force {
			return DrainAnswer{}, refusal(ErrLastUplink, "no other uplink is live and could take over the %s traffic of %s; "+
				"wait for another one, or force it", strings.Join(last, " and "), uplink)
		}
		warnings, err := s.drainer.Drain(ctx, uplink, q.Family, d)
		answer := DrainAnswer{Warnings: warnings}
		if d > 0 {
			answer.Until = time.Now().Add(d)
		}
		return answer, err
	})
}

func (s *Server) serveUndrain(w http.ResponseWriter, r *http.Request) {
	s.serveDrainer(w, r, func(ctx context.Context, _ Status, q DrainRequest, uplink string, _ []Way) (DrainAnswer, error) {
		if q.For != 0 || q.Force {
			return DrainAnswer{}, refusal(nil, "for_seconds and force are for a drain, not for its end")
		}
		warnings, err := s.drainer.Undrain(ctx, uplink, q.Family)
		return DrainAnswer{Warnings: warnings}, err
	})
}

// drainAct does what was asked for, with the document that it was checked against.
type drainAct func(ctx context.Context, now Status, q DrainRequest, uplink string, ways []Way) (DrainAnswer, error)

func (s *Server) serveDrainer(w http.ResponseWriter, r *http.Request, act drainAct) {
	var q DrainRequest
	if s.drainer.Drain == nil || s.drainer.Undrain == nil {
		refuse(w, refusal(nil, "this daemon takes no drains"))
		return
	}
	if err := readRequest(w, r, &q); err != nil {
		refuse(w, err)
		return
	}
	switch q.Family {
	case "", "ipv4", "ipv6":
	default:
		refuse(w, refusal(nil, "family is %q; write ipv4 or ipv6, or leave it out for both", q.Family))
		return
	}
	now := s.snapshot()
	uplink, ways, err := q.ways(now)
	if err != nil {
		refuse(w, err)
		return
	}
	answer, err := act(r.Context(), now, q, uplink, ways)
	if err != nil {
		refuse(w, err)
		return
	}
	for _, way := range ways {
		answer.Ways = append(answer.Ways, uplink+"/"+way.Family)
	}
	reply(w, answer)
}

// Drain empties an uplink. The error satisfies errors.Is with ErrUnknownUplink or
// ErrLastUplink where that is why, and is as that of Get otherwise.
func (c *Client) Drain(ctx context.Context, q DrainRequest) (DrainAnswer, error) {
	return post[DrainAnswer](ctx, c, "/v1/drain", q)
}

// Undrain ends a drain. The error is as that of Drain.
func (c *Client) Undrain(ctx context.Context, q DrainRequest) (DrainAnswer, error) {
	return post[DrainAnswer](ctx, c, "/v1/undrain", q)
}

// describe prints a drain in one line.
func (d Drain) describe(t *table) string {
	words := []string{d.Reason}
	if d.Reason == "" {
		words[0] = "by the " + d.By
	}
	switch {
	case d.Shut:
		words = append(words, "the session is ended")
	case d.Busy != nil && *d.Busy > 0:
		words = append(words, plural(uint64(*d.Busy), "bucket")+" of flows still here")
	case d.Busy != nil:
		words = append(words, "no flow is left")
	}
	if !d.Shut && !d.ShutAt.IsZero() {
		words = append(words, "its session ends in "+t.left(d.ShutAt)+" at the latest")
	}
	if !d.Until.IsZero() {
		words = append(words, "undrained in "+t.left(d.Until))
	}
	return fmt.Sprintf("for %s: %s", t.age(d.Since), strings.Join(words, ", "))
}
