package bfd

import (
	"testing"
)

// cell is what follows a state and an event; kept is no diagnostic of its own.
type cell struct {
	to   State
	diag Diag
}

// kept stands for the diagnostic of before.
const kept Diag = 0x7f

// wantedCells is the table of RFC 5880 sections 6.2, 6.8.4, 6.8.6, 6.8.15 and 6.8.16
// as read from the text, one line for every pair.
var wantedCells = []struct {
	from State
	on   string
	want cell
}{
	{AdminDown, "hears admin-down", cell{AdminDown, kept}},
	{AdminDown, "hears down", cell{AdminDown, kept}},
	{AdminDown, "hears init", cell{AdminDown, kept}},
	{AdminDown, "hears up", cell{AdminDown, kept}},
	{AdminDown, "expires", cell{AdminDown, kept}},
	{AdminDown, "is disabled", cell{AdminDown, kept}},
	{AdminDown, "is enabled", cell{Down, kept}},
	{AdminDown, "loses its forwarding state", cell{AdminDown, kept}},

	{Down, "hears admin-down", cell{Down, kept}},
	{Down, "hears down", cell{Init, kept}},
	{Down, "hears init", cell{Up, kept}},
	{Down, "hears up", cell{Down, kept}},
	{Down, "expires", cell{Down, kept}},
	{Down, "is disabled", cell{AdminDown, DiagAdminDown}},
	{Down, "is enabled", cell{Down, kept}},
	{Down, "loses its forwarding state", cell{Down, DiagForwardingReset}},

	{Init, "hears admin-down", cell{Down, DiagNeighborSignaledDown}},
	{Init, "hears down", cell{Init, kept}},
	{Init, "hears init", cell{Up, kept}},
	{Init, "hears up", cell{Up, kept}},
	{Init, "expires", cell{Down, DiagTimeExpired}},
	{Init, "is disabled", cell{AdminDown, DiagAdminDown}},
	{Init, "is enabled", cell{Init, kept}},
	{Init, "loses its forwarding state", cell{Down, DiagForwardingReset}},

	{Up, "hears admin-down", cell{Down, DiagNeighborSignaledDown}},
	{Up, "hears down", cell{Down, DiagNeighborSignaledDown}},
	{Up, "hears init", cell{Up, kept}},
	{Up, "hears up", cell{Up, kept}},
	{Up, "expires", cell{Down, DiagTimeExpired}},
	{Up, "is disabled", cell{AdminDown, DiagAdminDown}},
	{Up, "is enabled", cell{Up, kept}},
	{Up, "loses its forwarding state", cell{Down, DiagForwardingReset}},
}

// happens makes something happen to a session.
func (r *rig) happens(t *testing.T, what string) {
	t.Helper()
	hear := func(s State) {
		want := DropNone
		if r.core.state == AdminDown {
			want = DropAdminDown
		}
		if got := r.hear(inState(s)); got != want {
			t.Fatalf("packet in state %s: %s, want %s", s, got, want)
		}
	}
	switch what {
	case "hears admin-down":
		hear(AdminDown)
	case "hears down":
		hear(Down)
	case "hears init":
		hear(Init)
	case "hears up":
		hear(Up)
	case "expires":
		r.run(4 * r.core.detection())
	case "is disabled":
		r.table.setAdmin(r.session, true, r.now)
	case "is enabled":
		r.table.setAdmin(r.session, false, r.now)
	case "loses its forwarding state":
		r.table.forwardingReset(r.session, r.now)
	default:
		t.Fatalf("what is %q?", what)
	}
}

// Every pair of a state and an event, through the whole session.
func TestBFD_ST_01_BFD_RX_22_BFD_RX_23_BFD_TM_10_BFD_AD_01(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range wantedCells {
		t.Run(c.from.String()+" "+c.on, func(t *testing.T) {
			name := c.from.String() + c.on
			if seen[name] {
				t.Fatal("twice in the table")
			}
			seen[name] = true
			r := newRig(t, v4.asyncConf())
			r.bring(c.from)
			switch {
			case c.on != "expires":
			case c.from == Down:
				r.take(inState(Up))
			case c.from == AdminDown:
				// The silence has begun before.
				r = newRig(t, v4.asyncConf())
				r.bring(Up)
				r.table.setAdmin(r.session, true, r.now)
				r.settle()
				r.events = nil
			}
			// A diagnostic that no event sets shows that it is kept.
			r.core.diag = DiagReverseConcatenatedPathDown
			want := c.want.diag
			if want == kept {
				want = r.core.diag
			}
			r.happens(t, c.on)
			r.mustBe(c.want.to, want)
			r.settle()
			changed := 0
			if c.from != c.want.to {
				changed = 1
			}
			news := 0
			for _, e := range r.events {
				if e.Old == c.from && e.New == c.want.to && e.Diag == want {
					news++
				}
			}
			if news != changed {
				t.Errorf("told %d times of %s to %s, want %d: %v", news, c.from, c.want.to, changed, r.events)
			}
		})
	}
	if want := 4 * 8; len(seen) != want {
		t.Errorf("%d pairs of states and events, want %d", len(seen), want)
	}
}

// The same at the table itself, for cells that a session has no use for as well.
func TestBFD_ST_01_BFD_RX_23_Cells(t *testing.T) {
	names := map[string]event{
		"hears admin-down": remoteAdminDown, "hears down": remoteDown, "hears init": remoteInit, "hears up": remoteUp,
		"expires": expire, "is disabled": disable, "is enabled": enable, "loses its forwarding state": forwardingReset,
	}
	if len(names) != int(events) {
		t.Errorf("%d events have a name, there are %d", len(names), events)
	}
	for _, c := range wantedCells {
		want := transition{c.want.to, c.want.diag}
		if want.diag == kept {
			want.diag = keepDiag
		}
		if got := c.from.next(names[c.on]); got != want {
			t.Errorf("%s %s: %+v, want %+v", c.from, c.on, got, want)
		}
	}
}

func TestTransitionRefuses(t *testing.T) {
	for _, f := range []func(){
		func() { State(4).next(expire) },
		func() { Up.next(events) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic for a state or an event that does not exist")
				}
			}()
			f()
		}()
	}
}
