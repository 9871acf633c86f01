package status

import "github.com/prometheus/client_golang/prometheus"

// bgpWords are the states that the metric enumerates.
var bgpWords = []string{"established", "open-confirm", "open-sent", "active", "connect", "idle", "shut", "unknown", BGPClosed}

// bgpDescs are the metrics about sessions, in the order of docs/operations.md.
var bgpDescs = struct {
	state, since, flaps, lastError, negotiated, synced, retained, draining *prometheus.Desc
	received, accepted, used, stale, refused, limit, announced, bandwidth  *prometheus.Desc
}{
	state:      desc("bgp_state", "1 for the state of the session that serves an uplink and family.", with(wayLabels, "state")...),
	since:      desc("bgp_state_timestamp_seconds", "When the state was entered.", wayLabels...),
	flaps:      desc("bgp_flaps_total", "How often the session was lost.", wayLabels...),
	lastError:  desc("bgp_last_error_timestamp_seconds", "When the session was last lost; absent if never.", wayLabels...),
	negotiated: desc("bgp_negotiated", "1 if the peer speaks the family.", wayLabels...),
	synced:     desc("bgp_synced", "1 if the peer has sent its whole table.", wayLabels...),
	retained:   desc("bgp_retained", "1 while graceful restart keeps the paths of a lost session.", wayLabels...),
	draining:   desc("bgp_graceful_shutdown", "1 while the peer announces a graceful shutdown (RFC 8326).", wayLabels...),
	received:   desc("bgp_prefixes_received", "Prefixes that the peer has sent.", wayLabels...),
	accepted:   desc("bgp_prefixes_accepted", "Those that were not refused.", wayLabels...),
	used:       desc("bgp_prefixes_used", "Those that the uplink carries at present; absent if not known.", wayLabels...),
	stale:      desc("bgp_prefixes_stale", "Those that wait to be sent again.", wayLabels...),
	refused:    desc("bgp_prefixes_refused", "Those that were refused.", with(wayLabels, "reason")...),
	limit:      desc("bgp_prefixes_limit", "At how many the session is ended.", wayLabels...),
	announced:  desc("bgp_prefixes_announced", "Prefixes of ours that the peer is told.", wayLabels...),
	bandwidth:  desc("bgp_bandwidth_bytes_per_second", "Link bandwidth that the peer announces; absent without one.", wayLabels...),
}

// speakerDescs are those about all sessions.
var speakerDescs = struct {
	info, speaking, starts, trouble, synced, cache, records      *prometheus.Desc
	routes, pending, waiting, unclaimed, groups                  *prometheus.Desc
	written, failed, repaired, failing, drain, drainBusy, weight *prometheus.Desc
}{
	info:      desc("bgp_info", "Always 1; the labels tell who we are.", "as", "router_id"),
	speaking:  desc("bgp_speaking", "1 while the process that speaks BGP answers."),
	starts:    desc("bgp_starts_total", "How often that process was started."),
	trouble:   desc("bgp_trouble", "1 while the speaker cannot do what is configured, such as to listen."),
	synced:    desc("bgp_tables_complete", "1 once every peer has sent its table, or the time for that has passed."),
	cache:     desc("bgp_rpki_up", "1 while an RPKI cache answers.", "cache"),
	records:   desc("bgp_rpki_records", "Records of an RPKI cache, of both families.", "cache"),
	routes:    desc("bgp_routes", "Routes to prefixes in the kernel, of both families."),
	pending:   desc("bgp_routes_pending", "Routes that are to be written."),
	waiting:   desc("bgp_routes_waiting", "Those among them that wait for their group."),
	unclaimed: desc("bgp_routes_unclaimed", "Routes of a previous life that were not told again yet."),
	groups:    desc("bgp_route_groups", "Groups that the routes lead to."),
	written:   desc("bgp_route_writes_total", "Routes that were added, replaced or removed."),
	failed:    desc("bgp_route_failures_total", "Routes that the kernel refused."),
	repaired:  desc("bgp_route_repairs_total", "Routes that had vanished or were changed by others."),
	failing:   desc("bgp_routes_failing", "1 while a refusal still stands."),
	drain:     desc("way_drain", "1 while the way is being emptied, by whom.", with(wayLabels, "by")...),
	drainBusy: desc("way_drain_busy_buckets", "Buckets that still lead a drained way; absent if not known.", wayLabels...),
	weight:    desc("way_weight", "Weight in use, where it is not that of the uplink.", wayLabels...),
}

// drainWords are who may drain.
var drainWords = []string{"operator", "isp"}

// bgp sends the metrics of the session of a way.
func (m emitter) bgp(b *BGP, way []string) {
	d := &bgpDescs
	m.words(d.state, bgpWords, b.State, way...)
	m.moment(d.since, b.Since, way...)
	m.count(d.flaps, b.Flaps, way...)
	m.moment(d.lastError, b.LastErrorAt, way...)
	m.flag(d.negotiated, b.Negotiated, way...)
	m.flag(d.synced, b.Synced, way...)
	m.flag(d.retained, b.Retained, way...)
	m.flag(d.draining, b.Draining, way...)
	m.gauge(d.received, float64(b.Received), way...)
	m.gauge(d.accepted, float64(b.Accepted), way...)
	if b.Used != nil {
		m.gauge(d.used, float64(*b.Used), way...)
	}
	m.gauge(d.stale, float64(b.Stale), way...)
	for why, n := range b.Refused {
		m.gauge(d.refused, float64(n), with(way, why)...)
	}
	m.gauge(d.limit, float64(b.MaxPrefixes), way...)
	m.gauge(d.announced, float64(b.Announced), way...)
	if b.Bandwidth > 0 {
		m.gauge(d.bandwidth, b.Bandwidth, way...)
	}
}

// speaker sends the metrics about all sessions.
func (m emitter) speaker(b *Speaker) {
	if b == nil {
		return
	}
	d := &speakerDescs
	m.gauge(d.info, 1, decimal(b.AS), b.RouterID)
	m.flag(d.speaking, b.Speaking)
	m.count(d.starts, b.Starts)
	m.flag(d.trouble, b.Error != "")
	m.flag(d.synced, b.Synced)
	for _, c := range b.RPKI {
		m.flag(d.cache, c.Up, c.Address)
		m.gauge(d.records, float64(c.Records), c.Address)
	}
	x := b.Prefixes
	if x == nil {
		return
	}
	m.gauge(d.routes, float64(x.Routes))
	m.gauge(d.pending, float64(x.Pending))
	m.gauge(d.waiting, float64(x.Waiting))
	m.gauge(d.unclaimed, float64(x.Unclaimed))
	m.gauge(d.groups, float64(x.Groups))
	m.count(d.written, x.Written)
	m.count(d.failed, x.Failed)
	m.count(d.repaired, x.Repaired)
	m.flag(d.failing, x.Error != "")
}

// drain sends the metrics of a way that is being emptied, and of its weight.
func (m emitter) drain(w Way, way []string) {
	if w.Weight != 0 {
		m.gauge(speakerDescs.weight, float64(w.Weight), way...)
	}
	if w.Drain == nil {
		return
	}
	m.words(speakerDescs.drain, drainWords, w.Drain.By, way...)
	if w.Drain.Busy != nil {
		m.gauge(speakerDescs.drainBusy, float64(*w.Drain.Busy), way...)
	}
}
