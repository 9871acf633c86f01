package engine

import (
	"context"
	"errors"
	"time"

	"github.com/multihomed/multihomed/fib"
)

const (
	// withdrawBatch is how many routes to prefixes are removed at once.
	withdrawBatch = 4096
	// withdrawPause is how long to wait before what failed is tried again.
	withdrawPause = 200 * time.Millisecond
)

// withdrawBulk removes all routes to prefixes. A list may be interrupted and a removal
// refused, so it goes on until a list finds nothing, a few times.
func withdrawBulk(ctx context.Context, k fib.BulkKernel, o fib.BulkOwner) error {
	var errs []error
	for pass := range withdrawPasses {
		if pass > 0 && len(errs) > 0 && !pause(ctx, withdrawPause) {
			break
		}
		var writes []fib.BulkWrite
		var strays []fib.Stray
		err := k.ListBulk(ctx, o, func(f fib.BulkFound) {
			switch {
			case f.Protocol != o.Protocol:
			case f.Stray.Request != "":
				strays = append(strays, f.Stray)
			default:
				writes = append(writes, fib.BulkWrite{Prefix: f.Prefix, Was: f.NextHop})
			}
		})
		errs = nil
		if err != nil {
			errs = append(errs, err)
		}
		if err == nil && len(writes)+len(strays) == 0 {
			return nil
		}
		for len(writes) > 0 && ctx.Err() == nil {
			n := min(len(writes), withdrawBatch)
			errs = append(errs, failed(k.ApplyBulk(ctx, o, writes[:n]))...)
			writes = writes[n:]
		}
		if len(strays) > 0 {
			errs = append(errs, failed(k.RemoveStrays(ctx, o, strays))...)
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// failed returns the first error of a batch: thousands say no more than one.
func failed(errs []error) []error {
	for _, err := range errs {
		if err != nil {
			return []error{err}
		}
	}
	return nil
}
