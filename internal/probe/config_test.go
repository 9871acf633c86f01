package probe

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

func fullConfig() Config {
	return Config{
		Uplink: "a", Device: "eth1", Mark: 1,
		Source:   netip.MustParseAddr("192.0.2.2"),
		Gateway:  netip.MustParseAddr("192.0.2.1"),
		Targets:  []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")},
		Interval: 200 * time.Millisecond, Timeout: 100 * time.Millisecond,
		Down: 3, Up: 2, LossEnter: 0.4, LossLeave: 0.2,
		LatencyEnter: 300 * time.Millisecond, LatencyLeave: 200 * time.Millisecond,
	}
}

// Every field counts: a new one that Equal forgets fails here.
func TestConfigEqual(t *testing.T) {
	base := fullConfig()
	same := fullConfig()
	if !base.Equal(same) {
		t.Fatal("two equal values differ")
	}
	kind := reflect.TypeFor[Config]()
	for i := range kind.NumField() {
		other := fullConfig()
		reflect.ValueOf(&other).Elem().Field(i).SetZero()
		if base.Equal(other) || other.Equal(base) {
			t.Errorf("Equal does not see field %s", kind.Field(i).Name)
		}
	}
	other := fullConfig()
	slices.Reverse(other.Targets)
	if base.Equal(other) {
		t.Error("Equal does not see the order of the targets")
	}
}

func TestConfigNormal(t *testing.T) {
	c := Config{Source: netip.MustParseAddr("::ffff:192.0.2.2"), LossLeave: 0.5, LatencyEnter: time.Second}.normal()
	if c.Interval != time.Second || c.Timeout != time.Second || c.Down != 1 || c.Up != 1 {
		t.Errorf("defaults: %+v", c)
	}
	if !c.Source.Is4() || c.LossLeave != 0 || c.LatencyLeave != time.Second {
		t.Errorf("defaults: %+v", c)
	}
	c = Config{Interval: time.Nanosecond, Timeout: time.Hour, Down: 2000, Up: 2000}.normal()
	if c.Interval != 10*time.Millisecond || c.Timeout != 10*time.Second || c.Down != 1000 || c.Up != 1000 {
		t.Errorf("limits: %+v", c)
	}
	original := fullConfig()
	copied := original.normal()
	original.Targets[0] = netip.Addr{}
	if !copied.Targets[0].IsValid() {
		t.Error("targets are shared with the caller")
	}
}

// Every value has a word of its own; one beyond the last panics.
func TestEnumStrings(t *testing.T) {
	seen := map[string]bool{}
	for o := Unknown; o <= Down; o++ {
		seen[o.String()] = true
	}
	for i := Believed; i < ignoredReasons; i++ {
		seen[i.String()] = true
	}
	if want := int(Down) + 1 + int(ignoredReasons); len(seen) != want {
		t.Errorf("%d distinct words, want %d", len(seen), want)
	}
	for _, beyond := range []func(){
		func() { _ = (Down + 1).String() },
		func() { _ = ignoredReasons.String() },
	} {
		if !panics(beyond) {
			t.Error("an unknown value has a word")
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestIgnoredCountsAll(t *testing.T) {
	var c IgnoredCounts
	c[IgnoredLate] = 7
	got := map[string]uint64{}
	for why, n := range c.All() {
		got[why.String()] = n
	}
	if len(got) != int(ignoredReasons)-1 || got["late"] != 7 {
		t.Errorf("All yields %v", got)
	}
}
