package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/bgptest"
)

// roleFake is a candidate that is as slow and as wrong as it is told to be: what a
// benchmark says of it is known beforehand.
const roleFake = "fake-candidate"

// fake takes the tables of its peers, writes the shortest paths once it has them all,
// and follows BFD.
type fake struct {
	// Pause follows each writeBatch routes; Delay is between the end of BFD with the
	// first ISP and the first route over the other one.
	Pause time.Duration `json:"pause"`
	Delay time.Duration `json:"delay"`
	// Skip leaves out so many routes, Astray writes all of them by the first ISP, Deaf
	// does not speak BGP, Stay does not follow BFD.
	Skip   int  `json:"skip"`
	Astray bool `json:"astray"`
	Deaf   bool `json:"deaf"`
	Stay   bool `json:"stay"`

	Lines      []fakeLine    `json:"lines"`
	IPv6       bool          `json:"ipv6"`
	Interval   time.Duration `json:"interval"`
	Multiplier int           `json:"multiplier"`
}

type fakeLine struct {
	Source, Gateway netip.Addr
	Device          string
}

func (fake) name() string { return "fake" }

func (fake) version(context.Context) (string, error) { return "fake", nil }

func (f fake) startBGP(ctx context.Context, t bgpTask) (bgpRunning, error) {
	for i, l := range t.lines() {
		f.Lines = append(f.Lines, fakeLine{l.Source, l.Gateway, t.site.Accesses[i].Device})
	}
	f.IPv6, f.Interval, f.Multiplier = t.ipv6, t.interval, t.multiplier
	cmd := exec.CommandContext(ctx, "/proc/self/exe", roleFake)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(t.site.Edge, t.dir, roleFake, cmd)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(in).Encode(f); err != nil {
		return nil, err
	}
	return daemons{p}, nil
}

// runFake is the process.
func runFake(ctx context.Context, in io.Reader) error {
	var f fake
	line, err := bufio.NewReader(in).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &f)
	}
	if err != nil {
		return err
	}
	down := make(chan struct{}, 1)
	speaker, err := bfd.NewSpeaker(bfd.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	for i, l := range f.Lines {
		c := bfd.Config{
			Peer: l.Gateway, Local: l.Source, Interface: l.Device,
			DesiredMinTx: f.Interval, RequiredMinRx: f.Interval, Multiplier: f.Multiplier,
		}
		_, err := speaker.Open(c, func(v bfd.Event) {
			if i == 0 && v.Old == bfd.Up {
				down <- struct{}{}
			}
		})
		if err != nil {
			return err
		}
	}
	failed := make(chan error, 2)
	go func() { failed <- speaker.Run(ctx) }()
	if !f.Deaf {
		go func() { failed <- f.route(ctx, down) }()
	}
	return <-failed
}

// route learns, writes and follows.
func (f fake) route(ctx context.Context, down <-chan struct{}) error {
	family, everything := bgptest.IPv4, netip.MustParsePrefix("0.0.0.0/0")
	if f.IPv6 {
		family, everything = bgptest.IPv6, netip.MustParsePrefix("::/0")
	}
	l, err := bgptest.Socket{}.Listen(ctx, netip.AddrPortFrom(everything.Addr(), 179))
	if err != nil {
		return err
	}
	tables := make([]map[netip.Prefix]*bgptest.Attributes, len(f.Lines))
	var peers []*bgptest.Peer
	for range f.Lines {
		o := bgptest.Options{AS: siteAS, ID: netip.MustParseAddr("192.0.2.1"), Families: []bgptest.Family{family}}
		p, err := bgptest.Accept(ctx, l, o)
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	for _, p := range peers {
		if err := p.WaitEndOfRIB(ctx, family); err != nil {
			return err
		}
		h := p.Heard()
		tables[h.Open.AS-firstISPAS] = h.Routes
	}
	best := make([][]netip.Prefix, len(f.Lines))
	for prefix, a := range tables[0] {
		// One that the benchmark does not look up, so that it has to count.
		if f.Skip > 0 && prefix != everything && prefix.Bits() < longestOf(family) {
			f.Skip--
			continue
		}
		if !f.Astray && len(tables) > 1 && len(tables[1][prefix].ASPath) < len(a.ASPath) {
			best[1] = append(best[1], prefix)
			continue
		}
		best[0] = append(best[0], prefix)
	}
	for i := range f.Lines {
		if err := f.write(i, best[i], f.Pause); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
	case <-down:
		if !f.Stay {
			wait(f.Delay)
			if err := f.write(1, best[0], 0); err != nil {
				return err
			}
		}
		<-ctx.Done()
	}
	return ctx.Err()
}

func (f fake) write(line int, list []netip.Prefix, pause time.Duration) error {
	k, err := openKernelHere(0)
	if err != nil {
		return err
	}
	defer func() { _ = k.close() }()
	dev, err := net.InterfaceByName(f.Lines[line].Device)
	if err != nil {
		return err
	}
	return k.write(len(list), func(i int) netip.Prefix { return list[i] }, f.Lines[line].Gateway, dev.Index, func() { wait(pause) })
}

// wait is what makes a candidate slow.
func wait(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// fakeMain is the process from its begin to its end.
func fakeMain() {
	ctx := context.Background()
	if err := runFake(ctx, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
