package engine

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent lets the heap grow to five times what lives before it is collected.
// A few megabytes live; a collection that runs beside a failover with 64 uplinks
// doubles its 99th percentile (BenchmarkFailover), and memory is not what is short.
const gcPercent = 400

// A goroutine that wakes needs one of GOMAXPROCS to run on, and waits for it behind
// those that compute, for up to 10 ms each. With more of them than processors it is the
// kernel that shares the processors out, and it favours who slept: BFD sends in time,
// and its news are acted on at once, while something else is busy (bfd.Speaker.Run has
// figures).
const (
	procsPerCPU = 4
	procsLeast  = 8
)

// TuneRuntime sets the pace of the garbage collector and the width of the scheduler for
// a process that runs an Engine. It respects the variables GOGC and GOMAXPROCS.
func TuneRuntime() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(procsLeast, procsPerCPU*runtime.NumCPU()))
	}
}
