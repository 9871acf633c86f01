package lab

import (
	"os"
	"os/signal"
	"runtime"
	"strconv"
)

func itoa(n int) string { return strconv.Itoa(n) }

func goexit() { runtime.Goexit() }

func notify(c chan<- os.Signal, s os.Signal) { signal.Notify(c, s) }
