package fib_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
)

// protoStatic is RTPROT_STATIC, under which scripts write.
const protoStatic = 4

// foreignDefault is a default as a script of earlier days leaves it.
func foreignDefault(f fib.Family, table, metric uint32, kind fib.RouteType) fib.Route {
	r := fib.Route{Table: table, Dst: f.Any(), Metric: metric, Type: kind}
	if kind == fib.RouteUnicast {
		r.Hops = []fib.Hop{{Device: device(9), Weight: 1}}
	}
	return r
}

func stranger(t *testing.T, k *fibtest.Kernel, v fib.Verb, r fib.Route) {
	t.Helper()
	if err := k.Stranger(fib.Op{Verb: v, Object: r, Protocol: protoStatic}); err != nil {
		t.Fatal(err)
	}
}

// flag is how ip is told the family.
func flag(f fib.Family) string {
	if f == fib.IPv6 {
		return " -6"
	}
	return ""
}

// TestPreviewNamesIntruders: what a foreign default does depends on its metric and
// on ours in its table, and the words end with the command against it.
func TestPreviewNamesIntruders(t *testing.T) {
	for _, f := range fib.Families {
		cmd := "ip" + flag(f) + " route del "
		for _, tt := range []struct {
			name  string
			route fib.Route
			proto uint8
			want  string // "" if it does no harm
		}{
			{"wins in the balanced table", foreignDefault(f, balanceTable, 0, fib.RouteUnicast), protoStatic,
				"table 221 holds a foreign default (proto static, metric 0) that wins over ours: remove it with: " + cmd + "default table 221 proto static"},
			{"has our key", foreignDefault(f, 1000, 1, fib.RouteProhibit), protoStatic,
				"table 1000 holds a foreign prohibit default (proto static, metric 1) that stands in the place of ours: remove it with: " + cmd + "prohibit default table 1000 metric 1 proto static"},
			{"leads nowhere", foreignDefault(f, 1001, 0, fib.RouteBlackhole), 3,
				"table 1001 holds a foreign blackhole default (proto boot, metric 0) that wins over ours: remove it with: " + cmd + "blackhole default table 1001 proto boot"},
			{"is of a kind that we do not write", foreignDefault(f, 1001, 1, fib.RouteUnknown), 77,
				"table 1001 holds a foreign default (proto 77, metric 1) that stands in the place of ours: remove it with: " + cmd + "default table 1001 metric 1 proto 77"},
			{"stands behind ours", foreignDefault(f, balanceTable, 2, fib.RouteUnicast), protoStatic, ""},
			{"stands between the live default and the guard", foreignDefault(f, 1000, guardMetric-1, fib.RouteUnicast), protoStatic, ""},
			{"stands before a guard alone", foreignDefault(f, 1002, guardMetric-1, fib.RouteUnicast), protoStatic,
				"table 1002 holds a foreign default (proto static, metric 4278198271) that wins over ours: remove it with: " + cmd + "default table 1002 metric 4278198271 proto static"},
			{"is in a table where we want no default", foreignDefault(f, 7, 0, fib.RouteUnicast), protoStatic, ""},
		} {
			t.Run(tt.name+"/"+f.String(), func(t *testing.T) {
				actual := able()
				actual.Intruders = []fib.Intruder{{Route: tt.route, Protocol: tt.proto}}
				var want []string
				if tt.want != "" {
					want = []string{tt.want}
				}
				ops, problems := fib.Preview(evenSite(3).with(2, gone).desired(), actual, owner)
				if diff := cmp.Diff(want, problems); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				for _, op := range ops {
					if op.Verb == fib.Delete {
						t.Errorf("it is not ours to remove: %s", op)
					}
				}
			})
		}
		// The other family's default in the same table is no rival.
		actual := able()
		actual.Intruders = []fib.Intruder{{Route: foreignDefault(f, balanceTable, 0, fib.RouteUnicast), Protocol: protoStatic}}
		d := evenSite(2).desired()
		d.Routes = slices.DeleteFunc(d.Routes, func(r fib.Route) bool { return r.Family() == f })
		if _, problems := fib.Preview(d, actual, owner); len(problems) > 0 {
			t.Errorf("%s: problems %q without a default of that family", f, problems)
		}
	}
}

// TestWriterNamesAShadow: a shadow does not make the kernel differ from what is
// desired, it is there from the first Sync on, as long as it lasts, and costs a
// failover nothing.
func TestWriterNamesAShadow(t *testing.T) {
	for _, f := range fib.Families {
		for _, readBefore := range []bool{false, true} {
			metric := map[fib.Family]uint32{fib.IPv4: 0, fib.IPv6: 1}[f] // IPv6 has no metric 0
			shadow := foreignDefault(f, balanceTable, metric, fib.RouteUnicast)
			site := evenSite(3)
			d := behind(site.desired())
			b := newBench(t)
			if readBefore {
				if err := b.w.Read(context.Background(), b.now); err != nil {
					t.Fatal(err)
				}
			}
			stranger(t, b.k, fib.Add, shadow)
			named := func(when string, rep fib.Report) {
				t.Helper()
				if !rep.InSync || len(rep.Failed) > 0 || !rep.Wake.IsZero() || len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], "table 221 holds a foreign default") {
					t.Errorf("%s, %s: %+v, want to be in sync and one problem", f, when, rep)
				}
			}
			named("first", b.sync(d))
			named("again", b.sync(d))
			b.k.FailCall(0, nil)
			after := behind(site.with(0, standby).desired())
			rep := b.sync(after)
			named("failover", rep)
			if b.k.Calls() != 2 || rep.Read {
				t.Errorf("%s: the failover took %d calls, want one per group", f, b.k.Calls())
			}
			b.pass(time.Minute)
			b.w.Invalidate("look")
			named("read", b.sync(after))
			stranger(t, b.k, fib.Delete, shadow)
			b.pass(time.Minute)
			b.w.Invalidate("look")
			b.clean(b.sync(after))
			b.holds(after)
		}
	}
}

// behind moves the live defaults to metric 2, so that a stranger of any family can
// stand before them.
func behind(d fib.Desired) fib.Desired {
	d.Routes = slices.Clone(d.Routes)
	for i := range d.Routes {
		if d.Routes[i].Metric == 1 {
			d.Routes[i].Metric = 2
		}
	}
	return d
}

// TestWriterNamesWhatHasItsKey: the refusal and its reason, until it is gone.
func TestWriterNamesWhatHasItsKey(t *testing.T) {
	for _, f := range fib.Families {
		d := evenSite(2).desired()
		b := newBench(t)
		foreign := foreignDefault(f, 1000, 1, fib.RouteProhibit)
		stranger(t, b.k, fib.Add, foreign)
		rep := b.sync(d)
		for range 3 {
			if rep.InSync || len(rep.Failed) != 1 || !errors.Is(rep.Failed[0], unix.EEXIST) {
				t.Errorf("%s: report %+v, want one refusal", f, rep)
			}
			want := "ip" + flag(f) + " route del prohibit default table 1000 metric 1 proto static"
			if len(rep.Problems) != 1 || !strings.HasSuffix(rep.Problems[0], want) {
				t.Errorf("%s: problems %q, want %q", f, rep.Problems, want)
			}
			b.now = rep.Wake
			rep = b.sync(d)
		}
		stranger(t, b.k, fib.Delete, foreign)
		b.now = rep.Wake
		b.clean(b.sync(d))
		b.holds(d)
	}
}

// TestListIntruders: of tables that our routes or anybody's rules lead to, and not
// of those that everybody shares.
func TestListIntruders(t *testing.T) {
	k := begun(t, evenSite(2).desired()).k
	var want []fib.Intruder
	for _, f := range fib.Families {
		ruled := fib.Op{Verb: fib.Add, Protocol: protoStatic, Object: fib.Rule{Family: f, Priority: 30, Table: 500}}
		if err := k.Stranger(ruled); err != nil {
			t.Fatal(err)
		}
		for _, table := range []uint32{253, 254, 255, 7, 500, balanceTable} {
			r := foreignDefault(f, table, 5, fib.RouteUnicast)
			stranger(t, k, fib.Add, r)
			if table == 500 || table == balanceTable {
				want = append(want, fib.Intruder{Route: r, Protocol: protoStatic})
			}
		}
		specific := foreignDefault(f, balanceTable, 5, fib.RouteUnicast)
		specific.Dst = hostPrefix(addr(f, 1, 1))
		stranger(t, k, fib.Add, specific)
	}
	want = []fib.Intruder{want[1], want[3], want[0], want[2]} // by table, then family
	if diff := cmp.Diff(want, list(t, k).Intruders, comparers); diff != "" {
		t.Errorf("intruders (-want +got):\n%s", diff)
	}
	got, err := k.Intruders(context.Background(), owner, []uint32{7, 254})
	if err != nil || len(got) != 2 || got[0].Route.Table != 7 || got[1].Route.Table != 7 {
		t.Errorf("intruders of tables 7 and 254: %v, %v, want those of 7", got, err)
	}
}

// asking counts how often it is asked for the intruders of tables.
type asking struct {
	*fibtest.Kernel
	asked [][]uint32
}

func (k *asking) Intruders(ctx context.Context, o fib.Owner, tables []uint32) ([]fib.Intruder, error) {
	k.asked = append(k.asked, tables)
	return k.Kernel.Intruders(ctx, o, tables)
}

// TestWriterLooksOnce: only into tables that are written to for the first time.
func TestWriterLooksOnce(t *testing.T) {
	b := newBench(t)
	k := &asking{Kernel: b.k}
	b.w = fib.NewWriter(k, owner)
	for _, s := range []site{evenSite(2), evenSite(2).with(0, gone), evenSite(2), evenSite(3)} {
		b.clean(b.sync(s.desired()))
	}
	if diff := cmp.Diff([][]uint32{{balanceTable, 1000, 1001}, {1002}}, k.asked); diff != "" {
		t.Errorf("tables asked for (-want +got):\n%s", diff)
	}
}
