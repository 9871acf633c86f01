package status

import "time"

// BGPClosed is the state of a session that is wanted and cannot be tried: its peer is
// not known, or its password cannot be read.
const BGPClosed = "closed"

// BGP is the session that serves a way. Two ways of an uplink share a session that
// carries both families; what is counted is counted for the family of the way.
type BGP struct {
	// Session is the name of the session, such as "fiber/ipv4".
	Session string `json:"session"`
	Peer    string `json:"peer,omitempty"`
	Local   string `json:"local,omitempty"`
	PeerAS  uint32 `json:"peer_as"`
	LocalAS uint32 `json:"local_as"`
	// Import is "default", "prefixes" or "full".
	Import string `json:"import"`
	// State is "shut", "idle", "connect", "active", "open-sent", "open-confirm",
	// "established", "unknown", or BGPClosed.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Trouble is why there is no session, in words; empty if there is one, or if none
	// was tried yet.
	Trouble string `json:"trouble,omitempty"`
	// LastError is why the last session ended; it stays.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Flaps counts sessions that were lost.
	Flaps uint64 `json:"flaps"`
	// RouterID of the peer and the negotiated HoldTime; while established.
	RouterID string  `json:"router_id,omitempty"`
	HoldTime float64 `json:"hold_time_seconds"`
	// Restart: graceful restart was negotiated, and RestartTime is how long the peer
	// asks us to keep its routes.
	Restart     bool    `json:"graceful_restart"`
	RestartTime float64 `json:"restart_time_seconds"`
	// Negotiated: the peer speaks the family. Synced: it has sent its whole table.
	Negotiated bool `json:"negotiated"`
	Synced     bool `json:"synced"`
	// Retained: the paths are those of a session that was lost, and graceful restart
	// keeps them until RetainedUntil.
	Retained      bool      `json:"retained"`
	RetainedUntil time.Time `json:"retained_until,omitzero"`
	// Received counts prefixes, Accepted those that were not refused. Used are those
	// that this way carries at present, absent if that is not known. Stale are those
	// among Received that wait to be sent again.
	Received int  `json:"received"`
	Accepted int  `json:"accepted"`
	Used     *int `json:"used,omitempty"`
	Stale    int  `json:"stale"`
	// MaxPrefixes is at how many the session is ended.
	MaxPrefixes int `json:"max_prefixes"`
	// Refused counts by reason, in the short words of bgp.Reason.
	Refused map[string]int `json:"refused,omitempty"`
	// Default is "accepted", "none", or "refused: " and why.
	Default string `json:"default_route,omitempty"`
	// Draining: the peer announces a graceful shutdown (RFC 8326).
	Draining bool `json:"graceful_shutdown"`
	// Bandwidth that the peer announces, in octets per second; 0 if none.
	Bandwidth float64 `json:"bandwidth_octets_per_second"`
	// Announced is how many prefixes of ours the peer is told, Announces which, and
	// Withheld why it is told less than the configuration says, in words.
	Announced int            `json:"announced"`
	Announces []Announcement `json:"announces,omitempty"`
	Withheld  string         `json:"withheld,omitempty"`
}

// Announcement is a prefix of ours as one peer is told of it.
type Announcement struct {
	Prefix string `json:"prefix"`
	// Communities as they are usually written.
	Communities []string `json:"communities,omitempty"`
	// MED is absent if none is sent.
	MED *uint32 `json:"med,omitempty"`
	// Prepend is how often our AS stands in front once more.
	Prepend int `json:"prepend,omitempty"`
}

// Speaker is what all sessions have in common: the process that speaks, and the
// routes to prefixes.
type Speaker struct {
	AS       uint32 `json:"as"`
	RouterID string `json:"router_id"`
	// Speaking: the process answers. PID is 0 if there is none, Since is when it was
	// started, Starts how often one was.
	Speaking bool      `json:"speaking"`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Starts   uint64    `json:"starts"`
	// Trouble is why there is no process, Error what one that runs cannot do, such as
	// to listen; both in words.
	Trouble string `json:"trouble,omitempty"`
	Error   string `json:"error,omitempty"`
	// Synced: every peer has sent its table after the start, or the time for that has
	// passed. Until then no route is removed, until DeferredUntil at the latest.
	Synced        bool      `json:"synced"`
	DeferredUntil time.Time `json:"deferred_until,omitzero"`
	// RPKI are the caches that validate origins.
	RPKI []RPKICache `json:"rpki,omitempty"`
	// Prefixes is absent where no uplink imports more than a default.
	Prefixes *Prefixes `json:"prefixes,omitempty"`
}

// RPKICache is a server of validated origins (RFC 8210).
type RPKICache struct {
	Address string `json:"address"`
	Up      bool   `json:"up"`
	// Records of both families.
	Records int `json:"records"`
}

// Prefixes is about the routes to prefixes in the kernel, of both families.
type Prefixes struct {
	Table uint32 `json:"table"`
	// Routes are in the kernel. Pending are to be written; Waiting among them wait
	// for their group. Unclaimed were left by a previous life and not told again yet.
	Routes    int `json:"routes"`
	Pending   int `json:"pending"`
	Waiting   int `json:"waiting"`
	Unclaimed int `json:"unclaimed"`
	// Groups is how many groups they lead to.
	Groups int `json:"groups"`
	// Written counts writes, Failed refusals by the kernel, Repaired what vanished or
	// was changed by others.
	Written  uint64 `json:"written"`
	Failed   uint64 `json:"failed"`
	Repaired uint64 `json:"repaired"`
	// Error is the last refusal that still stands.
	Error string `json:"error,omitempty"`
}
