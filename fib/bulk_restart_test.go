package fib_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// A restart finds the routes, changes nothing by itself and removes only what nobody
// told of until Sweep.
func TestB_GR_03_B_GR_08_BulkAdoptsAndSweeps(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 1000)
		r.anew()
		if _, known := r.b.Adopted(); known {
			t.Error("what is there is known before it was read")
		}
		r.run()
		if n, known := r.b.Adopted(); n != 2000 || !known {
			t.Errorf("%d routes are adopted, %t", n, known)
		}
		r.k.BulkWrites()
		r.wantUse("adopted", 1)
		r.groups(1, 2)
		r.set(1, 0, 500)   // as before
		r.set(2, 500, 600) // another choice
		r.set(0, 600, 650) // told that there is none
		r.wantTable("before the sweep", [3]int{0, 500, 1}, [3]int{500, 600, 2}, [3]int{650, 1000, 1})
		r.wantStats("before the sweep", fib.BulkStats{Routes: 1900, Unclaimed: 700, Written: 300})
		r.b.Sweep()
		synctest.Wait()
		r.wantTable("after the sweep", [3]int{0, 500, 1}, [3]int{500, 600, 2})
		if c, p, d := r.verbs(); c != 0 || p != 200 || d != 800 {
			t.Errorf("%d created, %d replaced, %d removed", c, p, d)
		}
		r.wantStats("after the sweep", fib.BulkStats{Routes: 1200, Written: 1000})
	})
}

// The speaker died and tells everything again. What was told before stands until
// then, and what it does not tell again goes with Sweep.
func TestBulkUnclaim(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 300)
		r.b.Sweep()
		synctest.Wait()
		for range 600 { // beyond one octet
			r.b.Unclaim()
		}
		synctest.Wait()
		r.wantTable("after Unclaim", [3]int{0, 300, 1})
		r.wantStats("after Unclaim", fib.BulkStats{Routes: 600, Unclaimed: 600, Written: 600})
		r.set(1, 0, 100)
		r.set(2, 100, 200)
		r.wantStats("told in part", fib.BulkStats{Routes: 600, Unclaimed: 200, Written: 800})
		r.b.Unclaim() // died again
		r.set(1, 0, 150)
		r.wantStats("told anew", fib.BulkStats{Routes: 600, Unclaimed: 300, Written: 900})
		r.b.Sweep()
		synctest.Wait()
		r.wantTable("after Sweep", [3]int{0, 150, 1})
	})
}

// What is told before the table was read is compared with it.
func TestBulkToldBeforeItIsRead(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 400)
		r.anew()
		r.groups(1, 2)
		r.set(1, 0, 100)
		r.set(2, 100, 200)
		r.set(0, 200, 250)
		r.set(0, 400, 450)
		r.b.Sweep()
		r.k.BulkWrites()
		r.k.FailBulkCall(1, errRefused) // the first read
		r.run()
		if c, p, d := r.verbs(); c+p+d != 0 {
			t.Errorf("it wrote although nothing was read: %d, %d, %d", c, p, d)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.wantTable("then", [3]int{0, 100, 1}, [3]int{100, 200, 2})
		if c, p, d := r.verbs(); c != 0 || p != 200 || d != 400 {
			t.Errorf("%d created, %d replaced, %d removed", c, p, d)
		}
		r.wantStats("then", fib.BulkStats{Routes: 400, Written: 600})
		if n := r.b.Entries(); n != 400 {
			t.Errorf("%d entries for 400 routes", n)
		}
	})
}

// Begun anew before a sweep was done, there is no sweep.
func TestBulkUnclaimCallsOffASweep(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1)
		r.set(1, 0, 100)
		r.anew()
		r.groups(1)
		r.b.Sweep()
		r.b.Unclaim()
		r.run()
		r.wantTable("then", [3]int{0, 100, 1})
		r.wantStats("then", fib.BulkStats{Routes: 200, Unclaimed: 200})
	})
}

// listKernel does something in the middle of a list, and may break it off there.
type listKernel struct {
	*fibtest.Kernel
	amid func() error
}

func (k *listKernel) ListBulk(ctx context.Context, o fib.BulkOwner, each func(fib.BulkFound)) error {
	n, amid, broken := 0, k.amid, error(nil)
	err := k.Kernel.ListBulk(ctx, o, func(f fib.BulkFound) {
		if n++; n == 100 && amid != nil {
			k.amid = nil
			broken = amid()
		}
		if broken == nil {
			each(f)
		}
	})
	return errors.Join(err, broken)
}

// What is told while the table is read for the first time meets what is found there.
func TestBulkToldWhileItIsRead(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		r.run()
		r.groups(1, 2)
		r.set(1, 0, 300)
		k := &listKernel{Kernel: r.k}
		r.kernel = k
		r.anew()
		r.groups(1, 2)
		k.amid = func() error {
			var routes []fib.BulkRoute
			for n := range 300 {
				for _, f := range fib.Families {
					routes = append(routes, fib.BulkRoute{Prefix: prefixOf(f, n), Group: bulkGroup(2)})
				}
			}
			return r.b.Set(r.t.Context(), routes)
		}
		r.k.BulkWrites()
		r.run()
		r.wantTable("then", [3]int{0, 300, 2})
		if c, p, d := r.verbs(); c+d != 0 || p != 600 {
			t.Errorf("%d created, %d replaced, %d removed", c, p, d)
		}
		r.wantStats("then", fib.BulkStats{Routes: 600, Written: 600})
	})
}

// Half a list is no reason to believe that the other half has gone.
func TestBulkListBrokenOff(t *testing.T) {
	bulkTest(t, func(r *bulkRig) {
		k := &listKernel{Kernel: r.k}
		r.kernel = k
		r.anew()
		r.run()
		r.groups(1)
		r.set(1, 0, 300)
		r.k.BulkWrites()
		time.Sleep(bulkSettled)
		k.amid = func() error { return errRefused }
		r.b.Invalidate("a test")
		synctest.Wait()
		r.wantStats("after half a list", fib.BulkStats{Routes: 600, Written: 600})
		time.Sleep(bulkSettled)
		synctest.Wait()
		r.wantStats("after a whole one", fib.BulkStats{Routes: 600, Written: 600})
		if c, p, d := r.verbs(); c+p+d != 0 {
			t.Errorf("%d created, %d replaced, %d removed", c, p, d)
		}
	})
}
