// Command conformance says which clauses of docs/conformance.md are shown, by which
// tests, and whether those tests pass here and now. It reads the page, runs the tests
// that it names, all of them once, and prints the rows with their results:
//
//	go run ./internal/conformance              # everything; as root, for namespaces
//	go run ./internal/conformance -rows BFD-RX # one series, or one row
//	go run ./internal/conformance -list        # what is named, without running it
//	go run ./internal/conformance -o markdown
//
// It exits with 1 if a test failed or did not run, and with 2 if it was asked for
// something that it does not know. While tests run, progress goes to stderr.
//
// The page is read by the package beside it. Nothing here judges what a test shows:
// that is for whoever writes the row.
package main
