package bgp

import (
	"testing"
)

// TestGradesAreKeptOnce shows that a grade that nobody has any more is forgotten, its
// number used again, and never that of two grades.
func TestGradesAreKeptOnce(t *testing.T) {
	var table gradeTable
	g := func(n int) *grade { return &grade{med: uint32(n)} }
	hold := func(n int, hint uint32) uint32 {
		id := table.id(g(n), hint)
		table.hold(id)
		return id
	}
	a := hold(0, 0)
	b := hold(1, a)
	if again := hold(0, b); again != a {
		t.Fatalf("one grade has the numbers %d and %d", a, again)
	}
	table.release(a)
	table.release(a)
	// The hint says a number that is free.
	a = hold(0, a)
	c := hold(2, a)
	if a == c || a == b || b == c || *table.at(a) != *g(0) || *table.at(b) != *g(1) || *table.at(c) != *g(2) {
		t.Fatalf("numbers %d, %d, %d", a, b, c)
	}
	for n := range 10_000 {
		table.release(hold(10+n, c))
	}
	if len(table.list) > 8 || len(table.ids) != 3 {
		t.Errorf("%d grades of %d", len(table.ids), len(table.list))
	}
	for _, id := range []uint32{a, b, c} {
		table.release(id)
	}
	if len(table.ids) != 0 || cap(table.list) != 0 {
		t.Errorf("%d grades are left", len(table.ids))
	}
}
