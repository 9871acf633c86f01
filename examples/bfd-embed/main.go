// Command bfd-embed shows package bfd in another program: two sessions on this
// machine that watch each other, over several hops (RFC 5883), so that neither an
// interface nor the rights of root are needed.
//
//	bfd-embed
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/multihomed/multihomed/bfd"
)

func main() {
	if err := watchEachOther(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")); err != nil {
		fmt.Fprintln(os.Stderr, "bfd-embed:", err)
		os.Exit(1)
	}
}

func watchEachOther(a, b netip.Addr) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	speaker, err := bfd.NewSpeaker(bfd.Options{})
	if err != nil {
		return err
	}
	for _, ends := range [][2]netip.Addr{{a, b}, {b, a}} {
		conf := bfd.Config{Local: ends[0], Peer: ends[1], Multihop: true}
		if _, err := speaker.Open(conf, func(e bfd.Event) { fmt.Println(e) }); err != nil {
			return err
		}
	}
	return speaker.Run(ctx)
}
