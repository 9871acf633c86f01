package fib_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/multihomed/multihomed/fib"
)

// slowBulk lets each write wait.
type slowBulk struct {
	fib.BulkKernel
	asked, go_ chan struct{}
}

func (k slowBulk) ApplyBulk(ctx context.Context, o fib.BulkOwner, writes []fib.BulkWrite) []error {
	k.asked <- struct{}{}
	<-k.go_
	return k.BulkKernel.ApplyBulk(ctx, o, writes)
}

// A group that a write is under way to is in use, also when something else is wanted by
// now: the kernel would refuse the write, or remove the route with the group.
func TestBulkGroupOfAWriteUnderWayIsInUse(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		k := slowBulk{r.k, make(chan struct{}), make(chan struct{})}
		r.kernel = k
		r.anew()
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 1)
		<-k.asked
		r.set(2, 0, 1)
		r.wantUse("while the write is under way", 1, 2)
		r.groups(1, 2)
		k.go_ <- struct{}{}
		<-k.asked
		r.wantUse("while the next one is under way", 1, 2)
		k.go_ <- struct{}{}
		synctest.Wait()
		r.wantUse("then", 2)
		r.wantTable("then", [3]int{0, 1, 2})
	})
}
