package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/multihomed/multihomed/bgp"
)

// order is what a Speaker in a process of its own is told, one JSON object a line.
type order struct {
	ID    int
	Set   *bgp.Config
	Paths *bgp.Query
	// Reset is a peer, and Words what it is told.
	Reset, Words string
	// Stop ends Run, as a daemon does that keeps its routes.
	Stop bool
}

// news is what such a Speaker tells: the answer to an order if ID is not zero.
type news struct {
	ID     int
	Error  string
	Paths  []bgp.PrefixPaths
	Status *bgp.Status
	Batch  *bgp.Batch
}

// obey is the whole program of such a process.
func obey(in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	encoder := json.NewEncoder(out)
	tell := func(n news) {
		mu.Lock()
		defer mu.Unlock()
		if err := encoder.Encode(n); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	changed := make(chan struct{}, 1)
	speaker := bgp.NewSpeaker(bgp.Options{
		Changed: func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- speaker.Run(ctx) }()
	go func() {
		for range changed {
			status := speaker.Status()
			tell(news{Status: &status})
		}
	}()
	go func() {
		routes := make([]bgp.Route, 0, 1024)
		for {
			b, err := speaker.Next(ctx, routes[:0])
			if err != nil {
				return
			}
			tell(news{Batch: &b})
		}
	}()
	decoder := json.NewDecoder(in)
	for {
		var o order
		if err := decoder.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read order: %w", err)
		}
		if o.Stop {
			cancel()
			return <-ended
		}
		tell(carryOut(ctx, speaker, o))
	}
}

func carryOut(ctx context.Context, speaker *bgp.Speaker, o order) news {
	n := news{ID: o.ID}
	var err error
	switch {
	case o.Set != nil:
		err = speaker.Set(*o.Set)
	case o.Paths != nil:
		n.Paths, err = speaker.Paths(ctx, *o.Paths)
	case o.Reset != "":
		err = speaker.Reset(o.Reset, o.Words)
	}
	if err != nil {
		n.Error = err.Error()
	}
	return n
}
