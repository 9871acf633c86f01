package fibtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
)

// bulk is what the kernel remembers of bulk writes. They are counted apart from the
// others, because they come from another goroutine.
type bulk struct {
	writes  []fib.BulkWrite
	calls   int
	failAt  int
	failure error
}

func (b *bulk) call() error {
	b.calls++
	if b.calls == b.failAt {
		return b.failure
	}
	return nil
}

// FailBulkCall makes the n-th call of ListBulk, ApplyBulk or RemoveStrays from now on
// (1 is the next one) fail with err. Each write and each stray is a call. FailCall
// does not count them.
func (k *Kernel) FailBulkCall(n int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bulk.calls, k.bulk.failAt, k.bulk.failure = 0, n, err
}

// BulkCalls returns the number of bulk calls since New or FailBulkCall.
func (k *Kernel) BulkCalls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bulk.calls
}

// ListBulk implements [fib.BulkKernel]. It is one call.
func (k *Kernel) ListBulk(_ context.Context, o fib.BulkOwner, each func(fib.BulkFound)) error {
	found, err := k.bulkRoutes(o)
	for _, f := range found {
		each(f) // Without the lock: it may write.
	}
	return err
}

func (k *Kernel) bulkRoutes(o fib.BulkOwner) ([]fib.BulkFound, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.bulk.call(); err != nil {
		return nil, err
	}
	var found []fib.BulkFound
	for key, r := range k.routes {
		f := fib.BulkFound{Prefix: key.Dst, Protocol: r.protocol, NextHop: r.object.NextHopID}
		switch {
		case key.Table != o.Table:
			continue
		case r.protocol == o.Protocol && key.Metric != o.Metric:
			f.Stray = fib.Stray{Text: "route " + key.Dst.String(), Request: bulkStray(key)}
		case key.Metric != o.Metric:
			continue
		}
		found = append(found, f)
	}
	slices.SortFunc(found, func(a, b fib.BulkFound) int {
		return cmp.Or(cmp.Compare(a.Prefix.Addr().BitLen(), b.Prefix.Addr().BitLen()), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return found, nil
}

// bulkStray is a request that RemoveStrays knows again.
func bulkStray(key fib.RouteKey) string {
	return fmt.Sprintf("%s metric %d table %d", key.Dst, key.Metric, key.Table)
}

// RemoveStrays implements [fib.BulkKernel].
func (k *Kernel) RemoveStrays(_ context.Context, o fib.BulkOwner, strays []fib.Stray) []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := make([]error, len(strays))
	for i, s := range strays {
		if errs[i] = k.bulk.call(); errs[i] != nil {
			continue
		}
		for key, r := range k.routes {
			if r.protocol == o.Protocol && bulkStray(key) == s.Request {
				delete(k.routes, key)
			}
		}
	}
	return errs
}

// ApplyBulk implements [fib.BulkKernel]. Each write is a call. They are not among
// Writes but among BulkWrites.
func (k *Kernel) ApplyBulk(_ context.Context, o fib.BulkOwner, writes []fib.BulkWrite) []error {
	errs := make([]error, len(writes))
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, w := range writes {
		if errs[i] = k.bulk.call(); errs[i] == nil {
			errs[i] = k.applyBulk(o, w)
		}
		if errs[i] == nil {
			k.bulk.writes = append(k.bulk.writes, w)
		}
	}
	return errs
}

func (k *Kernel) applyBulk(o fib.BulkOwner, w fib.BulkWrite) error {
	r := fib.Route{Table: o.Table, Dst: w.Prefix, Metric: o.Metric, Type: fib.RouteUnicast, NextHopID: w.NextHop}
	_, exists := k.routes[r.Key()]
	verb := fib.Replace
	switch {
	case w.NextHop == 0:
		verb = fib.Delete
	case w.Was == 0 && exists:
		return refusal(unix.EEXIST)
	}
	return refusal(k.applyRoute(fib.Op{Verb: verb, Object: r, Protocol: o.Protocol}, r))
}

// refusal makes of err what the real kernel's refusals look like: they differ from a
// kernel that does not answer.
func refusal(err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	return &fib.KernelError{Errno: errno, Text: strings.TrimSuffix(strings.TrimSuffix(err.Error(), errno.Error()), ": ")}
}

// BulkWrites returns the writes that succeeded since its last call.
func (k *Kernel) BulkWrites() []fib.BulkWrite {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.bulk.writes
	k.bulk.writes = nil
	return w
}

// BulkTable returns which kernel id each prefix of the table of o leads to.
func (k *Kernel) BulkTable(o fib.BulkOwner) map[netip.Prefix]uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	table := map[netip.Prefix]uint32{}
	for key, r := range k.routes {
		if key.Table == o.Table && key.Metric == o.Metric && r.protocol == o.Protocol {
			table[key.Dst] = r.object.NextHopID
		}
	}
	return table
}
