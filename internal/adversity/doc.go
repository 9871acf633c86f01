// Package adversity shows what the daemon does when others behave badly: peers that
// send what is no UPDATE, that flap, never finish, send too much or stop reading, and
// its own violent death with a full table.
//
// Each of [Malformed], [Misbehaviour] and [Restart] builds a site in network
// namespaces, runs the whole daemon on its edge, sends traffic through it, and returns a
// [Report]: what was counted, and which of the things that must not be were seen. Tests
// run them for seconds, bench for as long as somebody wants.
//
// # Goroutines and blocking
//
// All three block until they are done. Each peer that misbehaves has a goroutine, and
// so have the watch over the daemon and the one over the kernel; all have ended on
// return, and the site is gone. Nothing outside of its namespaces is changed.
package adversity
