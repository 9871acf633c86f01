package main

import "time"

// Keys of the figures that scenarios share.
const (
	keyUp        = "sessions_up"
	keyStartup   = "startup_seconds"
	keyFlaps     = "flaps_candidate"
	keyFarFlaps  = "flaps_far_end"
	keyCPU       = "cpu_us_per_second_and_session"
	keyCore      = "cpu_percent_of_a_core"
	keyPacket    = "cpu_us_per_packet"
	keyPackets   = "packets_per_second"
	keyPeak      = "peak_memory_mib"
	keyLateness  = "worst_lateness_ms"
	keyFarLate   = "worst_lateness_far_end_ms"
	keyOverflows = "receive_buffer_overflows"
	keyOthers    = "others_percent_of_a_core"
)

// basics are the columns that every scenario with several candidates has.
var basics = []column{
	{Key: keyUp, Title: "sessions up"},
	{Key: keyStartup, Title: "from start to all up, s", Digits: 1},
	{Key: keyFlaps, Title: "flaps seen by it"},
	{Key: keyFarFlaps, Title: "flaps seen by the far end"},
	{Key: keyCPU, Title: "CPU per session, µs/s", Digits: 1, Cost: true},
	{Key: keyCore, Title: "CPU, % of a core", Digits: 2, Cost: true},
	{Key: keyPackets, Title: "packets/s, both ways"},
	{Key: keyPacket, Title: "CPU per packet, µs", Digits: 2, Cost: true},
	{Key: keyPeak, Title: "peak memory, MiB", Digits: 1, Cost: true},
	{Key: keyLateness, Title: "worst lateness, ms", Digits: 1},
	{Key: keyFarLate, Title: "worst lateness of the far end, ms", Digits: 1},
	{Key: keyOthers, Title: "CPU of all else on the machine, % of a core"},
}

// figures turns a measurement of so many sessions into them.
func (m measurement) figures(sessions int) sample {
	took := m.after.at.Sub(m.before.at).Seconds()
	cpu := (m.after.usage.cpu - m.before.usage.cpu).Seconds()
	// Hundredths of a second on one side, nanoseconds on the other: a quiet machine
	// may come out a little below nothing.
	others := m.after.busy - m.before.busy - (m.after.usage.cpu - m.before.usage.cpu) - (m.after.farUsage.cpu - m.before.farUsage.cpu)
	packets := float64(m.after.packets - m.before.packets)
	s := sample{
		keyUp:        float64(m.up),
		keyStartup:   m.startup.Seconds(),
		keyFlaps:     float64(m.after.flaps - m.before.flaps),
		keyFarFlaps:  float64(m.after.far.Flaps),
		keyCPU:       1e6 * cpu / took / float64(sessions),
		keyCore:      100 * cpu / took,
		keyPackets:   packets / took,
		keyPeak:      float64(m.after.usage.peak) / (1 << 20),
		keyOthers:    100 * max(others, 0).Seconds() / took,
		keyFarLate:   milliseconds(m.after.far.WorstLateness),
		keyOverflows: float64(m.after.overflows - m.before.overflows),
	}
	if packets > 0 {
		s[keyPacket] = 1e6 * cpu / packets
	}
	if m.after.own.Up > 0 || m.after.own.Sent > 0 {
		s[keyLateness] = milliseconds(m.after.own.WorstLateness)
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
