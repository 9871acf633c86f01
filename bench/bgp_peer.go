package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/multihomed/multihomed/internal/bgptest"
)

// rolePeer is the subcommand that runs the far end of one BGP session: a process of
// its own, so that neither its CPU time nor its memory count for a candidate.
const rolePeer = "bgp-peer"

// peerSpec is what such a process is told first, as a line of JSON.
type peerSpec struct {
	Local  netip.Addr `json:"local"`
	Remote netip.Addr `json:"remote"`
	AS     uint32     `json:"as"`
	IPv6   bool       `json:"ipv6"`
	// Prefixes and Seed make the table; Slot and Preference say how this peer sees it.
	Prefixes   int                `json:"prefixes"`
	Seed       uint64             `json:"seed"`
	Slot       int                `json:"slot"`
	Preference bgptest.Preference `json:"preference"`
}

func (s peerSpec) family() bgptest.Family {
	if s.IPv6 {
		return bgptest.IPv6
	}
	return bgptest.IPv4
}

func (s peerSpec) view() bgptest.View {
	return bgptest.View{AS: s.AS, NextHop: s.Local, Slot: s.Slot, Preference: s.Preference}
}

// peerCommand is what follows, a line of JSON each, answered by a peerReport.
type peerCommand struct {
	Do string `json:"do"`
	// Rate is updates per second, For how long, Pool how many prefixes take turns.
	Rate int           `json:"rate,omitempty"`
	For  time.Duration `json:"for,omitempty"`
	Pool int           `json:"pool,omitempty"`
}

// Words of peerCommand.Do.
const (
	// peerReady is answered once the table is encoded.
	peerReady = "ready"
	// peerConnect is answered once the session is established.
	peerConnect = "connect"
	// peerTable sends a default, the table and End-of-RIB.
	peerTable = "table"
	// peerChurn makes paths longer and shorter again.
	peerChurn = "churn"
)

// peerReport is the answer.
type peerReport struct {
	Error string `json:"error,omitempty"`
	// Began is when the first octet was written, Ended when the last one was.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Octets of messages that were sent.
	Octets int `json:"octets"`
	// Churn is what was sent then.
	Churn []churned `json:"churn,omitempty"`
}

// churned is one update: of prefix number I, at so many nanoseconds of Unix time.
type churned struct {
	I  int   `json:"i"`
	At int64 `json:"at"`
}

// peerProcess is the inside.
type peerProcess struct {
	spec   peerSpec
	table  *bgptest.Table
	blocks [][]byte
	peer   *bgptest.Peer
	// ended gets how the session ended.
	ended chan error
}

// runPeer is the process: it serves one session until in ends or ctx does.
func runPeer(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read peer: %w", err)
	}
	p := &peerProcess{ended: make(chan error, 1)}
	if err := json.Unmarshal(first, &p.spec); err != nil {
		return fmt.Errorf("read peer: %w", err)
	}
	p.table = bgptest.NewTable(p.spec.family(), p.spec.Prefixes, p.spec.Seed)
	p.blocks = p.table.Updates(p.spec.view(), 0, p.table.Len())
	defer func() {
		if p.peer != nil {
			p.peer.Close()
		}
	}()
	commands := make(chan []byte)
	read := make(chan error, 1)
	go func() {
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				read <- err
				return
			}
			commands <- line
		}
	}()
	for {
		select {
		case err := <-read:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read command: %w", err)
		case err := <-p.ended:
			return err
		case line := <-commands:
			if err := p.answer(ctx, line, out); err != nil {
				return err
			}
		}
	}
}

func (p *peerProcess) answer(ctx context.Context, line []byte, out io.Writer) error {
	var c peerCommand
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("read command: %w", err)
	}
	report, err := p.do(ctx, c)
	if err != nil {
		report.Error = err.Error()
	}
	answer, err := json.Marshal(report)
	if err == nil {
		_, err = out.Write(append(answer, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// watch is the goroutine that waits for the end of the session, which nobody should
// end before the benchmark does.
func (p *peerProcess) watch(ctx context.Context) {
	if err := p.peer.WaitClosed(ctx); err != nil {
		return
	}
	h := p.peer.Heard()
	if h.Notification != nil {
		p.ended <- fmt.Errorf("the candidate ended the session: %v %q", h.Notification, h.Notification.Reason())
		return
	}
	p.ended <- fmt.Errorf("the session ended: %w", h.Err)
}

// sessionWithin is how long a session may take to be established.
const sessionWithin = time.Minute

func (p *peerProcess) do(ctx context.Context, c peerCommand) (r peerReport, err error) {
	switch c.Do {
	case peerReady:
	case peerConnect:
		within, cancel := context.WithTimeout(ctx, sessionWithin)
		defer cancel()
		dial := bgptest.Socket{TTL: 1}.Dial(p.spec.Local, netip.AddrPortFrom(p.spec.Remote, 179))
		o := bgptest.Options{
			AS: p.spec.AS, ID: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + p.spec.Slot)}), Forget: true,
			Families: []bgptest.Family{p.spec.family()},
		}
		if p.peer, err = bgptest.Connect(within, dial, o); err == nil {
			go p.watch(ctx)
		}
	case peerTable:
		err = p.sendTable(&r)
	case peerChurn:
		err = p.churn(ctx, c, &r)
	default:
		err = fmt.Errorf("read command: %q is none", c.Do)
	}
	return r, err
}

func (p *peerProcess) sendTable(r *peerReport) error {
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if p.spec.IPv6 {
		everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	a := bgptest.Attributes{ASPath: []uint32{p.spec.AS}, NextHop: p.spec.Local}
	if p.spec.Preference == bgptest.PreferFirst && p.spec.Slot > 0 {
		a.ASPath = append(a.ASPath, p.spec.AS)
	}
	all := append(bgptest.Announcement(a, everything), p.blocks...)
	all = append(all, bgptest.EndOfRIB(p.spec.family()))
	for _, b := range all {
		r.Octets += len(b)
	}
	r.Began = time.Now()
	err := p.peer.Send(all...)
	r.Ended = time.Now()
	return err
}

// churn announces prefixes of the pool in turn, with an AS path that is two longer,
// and in the next round as it was.
func (p *peerProcess) churn(ctx context.Context, c peerCommand, r *peerReport) error {
	pool := churnPool(p.table, p.spec.Preference, c.Pool)
	if len(pool) == 0 || c.Rate < 1 {
		return errors.New("churn: nothing to send")
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	r.Began = time.Now()
	total := int(c.For.Seconds() * float64(c.Rate))
	for sent := 0; sent < total; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for due := min(total, int(time.Since(r.Began).Seconds()*float64(c.Rate))); sent < due; sent++ {
			v, i := p.spec.view(), pool[sent%len(pool)]
			if sent/len(pool)%2 == 0 {
				v.Extra = 2
			}
			message := bgptest.Announcement(p.table.Attributes(v, i), p.table.Prefix(i))
			r.Churn = append(r.Churn, churned{i, time.Now().UnixNano()})
			if err := p.peer.Send(message...); err != nil {
				return err
			}
		}
	}
	r.Ended = time.Now()
	return nil
}

// churnPool chooses up to n prefixes that prefer the first peer, spread over the
// table.
func churnPool(t *bgptest.Table, p bgptest.Preference, n int) []int {
	var pool []int
	step := max(t.Len()/(4*max(n, 1)), 1)
	longest := longestOf(t.Family())
	for i := 0; i < t.Len() && len(pool) < n; i += step {
		if t.Prefix(i).Bits() == longest && shortest(t, p, 2, i) == 0 {
			pool = append(pool, i)
		}
	}
	return pool
}
