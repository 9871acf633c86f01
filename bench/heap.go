package main

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

const (
	heapSessions = 16
	heapInterval = 10 * time.Millisecond
)

// Figures of this scenario alone.
const (
	keyExpired    = "expiries_candidate"
	keyFarExpired = "expiries_far_end"
	keyProcs      = "gomaxprocs"
	keyAllocated  = "allocated_mib_per_second"
	keyLive       = "live_heap_mib"
	keyCycles     = "gc_cycles"
	keyPause      = "worst_gc_pause_ms"
)

var heapScenario = scenario{
	name: "bfd-heap",
	about: fmt.Sprintf("%d sessions at 3 x %v in a process with a large heap that allocates all the time, against a process that does nothing else. "+
		"No session may expire, on either side.", heapSessions, heapInterval),
	columns: []column{
		{Key: keyProcs, Title: "GOMAXPROCS"},
		{Key: keyUp, Title: "sessions up"},
		{Key: keyExpired, Title: "expiries here"},
		{Key: keyFarExpired, Title: "expiries at the far end"},
		{Key: keyLateness, Title: "worst lateness, ms", Digits: 1},
		{Key: keyFarLate, Title: "worst lateness of the far end, ms", Digits: 1},
		{Key: keyLive, Title: "live heap, MiB"},
		{Key: keyAllocated, Title: "allocated, MiB/s"},
		{Key: keyCycles, Title: "collections"},
		{Key: keyPause, Title: "worst GC pause, ms", Digits: 2},
		{Key: keyCore, Title: "CPU, % of a core", Digits: 1},
		{Key: keyPeak, Title: "peak memory, MiB"},
		{Key: keyOthers, Title: "CPU of all else on the machine, % of a core"},
	},
	bare: true,
	run:  (*bench).heap,
}

func (b *bench) heap(ctx context.Context, t *table) error {
	s := b.options.setting(heapSessions, false)
	s.interval = heapInterval
	for _, spinners := range []int{0, runtime.NumCPU()} {
		for _, procs := range b.options.procs {
			c := own{procs: procs, load: load{
				LiveBytes: b.options.heap << 20, BytesPerSecond: b.options.allocate << 20, Spinners: spinners,
			}}
			name := "cores idle otherwise, " + procsName(procs)
			if spinners > 0 {
				name = fmt.Sprintf("%d goroutines compute, %s", spinners, procsName(procs))
			}
			if err := b.contest(ctx, t, name, []entrant{{c.name(), func(ctx context.Context) (sample, error) {
				return b.try(ctx, c, s, func(t *trial) (sample, error) {
					m, err := t.measure(ctx, b.options.duration, nil)
					return m.heapFigures(), err
				})
			}}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func procsName(procs int) string {
	if procs == 0 {
		return "GOMAXPROCS as by default"
	}
	return fmt.Sprintf("GOMAXPROCS %d", procs)
}

func (m measurement) heapFigures() sample {
	s := m.figures(heapSessions)
	took := m.after.at.Sub(m.before.at).Seconds()
	l := m.after.own.Load
	s[keyProcs] = float64(l.Procs)
	s[keyExpired] = float64(m.after.own.Expired)
	s[keyFarExpired] = float64(m.after.far.Expired)
	s[keyLive] = float64(l.LiveBytes) / (1 << 20)
	s[keyAllocated] = float64(l.Allocated) / (1 << 20) / took
	s[keyCycles] = float64(l.Cycles)
	s[keyPause] = milliseconds(l.WorstPause)
	return s
}
