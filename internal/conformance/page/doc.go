// Package page reads docs/conformance.md and finds the tests that it names in the
// tree. Two need that: the fences hold the page against the tree, and the command
// beside this package runs the tests and says what they showed.
//
// It reads files and nothing else: no goroutines, no processes.
package page
