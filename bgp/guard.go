package bgp

import (
	"fmt"
	"runtime/debug"
)

// guard turns a panic of a handler into the end of Run: the goroutine is the
// library's, and the process would end with it.
func (s *Speaker) guard(where string) {
	if p := recover(); p != nil { //nolint:revive // It is deferred by those who call the library.
		select {
		case s.fatal <- fmt.Errorf("%s: panic: %v\n%s", where, p, debug.Stack()):
		default:
		}
	}
}
