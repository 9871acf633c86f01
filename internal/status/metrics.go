package status

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The words that the state metrics enumerate; a series exists for each of them
// and is 1 for the one that holds, so that an alert needs no absent().
var (
	verdictWords = []string{"live", "held", "dead", "unknown"}
	roleWords    = []string{"active", "standby", "draining", "none"}
	opinionWords = []string{"up", "down", "unknown"}
)

// Labels of the metrics about a way.
var (
	wayLabels    = []string{"uplink", "family"}
	sourceLabels = []string{"uplink", "family", "kind"}
	targetLabels = []string{"uplink", "family", "target"}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("multihomed_"+name, help, labels, nil)
}

// with returns labels and one more, without sharing memory with labels.
func with(labels []string, more string) []string {
	return append(append([]string(nil), labels...), more)
}

// descs are the metrics, in the order of docs/operations.md.
var descs = struct {
	build, start, ready, configError, warnings        *prometheus.Desc
	mode, inSync, failing, writes, drifts, resyncs    *prometheus.Desc
	lastDrift, lastChange                             *prometheus.Desc
	uplink, weight, tier                              *prometheus.Desc
	verdict, role, since, verified, share, penalty    *prometheus.Desc
	evidence, evidenceSince, targetOpinion, rtt, loss *prometheus.Desc
	redirects, unreachables                           *prometheus.Desc
}{
	build:       desc("build_info", "Always 1; the label tells the version.", "version"),
	start:       desc("start_time_seconds", "When the daemon started, in seconds since the epoch."),
	ready:       desc("ready", "1 once every input has spoken and the kernel was written."),
	configError: desc("config_error", "1 while the configuration file is not in use because it is faulty."),
	warnings:    desc("warnings", "Number of things that an operator should look at."),

	mode:       desc("kernel_mode_info", "Always 1; the label tells how the kernel balances.", "mode"),
	inSync:     desc("kernel_in_sync", "0 while a write to the kernel fails or waits to be retried."),
	failing:    desc("kernel_failing_ops", "Number of kernel writes that fail at present."),
	writes:     desc("kernel_writes_total", "Number of kernel writes."),
	drifts:     desc("kernel_drift_repairs_total", "Number of repairs of what others changed."),
	resyncs:    desc("kernel_resyncs_total", "Number of full reads of the kernel."),
	lastDrift:  desc("kernel_last_drift_timestamp_seconds", "When others last changed what is ours; absent if never."),
	lastChange: desc("kernel_last_change_timestamp_seconds", "When a verdict or a write last changed something; absent if never."),

	uplink: desc("uplink_info", "Always 1; the labels tell what the uplink is in the kernel.", "uplink", "interface", "table", "mark"),
	weight: desc("uplink_weight", "Configured weight, 1..256.", "uplink"),
	tier:   desc("uplink_tier", "Configured tier; lower ones are used first.", "uplink"),

	verdict:  desc("way_verdict", "1 for the verdict that holds for an uplink and family.", with(wayLabels, "verdict")...),
	role:     desc("way_role", "1 for the role that an uplink plays in the group of its family.", with(wayLabels, "role")...),
	since:    desc("way_verdict_timestamp_seconds", "When the verdict was reached, in seconds since the epoch.", wayLabels...),
	verified: desc("way_verified", "1 if a probe, a neighbour or a protocol vouches for the way.", wayLabels...),
	share:    desc("way_share_ratio", "Share of the new flows of the family, 0..1.", wayLabels...),
	penalty:  desc("way_penalty", "Flap penalty (RFC 2439); each outage adds 1000.", wayLabels...),

	evidence:      desc("evidence_opinion", "1 for the opinion that a source has of a way.", with(sourceLabels, "opinion")...),
	evidenceSince: desc("evidence_timestamp_seconds", "When the source came to its opinion.", sourceLabels...),
	targetOpinion: desc("target_opinion", "1 for the opinion that a probe target stands for.", with(targetLabels, "opinion")...),
	rtt:           desc("target_rtt_seconds", "Mean round-trip time over the window; absent without an answer.", targetLabels...),
	loss:          desc("target_loss_ratio", "Share of the probes lost over the window, 0..1.", targetLabels...),

	redirects:    desc("gateway_redirects_total", "ICMP redirects that the gateway sent.", wayLabels...),
	unreachables: desc("gateway_unreachables_total", "ICMP unreachables that the gateway itself sent.", wayLabels...),
}

// collector turns one document into metrics. It holds the document instead of
// asking for it, because a registry collects on goroutines of its own, where a
// panic of the asked one would end the process.
type collector struct{ doc Status }

// Describe sends nothing: the series follow from the document, which makes this
// an unchecked collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series of the document.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	m := emitter(ch)
	s := c.doc
	m.gauge(descs.build, 1, s.Version)
	m.moment(descs.start, s.Started)
	m.flag(descs.ready, s.Ready)
	m.flag(descs.configError, s.ConfigError != "")
	m.gauge(descs.warnings, float64(len(s.Warnings)))

	k := s.Kernel
	m.gauge(descs.mode, 1, k.Mode)
	m.flag(descs.inSync, k.InSync)
	m.gauge(descs.failing, float64(len(k.Errors)))
	m.count(descs.writes, k.Writes)
	m.count(descs.drifts, k.Drifts)
	m.count(descs.resyncs, k.Resyncs)
	m.moment(descs.lastDrift, k.LastDriftAt)
	m.moment(descs.lastChange, k.LastChangeAt)

	m.speaker(s.BGP)
	for _, u := range s.Uplinks {
		m.gauge(descs.uplink, 1, u.Name, u.Interface, decimal(u.Table), hex(u.Mark))
		m.gauge(descs.weight, float64(u.Weight), u.Name)
		m.gauge(descs.tier, float64(u.Tier), u.Name)
		for _, w := range u.Ways {
			m.way(u.Name, w)
		}
	}
}

// emitter sends metrics. A metric that cannot be made (a label that is no
// UTF-8) becomes an error of the scrape, never a panic.
type emitter chan<- prometheus.Metric

func (m emitter) send(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	metric, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(d, err)
	}
	m <- metric
}

func (m emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	m.send(d, prometheus.GaugeValue, v, labels...)
}

func (m emitter) count(d *prometheus.Desc, n uint64, labels ...string) {
	m.send(d, prometheus.CounterValue, float64(n), labels...)
}

func (m emitter) flag(d *prometheus.Desc, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	m.gauge(d, v, labels...)
}

func (m emitter) moment(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		m.gauge(d, float64(t.UnixMilli())/1000, labels...)
	}
}

// words sends one series per word, 1 for the one that holds.
func (m emitter) words(d *prometheus.Desc, all []string, holds string, labels ...string) {
	for _, word := range all {
		m.flag(d, word == holds, with(labels, word)...)
	}
}

func (m emitter) way(uplink string, w Way) {
	way := []string{uplink, w.Family}
	m.words(descs.verdict, verdictWords, w.Verdict, way...)
	m.words(descs.role, roleWords, w.Role, way...)
	m.moment(descs.since, w.Since, way...)
	m.flag(descs.verified, w.Verified, way...)
	m.gauge(descs.share, w.Share, way...)
	m.gauge(descs.penalty, w.Penalty, way...)
	for _, e := range w.Evidence {
		source := with(way, e.Kind)
		m.words(descs.evidence, opinionWords, e.Opinion, source...)
		m.moment(descs.evidenceSince, e.Since, source...)
		for _, t := range e.Targets {
			target := with(way, t.Address)
			m.words(descs.targetOpinion, opinionWords, t.Opinion, target...)
			if t.RTT > 0 {
				m.gauge(descs.rtt, t.RTT, target...)
			}
			m.gauge(descs.loss, t.Loss, target...)
		}
	}
	if w.BFD != nil {
		m.bfd(w.BFD, way)
	}
	if w.BGP != nil {
		m.bgp(w.BGP, way)
	}
	m.drain(w, way)
	if a := w.Advice; a != nil {
		m.count(descs.redirects, a.Redirects, way...)
		m.count(descs.unreachables, a.Unreachables, way...)
	}
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func hex(n uint32) string { return "0x" + strconv.FormatUint(uint64(n), 16) }

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	reg := prometheus.NewRegistry()
	if err := reg.Register(collector{s.snapshot()}); err != nil {
		http.Error(w, "register metrics: "+err.Error(), http.StatusInternalServerError)
		return
	}
	promhttp.HandlerFor(prometheus.Gatherers{reg, s.runtime}, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// Half of the metrics are better than none.
		ErrorHandling: promhttp.ContinueOnError,
	}).ServeHTTP(w, r)
}
