package bfd

import (
	"testing"
	"time"
)

// A session that gives way to another with the same peer says once that it is
// administratively down, so that the peer does not see a failure, and nothing more.
func TestBFD_AD_04_Replaced(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		w, a, b := twoEnds(t, f.asyncConf(), nil)
		w.meet()
		old := a.session
		conf := a.core.conf
		conf.Local = f.odd
		a.table.close(old, w.now)
		s, err := a.table.open(conf, nil, w.now)
		if err != nil {
			t.Fatal(err)
		}
		if s == old || s.core.localDiscr == old.core.localDiscr {
			t.Fatal("the old session was taken over, although its address is another")
		}
		a.table.consistent(t, w.now)
		sent := len(a.wire.shots)
		second := wire{w: w, to: b, port: portSingleHop, src: f.a, dst: f.b, ttl: 255, delay: time.Millisecond}
		a.table.attach(s, a.link, &second)
		a.session = s
		w.meet()
		if got := a.wire.shots[sent:]; len(got) != 1 || got[0].State != AdminDown || got[0].MyDiscriminator != old.core.localDiscr {
			t.Errorf("the old session sent %v, want one packet that says admin-down", got)
		}
		if b.status().Failures != 0 {
			t.Errorf("the peer saw a failure: %v", b.events)
		}
		a.table.consistent(t, w.now)
		if n := len(a.table.byDiscriminator); n != 1 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// Mark and echo source are not the peer's business: they change while the session runs.
func TestUpdate_notThePeersBusiness(t *testing.T) {
	c := Config{Mode: Echo, Peer: v4.b, Local: v4.a, Interface: "eth1", EchoSource: v4.odd}
	w := newWorld(t)
	e := w.add(1, c)
	for _, change := range []func(*Config){
		func(c *Config) { c.Mark = 7 }, func(c *Config) { c.EchoSource = v4.farA },
	} {
		change(&c)
		if err := e.table.update(e.session, c); err != nil {
			t.Errorf("update: %v", err)
		}
	}
	if got := e.core.echo.source; got != v4.farA {
		t.Errorf("echoes come from %s", got)
	}
	c.Local = v4.farB
	if err := e.table.update(e.session, c); err == nil {
		t.Error("another local address was taken without another session")
	}
}
