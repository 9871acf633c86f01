// Package bgp is the BGP part of an edge that is a customer of its peers: it
// keeps sessions with upstreams, judges what they announce, ranks it, and
// announces our own prefixes. The protocol is spoken by GoBGP, which no exported
// name shows.
//
// A [Speaker] is told the whole of what is wanted ([Speaker.Set]) and makes its
// sessions, policies and announcements equal to that. It is asked for two things:
// what is thought of each session ([Speaker.Status]), and which prefixes are
// reached by whom ([Speaker.Next]).
//
//	speaker := bgp.NewSpeaker(bgp.Options{Changed: look})
//	go speaker.Run(ctx)
//	err := speaker.Set(config)
//	for batch := range ... { batch, err = speaker.Next(ctx, batch.Routes[:0]) }
//
// # The way of the data
//
//	UPDATE ─▶ GoBGP: FSM, codec, RFC 7606 ─▶ judge (pure): accepted, or a Reason
//	                                              ▼
//	          per family: prefix ─▶ a rank per peer ─▶ Choice (pure) ─▶ Next
//
// GoBGP's own tables take no part in that. Its import policy rejects everything
// that comes from a peer, so its local table holds our own prefixes and nothing
// else: a route of one upstream cannot leak to another, whatever is configured,
// because it is not there. What we judge and rank are the paths as they were
// received.
//
// # Choices, not next hops
//
// What is known of a prefix is which peers offer it and in what order: a [Choice],
// of two bits per peer. There are few different ones, however many prefixes there
// are, so whoever writes routes can point prefixes at one group of next hops per
// choice, and a dead uplink is a rewrite of those groups. A Choice says nothing
// of who is alive: it does not change when an uplink dies.
//
// # Sessions that are lost
//
// The paths of a lost session are kept, and marked, until the peer has sent its
// table again (the rest is swept then, at End-of-RIB) or a time has passed: the
// restart time that graceful restart negotiated (RFC 4724), or a short one without
// it, since the one who forwards knows from the Status that the session is down.
// [FamilyStatus.Retained] says which of the two it is. So a peer that flaps costs
// no rewriting of a full table.
//
// # Safe by default
//
// Nothing is accepted or announced that was not asked for (RFC 8212), and policies
// are in place before a peer is. See [Import] and [Reason] for what is refused.
//
// # Goroutines and blocking
//
// Those of GoBGP, and two that hear its events: one for the states of sessions,
// which never waits behind the other, for paths. [Speaker.Run] ends them all.
// Set blocks while GoBGP takes the configuration; Status never blocks; Next blocks
// until a choice changes, and while nobody calls it changes are kept per prefix,
// not in a queue that grows.
//
// References: RFC 4271, 4724, 5082, 6811, 7606, 7999, 8212, 8326, 8538, 8950;
// BCP 194 (RFC 7454); RFC 4486 and 9003 for the words of a Cease.
package bgp
