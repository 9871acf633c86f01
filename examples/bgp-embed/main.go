// Command bgp-embed shows package bgp in another program: two speakers on this machine,
// one of which announces a prefix of its own while the other prints what it is offered.
// No rights are needed.
//
//	bgp-embed
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/multihomed/multihomed/bgp"
)

// port is one that needs no rights.
const port = 1790

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := talk(ctx, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bgp-embed:", err)
		os.Exit(1)
	}
}

// talk lets an ISP and a site talk until ctx ends.
func talk(ctx context.Context, isp, site netip.Addr) error {
	prefix := netip.MustParsePrefix("198.51.100.0/24")
	here := bgp.Config{
		AS: 64501, RouterID: isp, Listen: []netip.Addr{isp}, Port: port, Own: []netip.Prefix{prefix},
		Peers: []bgp.Peer{{
			Name: "site", Slot: bgp.NoSlot, Address: site, AS: 64500, Passive: true, Families: []bgp.Family{bgp.IPv4},
			Announce: []bgp.Announcement{{Prefix: prefix}},
		}},
	}
	// Nothing is accepted but what is asked for, and nothing is announced but what is
	// our own: a Config that says less does less.
	there := bgp.Config{
		AS: 64500, RouterID: site,
		Peers: []bgp.Peer{{
			Name: "isp", Slot: 0, Address: isp, Port: port, Local: site, AS: 64501, Families: []bgp.Family{bgp.IPv4},
			Import: bgp.Import{Mode: bgp.ImportPrefixes, Prefixes: []netip.Prefix{prefix}},
		}},
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	defer running.Wait()
	begin := func(c bgp.Config) (*bgp.Speaker, error) {
		s := bgp.NewSpeaker(bgp.Options{})
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				stop(err)
			}
		})
		err := s.Set(c)
		return s, err
	}
	_, errIsp := begin(here)
	s, errSite := begin(there)
	if err := errors.Join(errIsp, errSite); err != nil {
		stop(err)
		return err
	}
	return show(ctx, s)
}

// show prints choices as they change. The one of a prefix says which peers offer it and
// in what order; what that means for the kernel is up to the caller.
func show(ctx context.Context, s *bgp.Speaker) error {
	buf := make([]bgp.Route, 0, 1000)
	for {
		batch, err := s.Next(ctx, buf)
		if ctx.Err() != nil {
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil // Somebody has seen enough.
		}
		if err != nil {
			return err
		}
		for _, r := range batch.Routes {
			fmt.Printf("%v: isp is %v\n", r.Prefix, r.Choice.Rank(0))
		}
		if batch.Synced {
			fmt.Println("that is all")
		}
	}
}
