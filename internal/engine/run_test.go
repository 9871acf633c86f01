package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/fib/fibtest"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/speaker"
	"github.com/multihomed/multihomed/internal/status"
	"github.com/multihomed/multihomed/internal/uplink"
)

// daemon is an engine that runs in a bubble.
type daemon struct {
	*Engine
	fake     *fibtest.Kernel
	host     *monitor
	log      *journal
	readies  atomic.Int32
	changes  atomic.Int32
	reports  atomic.Int32
	mu       sync.Mutex // guards probers, speaker and voices
	probers  []*prober
	speaker  *bfdSpeaker
	voices   []*voice
	stop     context.CancelFunc
	finished chan error
}

func start(t *testing.T, text string, s *netmon.Snapshot) *daemon {
	t.Helper()
	return startOn(t, fibtest.New(), "", text, s)
}

// startOn starts a daemon on a kernel that another one may have written, with its memory.
func startOn(t *testing.T, k *fibtest.Kernel, memory, text string, s *netmon.Snapshot) *daemon {
	t.Helper()
	d := &daemon{fake: k, host: &monitor{s: s}, log: &journal{}, finished: make(chan error, 1)}
	d.Engine = New(Options{
		Config: parseConfig(t, text), Path: "test.yaml", Kernel: d.fake, Log: d.log.logger(),
		NewMonitor: func(_ netmon.Config, poke func()) Monitor {
			d.host.poke = poke
			return d.host
		},
		NewProber: func(c probe.Config, report func(probe.Report)) Prober {
			p := &prober{config: c, report: report}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.probers = append(d.probers, p)
			return p
		},
		NewSpeaker: func(bfd.Options) (Speaker, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.speaker != nil && d.speaker.runs() {
				t.Error("another speaker while one runs")
			}
			d.speaker = newSpeaker()
			return d.speaker, nil
		},
		NewBGP: func(o speaker.Options) BGP {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.voices = append(d.voices, newVoice(o))
			return d.voices[len(d.voices)-1]
		},
		Bulk: d.fake, Memory: memory,
		OnWrite: func(fib.Report, fib.Desired) { d.reports.Add(1) },
		Ready:   func() { d.readies.Add(1) },
		Changed: func() { d.changes.Add(1) },
	})
	ctx, stop := context.WithCancel(t.Context())
	d.stop = stop
	go func() { d.finished <- d.Run(ctx) }()
	synctest.Wait()
	return d
}

// end stops the daemon and checks that nothing of it goes on.
func (d *daemon) end(t *testing.T) {
	t.Helper()
	d.stop()
	synctest.Wait()
	select {
	case err := <-d.finished:
		if err != nil {
			t.Errorf("Run returned %v", err)
		}
	default:
		t.Fatal("Run does not return")
	}
	if n := d.fake.Watchers(); n != 0 {
		t.Errorf("%d kernel watchers are left", n)
	}
	for _, p := range d.probers {
		if !p.ended {
			t.Errorf("the prober of %s is left", p.config.Uplink)
		}
	}
	if n := d.log.count("level=ERROR"); n != 0 {
		t.Errorf("%d errors logged", n)
	}
}

func (d *daemon) way(t *testing.T, name string) status.Way {
	t.Helper()
	return wayOf(t, d.Status(), name, "ipv4")
}

// TestRun_life: nothing before the host was seen, everything after, and nothing is taken
// back at the end. The bubble itself fails if a goroutine is left.
func TestRun_life(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, twoUplinks, nil)
		time.Sleep(10 * time.Second)
		if d.fake.Text() != "" || d.readies.Load() != 0 || d.fake.Calls() != 0 || d.host.runs != 1 || d.fake.Watchers() != 1 {
			t.Errorf("before the host was seen: %d calls, %d monitors, %d watchers", d.fake.Calls(), d.host.runs, d.fake.Watchers())
		}
		d.host.see(twoLinks(t))
		synctest.Wait()
		if !d.fake.HasDefault(221, fib.IPv4) || !d.fake.HasDefault(221, fib.IPv6) || d.readies.Load() != 1 || d.reports.Load() != 1 || !d.Status().Ready {
			t.Errorf("after: ready %d, %d reports\n%s", d.readies.Load(), d.reports.Load(), d.fake.Text())
		}
		before, changes := d.fake.Text(), d.changes.Load()
		time.Sleep(10 * time.Minute)
		if d.fake.Text() != before || d.readies.Load() != 1 || d.reports.Load() != 1 {
			t.Error("the daemon does not rest")
		}
		if n := d.changes.Load() - changes; n > 40 {
			t.Errorf("%d looks in ten minutes in which nothing happened", n)
		}
		d.end(t)
		if d.fake.Text() != before {
			t.Error("the kernel lost something at the end")
		}
	})
}

// TestRun_failover: evidence acts without the passing of time, and comes back after it.
func TestRun_failover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, twoUplinks, twoLinks(t))
		defer d.end(t)
		tell := func(o uplink.Opinion) {
			d.Board().Put(uplink.Evidence{Source: uplink.Source{Way: wayA, Kind: uplink.KindBFD}, Opinion: o, Reason: "told so"})
			synctest.Wait()
		}
		time.Sleep(time.Second)
		tell(uplink.Down)
		if w := d.way(t, "a"); w.Verdict != "dead" || w.Role != "standby" {
			t.Errorf("a is %s %s", w.Verdict, w.Role)
		}
		tell(uplink.Up)
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if w := d.way(t, "a"); w.Verdict != "held" {
			t.Errorf("before its time a is %s", w.Verdict)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if w := d.way(t, "a"); w.Verdict != "live" || w.Role != "active" {
			t.Errorf("after its time a is %s %s", w.Verdict, w.Role)
		}
	})
}

// TestRun_repair: what a stranger takes is back within 100 ms.
func TestRun_repair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, twoUplinks, twoLinks(t))
		defer d.end(t)
		time.Sleep(time.Second)
		before := d.fake.Text()
		if err := d.fake.Stranger(fib.Op{Verb: fib.Delete, Protocol: 221, Object: fib.Rule{Family: fib.IPv6, Priority: 221, Table: 221}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if s := d.Status().Kernel; d.fake.Text() != before || s.Drifts != 1 || !s.InSync {
			t.Errorf("%d drifts, in sync %t\n%s", s.Drifts, s.InSync, d.fake.Text())
		}
	})
}

// TestRun_silence: what vanished without an event is back within the interval of full
// reads.
func TestRun_silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, twoUplinks, twoLinks(t))
		defer d.end(t)
		time.Sleep(time.Second)
		before := d.fake.Text()
		d.fake.SetLink(2, false)
		d.fake.SetLink(2, true)
		if d.fake.Text() == before {
			t.Fatal("nothing vanished")
		}
		time.Sleep(fib.FullRead + time.Second)
		synctest.Wait()
		if d.fake.Text() != before {
			t.Errorf("after a minute:\n%s", d.fake.Text())
		}
	})
}

// TestRun_reload goes through the channel that a signal uses, and does not wait for a
// loop that is gone.
func TestRun_reload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, twoUplinks, twoLinks(t))
		d.Reload(t.Context(), parseConfig(t, "uplinks: [{name: c, interface: eth2, gateway: 198.51.100.1}]"))
		synctest.Wait()
		if w := d.way(t, "c"); w.Role != "active" || len(d.Config().Uplinks) != 1 {
			t.Errorf("c is %s", w.Role)
		}
		d.ReloadFailed(t.Context(), errTest)
		synctest.Wait()
		if got := d.Status().ConfigError; got != errTest.Error() {
			t.Errorf("the status says %q", got)
		}
		d.end(t)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		d.Reload(ctx, d.Config())
	})
}

// TestRun_probersFollow: probers end when their way does, and all with the daemon.
func TestRun_probersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, probed, hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"))
		if len(d.probers) != 2 {
			t.Fatalf("%d probers", len(d.probers))
		}
		i := slices.IndexFunc(d.probers, func(p *prober) bool { return p.config.Uplink == "a" })
		d.probers[i].say(probe.Down)
		synctest.Wait()
		if w := d.way(t, "a"); w.Verdict != "dead" {
			t.Errorf("a is %s", w.Verdict)
		}
		d.host.see(hostOf(t, "eth1 2 203.0.113.2/24 nocarrier", "eth2 3 198.51.100.2/24"))
		synctest.Wait()
		if !d.probers[i].ended || d.probers[1-i].ended {
			t.Error("the wrong prober ended")
		}
		d.end(t)
	})
}

// TestRun_monitorPanics: the daemon and the forwarding go on without it.
func TestRun_monitorPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, host, log := fibtest.New(), &panicking{monitor: monitor{s: twoLinks(t)}}, &journal{}
		e := New(Options{
			Config: parseConfig(t, twoUplinks), Kernel: fake, Log: log.logger(),
			NewMonitor: func(netmon.Config, func()) Monitor { return host },
			NewProber:  func(probe.Config, func(probe.Report)) Prober { return idleProber{} },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		if w := wayOf(t, e.Status(), "a", "ipv6"); w.Role != "active" || !fake.HasDefault(221, fib.IPv6) {
			t.Errorf("a is %s", w.Role)
		}
		if n := log.count("started again", "task=monitor", "no more"); n < 5 || n > 20 {
			t.Errorf("%d deaths logged", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// panicking is a monitor that cannot run.
type panicking struct{ monitor }

func (p *panicking) Run(context.Context) { panic("no more") }

// TestRun_statusFromOutside: anybody may look, put and poke at any time.
func TestRun_statusFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, probed, hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 100 {
					d.Status()
					d.Config()
					d.Board().Put(uplink.Evidence{Source: uplink.Source{Way: wayA, Kind: uplink.KindBFD}, Opinion: uplink.Opinion(i % 3)})
					d.fake.Notify("something")
				}
			})
		}
		for range 20 {
			d.host.see(hostOf(t, "eth1 2 203.0.113.2/24", "eth2 3 198.51.100.2/24"))
			d.Reload(t.Context(), parseConfig(t, probed))
		}
		all.Wait()
		d.end(t)
	})
}

// TestRun_endedBefore: whatever else is waiting, nothing is written after the end.
func TestRun_endedBefore(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c, s := parseConfig(t, twoUplinks), twoLinks(t)
	for range 50 { // The choice among what is ready is random.
		fake := fibtest.New()
		e := New(Options{
			Config: c, Kernel: fake, Log: discard,
			NewMonitor: func(netmon.Config, func()) Monitor { return &monitor{s: s} },
			NewProber:  func(probe.Config, func(probe.Report)) Prober { return idleProber{} },
		})
		e.Board().Poke()
		e.changes.Put("something")
		if err := e.Run(ctx); err != nil || fake.Calls() != 0 {
			t.Fatalf("%d kernel calls, error %v", fake.Calls(), err)
		}
	}
}
