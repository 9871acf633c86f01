package status

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxRequest bounds the body of a request, maxReply that of an answer: MaxRoutes
// prefixes with eight paths of a kilobyte each, with room.
const (
	maxRequest = 4 << 10
	maxReply   = 256 << 20
)

// refused is an error with the code of HTTP that it is answered with.
type refused struct {
	code int
	// kind is one of the refusals that clients tell apart, or nil.
	kind error
	text string
}

func (r *refused) Error() string { return r.text }

func (r *refused) Unwrap() error { return r.kind }

// refusal is about what was asked.
func refusal(kind error, format string, args ...any) error {
	return &refused{0, kind, fmt.Sprintf(format, args...)}
}

// kinds are the refusals that clients tell apart: their words on the wire and their
// codes.
var kinds = []struct {
	kind error
	word string
	code int
}{
	{ErrUnknownUplink, "unknown-uplink", http.StatusNotFound},
	{ErrLastUplink, "last-uplink", http.StatusConflict},
	{ErrNotSpeaking, "not-speaking", http.StatusServiceUnavailable},
	{ErrNoBGP, "no-bgp", http.StatusNotFound},
}

// refusalBody is what a refused request is answered with.
type refusalBody struct {
	Error string `json:"error"`
	Kind  string `json:"kind,omitempty"`
}

// answerOf returns code and body for err.
func answerOf(err error) (int, refusalBody) {
	code, body := http.StatusInternalServerError, refusalBody{Error: err.Error()}
	if known, ok := errors.AsType[*refused](err); ok {
		code = cmp.Or(known.code, http.StatusBadRequest)
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.code, refusalBody{err.Error(), k.word}
		}
	}
	return code, body
}

// kindOf returns the refusal for a word on the wire, nil for none.
func kindOf(word string) error {
	for _, k := range kinds {
		if k.word == word {
			return k.kind
		}
	}
	return nil
}

// readRequest reads the body of r, strictly: a misspelt key would be a drain of
// something else.
func readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refusal(nil, "the request is not as it should be: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refusal(nil, "something follows the request")
	}
	return nil
}

// reply answers with a document.
func reply(w http.ResponseWriter, doc any) {
	body, err := json.Marshal(doc)
	if err != nil {
		refuse(w, fmt.Errorf("encode answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that has gone away is no error of ours.
	_, _ = w.Write(append(body, '\n'))
}

// refuse answers with why not.
func refuse(w http.ResponseWriter, err error) {
	code, answer := answerOf(err)
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "encode refusal: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// post sends q and returns the answer.
func post[T any](ctx context.Context, c *Client, path string, q any) (T, error) {
	body, err := json.Marshal(q)
	if err != nil {
		var none T
		return none, fmt.Errorf("encode request: %w", err)
	}
	return request[T](ctx, c, http.MethodPost, path, body)
}

// request asks once and returns the answer.
func request[T any](ctx context.Context, c *Client, method, path string, body []byte) (T, error) {
	var answer, none T
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.silence, func() { cancel(errSilent) })
	defer silence.Stop()
	req, err := http.NewRequestWithContext(asking, method, "http://multihomed"+path, bytes.NewReader(body))
	if err != nil {
		return none, fmt.Errorf("ask %s: %w", c.socket, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return none, c.explain(asking, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return none, c.explain(asking, err)
	}
	if resp.StatusCode != http.StatusOK {
		return none, c.refusedBy(resp, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return none, c.explain(asking, err)
	}
	return answer, nil
}

// refusedBy turns the answer of a daemon that said no into an error in its words.
func (c *Client) refusedBy(resp *http.Response, text []byte) error {
	var body refusalBody
	if err := json.Unmarshal(text, &body); err == nil && body.Error != "" {
		return &refused{resp.StatusCode, kindOf(body.Kind), body.Error}
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed {
		return fmt.Errorf("ask multihomed on %s: the daemon that runs is older than this program and does not know that; restart it", c.socket)
	}
	words := strings.TrimSpace(string(text[:min(len(text), maxAnswer)]))
	return fmt.Errorf("ask multihomed on %s: it answers %s: %s", c.socket, resp.Status, words)
}
