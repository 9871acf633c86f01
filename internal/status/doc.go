// Package status serves what the daemon knows to the operator: a JSON document
// and Prometheus metrics over a unix socket, and the client and the table view
// that `multihomed status` prints. It also takes what an operator asks for: the
// paths of a prefix, and drains ([WithRoutes], [WithDrainer]).
//
// [Status] is the contract: its JSON field names are stable and use the words of
// the project. The engine builds the value; this package knows nothing else of
// the engine. The socket is made with mode 0600, and a socket that a crashed
// daemon left behind is replaced, but never one that somebody still answers.
package status
