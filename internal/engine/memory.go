package engine

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow to five times what lives before it is collected.
// A few megabytes live; a collection that runs beside a failover with 64 uplinks
// doubles its 99th percentile (BenchmarkFailover), and memory is not what is short.
const gcPercent = 400

// TuneMemory sets the pace of the garbage collector for a process that runs an
// Engine. It respects the GOGC variable.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
