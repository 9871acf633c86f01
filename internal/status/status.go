package status

import "time"

// Status is everything that the daemon tells about itself. Durations are in
// seconds, shares between 0 and 1, unless the name says otherwise.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Now is when this document was made.
	Now time.Time `json:"now"`
	// Config is the file in use and ConfigError why a newer one is not.
	Config      string `json:"config"`
	ConfigError string `json:"config_error,omitempty"`
	// Ready is true once every input has spoken and the kernel was written.
	Ready   bool     `json:"ready"`
	Kernel  Kernel   `json:"kernel"`
	Uplinks []Uplink `json:"uplinks"`
	// BGP is what all sessions have in common; absent where there is none.
	BGP *Speaker `json:"bgp,omitempty"`
	// Warnings are things that an operator should look at.
	Warnings []string `json:"warnings,omitempty"`
}

// Kernel is about the forwarding state.
type Kernel struct {
	// Mode is "resilient groups", "groups" or "multipath routes".
	Mode string `json:"mode"`
	// InSync is false while an op fails or waits to be retried.
	InSync bool `json:"in_sync"`
	// Errors are the ops that fail at present, with the kernel's words.
	Errors []string `json:"errors,omitempty"`
	// Drifts counts the repairs of what strangers changed; LastDrift names the
	// last one.
	Drifts      uint64    `json:"drifts"`
	LastDrift   string    `json:"last_drift,omitempty"`
	LastDriftAt time.Time `json:"last_drift_at,omitzero"`
	// Writes counts ops; LastChange names the last verdict or write.
	Writes       uint64    `json:"writes"`
	LastChange   string    `json:"last_change,omitempty"`
	LastChangeAt time.Time `json:"last_change_at,omitzero"`
	// Resyncs counts full reads of the kernel.
	Resyncs uint64 `json:"resyncs"`
}

// Uplink is one configured uplink.
type Uplink struct {
	Name      string `json:"name"`
	Interface string `json:"interface"`
	Weight    int    `json:"weight"`
	Tier      int    `json:"tier"`
	Table     uint32 `json:"table"`
	Mark      uint32 `json:"mark"`
	Ways      []Way  `json:"ways"`
}

// Way is an uplink in one family.
type Way struct {
	// Family is "ipv4" or "ipv6".
	Family string `json:"family"`
	// Verdict is "live", "held", "dead" or "unknown"; Role is "active",
	// "standby", "draining" or "none".
	Verdict string    `json:"verdict"`
	Role    string    `json:"role"`
	Since   time.Time `json:"since"`
	Reasons []string  `json:"reasons"`
	// Verified is false where no source vouches for the way.
	Verified bool `json:"verified"`
	// Share of the family's new flows, 0..1.
	Share   float64 `json:"share"`
	Penalty float64 `json:"penalty"`
	// Weight is the one in use, where it is not that of the uplink; else 0.
	Weight   int        `json:"weight,omitempty"`
	Gateway  string     `json:"gateway,omitempty"`
	Sources  []string   `json:"sources,omitempty"`
	Evidence []Evidence `json:"evidence"`
	// BFD is the session of the way, where one is wanted.
	BFD *BFD `json:"bfd,omitempty"`
	// BGP is the session that serves the way, where one is wanted.
	BGP *BGP `json:"bgp,omitempty"`
	// Drain is why the way is being emptied, and how far.
	Drain *Drain `json:"drain,omitempty"`
	// Advice is what the gateway told by ICMP (RFC 1122 section 3.3.1.4).
	Advice *Advice `json:"advice,omitempty"`
}

// Evidence is one source's word.
type Evidence struct {
	// Kind is "link", "address", "gateway", "neighbour", "icmp", "bfd" or "bgp".
	Kind string `json:"kind"`
	// Opinion is "up", "down" or "unknown".
	Opinion string    `json:"opinion"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason"`
	Targets []Target  `json:"targets,omitempty"`
}

// Target is one probe target.
type Target struct {
	Address string  `json:"address"`
	Opinion string  `json:"opinion"`
	Reason  string  `json:"reason,omitempty"`
	RTT     float64 `json:"rtt_seconds"`
	Loss    float64 `json:"loss"`
}

// Advice counts what a gateway told by ICMP.
type Advice struct {
	Redirects    uint64    `json:"redirects"`
	Unreachables uint64    `json:"unreachables"`
	Last         string    `json:"last,omitempty"`
	LastAt       time.Time `json:"last_at,omitzero"`
}
