// Command embed keeps a weighted default route over several gateways, in a table
// of its own, until it is interrupted. It shows how a program uses package fib;
// docs/library.md explains it line by line.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/multihomed/multihomed/fib"
)

// owner marks what this program writes: protocol 250, and ids that nobody else on
// the host uses. Its first quarter, 7000..7099, is for the ids below.
var owner = fib.Owner{Protocol: 250, NextHops: fib.Range{First: 7000, Last: 7399}}

func main() {
	table := flag.Uint("table", 300, "the routing `table` that gets the default route")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: embed [--table N] INTERFACE,GATEWAY,WEIGHT ...\n\nexample: embed eth1,192.0.2.1,3 eth2,198.51.100.1,2")
		flag.PrintDefaults()
	}
	flag.Parse()
	d, err := desired(uint32(*table), flag.Args())
	if err == nil {
		err = keep(d)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "embed: %v; see embed --help\n", err)
		os.Exit(1)
	}
}

// desired draws one group per family over the gateways, and its default route.
func desired(table uint32, gateways []string) (fib.Desired, error) {
	var d fib.Desired
	for n, f := range fib.Families {
		group := fib.Group{ID: 7080 + uint32(n), Type: fib.GroupResilient, Buckets: 60, IdleTimer: 2 * time.Minute}
		for i, gateway := range gateways {
			hop, weight, err := parse(gateway)
			if err != nil {
				return d, fmt.Errorf("read gateway %q: %w", gateway, err)
			}
			if hop.Family == f {
				hop.ID = 7000 + 2*uint32(i) // even: the next one is its standby's
				d.NextHops = append(d.NextHops, hop)
				group.Members = append(group.Members, fib.Member{NextHop: hop.ID, Weight: weight})
			}
		}
		if len(group.Members) > 0 {
			d.Groups = append(d.Groups, group)
			d.Routes = append(d.Routes, fib.Route{Table: table, Dst: f.Any(), Metric: 1, Type: fib.RouteUnicast, NextHopID: group.ID})
		}
	}
	if len(d.Groups) == 0 {
		return d, fmt.Errorf("no gateway given")
	}
	return d, nil
}

// parse reads INTERFACE,GATEWAY,WEIGHT.
func parse(s string) (fib.NextHop, int, error) {
	words := strings.Split(s, ",")
	if len(words) != 3 {
		return fib.NextHop{}, 0, fmt.Errorf("%d words, want INTERFACE,GATEWAY,WEIGHT", len(words))
	}
	dev, err := net.InterfaceByName(words[0])
	if err != nil {
		return fib.NextHop{}, 0, err
	}
	gateway, err := netip.ParseAddr(words[1])
	if err != nil {
		return fib.NextHop{}, 0, err
	}
	weight, err := strconv.Atoi(words[2])
	if err != nil || weight < 1 || weight > fib.MaxWeight {
		return fib.NextHop{}, 0, fmt.Errorf("weight %q is not in 1..%d", words[2], fib.MaxWeight)
	}
	return fib.NextHop{Family: fib.FamilyOf(gateway), Device: fib.Device{Index: dev.Index, Name: dev.Name}, Gateway: gateway}, weight, nil
}

// keep keeps the kernel equal to d, and takes everything away when interrupted.
func keep(d fib.Desired) error {
	k, err := fib.OpenNetlink()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	states := make(chan fib.Desired, 1)
	states <- d
	go func() {
		<-ctx.Done()
		states <- fib.Desired{}
		close(states)
	}()
	fib.Keep(context.Background(), k, owner, states, func(rep fib.Report) {
		for _, op := range rep.Done {
			log.Print(op)
		}
		for _, f := range rep.Failed {
			log.Print(f)
		}
		for _, p := range rep.Problems {
			log.Print(p)
		}
		if rep.ReadErr != nil {
			log.Print(rep.ReadErr)
		}
	})
	return k.Close()
}
