package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/internal/lab"
)

// end is a Speaker in a process of its own.
type end struct {
	process *process
	encoder *json.Encoder

	mu      sync.Mutex
	lastID  int
	answers map[int]chan news
	status  bgp.Status
	// history holds each state that a peer was seen in, with its words.
	history []string
	// kept are the families that graceful restart kept at any time, by peer.
	kept   map[string][]bgp.Family
	routes map[netip.Prefix]bgp.Choice
	synced bool
}

// begin starts one on a host.
func begin(t *testing.T, h *lab.Host) *end {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), speakVariable+"=1")
	orders, err := cmd.StdinPipe()
	must(t, err)
	told, writer := io.Pipe()
	cmd.Stdout = writer
	e := &end{
		encoder: json.NewEncoder(orders), answers: map[int]chan news{}, routes: map[netip.Prefix]bgp.Choice{},
		kept: map[string][]bgp.Family{},
	}
	e.process = start(t, h, directory(t), cmd)
	go e.listen(told)
	go func() {
		<-e.process.ended
		// The listener learns that nothing more comes.
		_ = writer.Close()
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("a Speaker on %s:\n%s", h.Name(), e.describe())
		}
	})
	return e
}

func (e *end) listen(told io.Reader) {
	decoder := json.NewDecoder(told)
	for {
		var n news
		if err := decoder.Decode(&n); err != nil {
			e.hangUp()
			return
		}
		e.take(n)
	}
}

// hangUp leaves every question without an answer.
func (e *end) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, answer := range e.answers {
		close(answer)
	}
	e.answers = nil
}

func (e *end) take(n news) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case n.ID != 0:
		e.answers[n.ID] <- n
		delete(e.answers, n.ID)
	case n.Status != nil:
		e.note(n.Status)
		e.status = *n.Status
	case n.Batch != nil:
		for _, r := range n.Batch.Routes {
			if e.routes[r.Prefix] = r.Choice; r.Choice == 0 {
				delete(e.routes, r.Prefix)
			}
		}
		e.synced = e.synced || n.Batch.Synced
	}
}

// note keeps a line for each change of a session. The caller holds the lock.
func (e *end) note(next *bgp.Status) {
	was := map[string]string{}
	line := func(p *bgp.PeerStatus) string {
		return fmt.Sprintf("%s: %s, trouble %q, last error %q, flaps %d", p.Name, p.State, p.Trouble, p.LastError, p.Flaps)
	}
	for i := range e.status.Peers {
		was[e.status.Peers[i].Name] = line(&e.status.Peers[i])
	}
	for i := range next.Peers {
		for _, x := range next.Peers[i].Families {
			if list := e.kept[next.Peers[i].Name]; x.Retained && !slices.Contains(list, x.Family) {
				e.kept[next.Peers[i].Name] = append(list, x.Family)
			}
		}
		if l := line(&next.Peers[i]); was[next.Peers[i].Name] != l {
			e.history = append(e.history, time.Now().Format("15:04:05.000 ")+l)
		}
	}
}

// describe is for people.
func (e *end) describe() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, line := range e.history {
		b.WriteString(line + "\n")
	}
	for _, p := range e.status.Peers {
		fmt.Fprintf(&b, "%+v\n", p)
	}
	fmt.Fprintf(&b, "error %q, synced %t, %d routes\n", e.status.Error, e.status.Synced, len(e.routes))
	return b.String()
}

// do gives an order and waits for the answer.
func (e *end) do(o order) (news, error) {
	e.mu.Lock()
	if e.answers == nil {
		e.mu.Unlock()
		return news{}, errors.New("the Speaker has ended")
	}
	e.lastID++
	o.ID = e.lastID
	answer := make(chan news, 1)
	e.answers[o.ID] = answer
	err := e.encoder.Encode(o)
	e.mu.Unlock()
	if err != nil {
		return news{}, fmt.Errorf("give an order: %w", err)
	}
	select {
	case n, ok := <-answer:
		switch {
		case !ok:
			return news{}, errors.New("the Speaker has ended")
		case n.Error != "":
			return n, errors.New(n.Error)
		}
		return n, nil
	case <-time.After(limit):
		return news{}, fmt.Errorf("no answer to an order within %s", limit)
	}
}

func (e *end) set(t *testing.T, c bgp.Config) {
	t.Helper()
	_, err := e.do(order{Set: &c})
	must(t, err)
}

// stop ends it as a daemon ends that keeps its routes: without a word to the peers.
func (e *end) stop(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	err := e.encoder.Encode(order{Stop: true})
	e.mu.Unlock()
	must(t, err)
	select {
	case <-e.process.ended:
	case <-time.After(limit):
		t.Fatalf("the Speaker did not end within %s", limit)
	}
}

// peer is the status of a peer.
func (e *end) peer(name string) bgp.PeerStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.status.Peers {
		if p.Name == name {
			return p
		}
	}
	return bgp.PeerStatus{}
}

// family is one family of a peer's status.
func family(p bgp.PeerStatus, f bgp.Family) bgp.FamilyStatus {
	for _, x := range p.Families {
		if x.Family == f {
			return x
		}
	}
	return bgp.FamilyStatus{}
}

// told is what Next has told so far.
func (e *end) told() (map[netip.Prefix]bgp.Choice, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.routes), e.synced
}

// paths are all paths of a peer in one family, by prefix.
func (e *end) paths(peer string, f bgp.Family) (map[netip.Prefix]bgp.PathInfo, error) {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if f == bgp.IPv6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	n, err := e.do(order{Paths: &bgp.Query{Prefix: all, Longer: true, Limit: 100_000}})
	if err != nil {
		return nil, err
	}
	paths := map[netip.Prefix]bgp.PathInfo{}
	for _, p := range n.Paths {
		for _, info := range p.Paths {
			if info.Peer == peer {
				paths[p.Prefix] = info
			}
		}
	}
	return paths, nil
}

// wasKept reports whether graceful restart kept paths of a family at any time.
func (e *end) wasKept(p path, f bgp.Family) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.kept[p.name], f)
}
