package status

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func registry(t *testing.T, s Status) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(collector{s}); err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestMetrics_lint(t *testing.T) {
	for name, doc := range map[string]Status{"healthy": healthy(), "broken": broken(), "starting": starting(), "empty": {}, "peering": peering(), "quarrel": quarrel()} {
		problems, err := testutil.GatherAndLint(registry(t, doc))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

// values returns every series as "name{labels}" with its value.
func values(t *testing.T, s Status) map[string]float64 {
	t.Helper()
	families, err := registry(t, s).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

func TestMetrics_values(t *testing.T) {
	got := values(t, broken())
	const fiber4 = "family=ipv4,uplink=fiber"
	for key, want := range map[string]float64{
		"multihomed_build_info{version=v0.1.0}":                                             1,
		"multihomed_start_time_seconds{}":                                                   float64(before(12 * day).Unix()),
		"multihomed_ready{}":                                                                1,
		"multihomed_config_error{}":                                                         1,
		"multihomed_warnings{}":                                                             1,
		"multihomed_kernel_mode_info{mode=resilient groups}":                                1,
		"multihomed_kernel_in_sync{}":                                                       0,
		"multihomed_kernel_failing_ops{}":                                                   1,
		"multihomed_kernel_writes_total{}":                                                  34,
		"multihomed_kernel_drift_repairs_total{}":                                           3,
		"multihomed_kernel_resyncs_total{}":                                                 288,
		"multihomed_kernel_last_drift_timestamp_seconds{}":                                  float64(before(90 * time.Second).Unix()),
		"multihomed_kernel_last_change_timestamp_seconds{}":                                 float64(before(133 * time.Second).Unix()),
		"multihomed_uplink_info{interface=eth1,mark=0x100,table=201,uplink=fiber}":          1,
		"multihomed_uplink_weight{uplink=fiber}":                                            3,
		"multihomed_uplink_tier{uplink=dsl}":                                                1,
		"multihomed_way_verdict{" + fiber4 + ",verdict=dead}":                               1,
		"multihomed_way_verdict{" + fiber4 + ",verdict=live}":                               0,
		"multihomed_way_verdict{" + fiber4 + ",verdict=held}":                               0,
		"multihomed_way_verdict{" + fiber4 + ",verdict=unknown}":                            0,
		"multihomed_way_verdict{family=ipv6,uplink=fiber,verdict=held}":                     1,
		"multihomed_way_role{family=ipv4,role=standby,uplink=fiber}":                        1,
		"multihomed_way_role{family=ipv4,role=active,uplink=fiber}":                         0,
		"multihomed_way_verdict_timestamp_seconds{" + fiber4 + "}":                          float64(before(133 * time.Second).Unix()),
		"multihomed_way_verified{" + fiber4 + "}":                                           1,
		"multihomed_way_verified{family=ipv4,uplink=dsl}":                                   0,
		"multihomed_way_share_ratio{family=ipv4,uplink=dsl}":                                1,
		"multihomed_way_penalty{" + fiber4 + "}":                                            1999.2,
		"multihomed_evidence_opinion{family=ipv4,kind=icmp,opinion=down,uplink=fiber}":      1,
		"multihomed_evidence_opinion{family=ipv4,kind=link,opinion=up,uplink=fiber}":        1,
		"multihomed_evidence_opinion{family=ipv4,kind=icmp,opinion=unknown,uplink=dsl}":     1,
		"multihomed_evidence_timestamp_seconds{family=ipv4,kind=icmp,uplink=fiber}":         float64(before(133 * time.Second).Unix()),
		"multihomed_target_opinion{family=ipv4,opinion=down,target=192.0.2.1,uplink=fiber}": 1,
		"multihomed_target_rtt_seconds{family=ipv4,target=192.0.2.1,uplink=fiber}":          0.0042,
		"multihomed_target_loss_ratio{family=ipv4,target=192.0.2.1,uplink=fiber}":           1,
		"multihomed_target_loss_ratio{family=ipv6,target=2001:db8:f::82,uplink=fiber}":      0.05,
		"multihomed_bfd_state{family=ipv4,state=down,uplink=fiber}":                         1,
		"multihomed_bfd_state{family=ipv4,state=up,uplink=fiber}":                           0,
		"multihomed_bfd_state{family=ipv4,state=closed,uplink=dsl}":                         1,
		"multihomed_bfd_ups_total{family=ipv6,uplink=fiber}":                                2,
		"multihomed_bfd_failures_total{" + fiber4 + "}":                                     1,
		"multihomed_bfd_packets_total{direction=sent," + fiber4 + "}":                       5184000,
		"multihomed_bfd_packets_total{direction=received," + fiber4 + "}":                   5183990,
		"multihomed_bfd_dropped_total{family=ipv4,reason=auth-digest,uplink=fiber}":         12,
		"multihomed_bfd_detection_time_seconds{" + fiber4 + "}":                             0.15,
		"multihomed_bfd_rtt_seconds{family=ipv6,uplink=fiber}":                              0.0043,
		"multihomed_bfd_worst_lateness_seconds{" + fiber4 + "}":                             0.0021,
		"multihomed_gateway_redirects_total{" + fiber4 + "}":                                2,
		"multihomed_gateway_unreachables_total{" + fiber4 + "}":                             17,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s: got %v (there: %t), want %v", key, v, ok, want)
		}
	}
	for _, absent := range []string{
		"multihomed_target_rtt_seconds{family=ipv4,target=192.0.2.2,uplink=fiber}",
		"multihomed_evidence_timestamp_seconds{family=ipv4,kind=icmp,uplink=dsl}",
		"multihomed_gateway_redirects_total{family=ipv4,uplink=dsl}",
		"multihomed_bfd_rtt_seconds{" + fiber4 + "}",
		"multihomed_bfd_detection_time_seconds{family=ipv4,uplink=dsl}",
	} {
		if v, ok := got[absent]; ok {
			t.Errorf("%s: got %v, want none: it is not known", absent, v)
		}
	}
}

// One bad label must not cost all the other metrics, nor the daemon.
func TestMetrics_badLabel(t *testing.T) {
	doc := healthy()
	doc.Uplinks[0].Interface = "\xff"
	s := start(t, func() Status { return doc })
	code, _, body := ask(t, s.socket, "GET", "/metrics")
	if code != 200 || !strings.Contains(body, "multihomed_ready 1") {
		t.Errorf("got %d: %.300s", code, body)
	}
	if !strings.Contains(s.log.String(), "UTF-8") {
		t.Errorf("the log does not tell why: %s", s.log)
	}
}

func TestMetrics_processIsThere(t *testing.T) {
	s := start(t, healthy)
	_, _, body := ask(t, s.socket, "GET", "/metrics")
	for _, name := range []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes"} {
		if !strings.Contains(body, "\n"+name+" ") {
			t.Errorf("%s is not there", name)
		}
	}
}

// The list in the handbook and the metrics are the same.
func TestMetrics_areDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile("(?m)^\\| `(multihomed_[a-z_]+)`").FindAllStringSubmatch(string(text), -1)
	var want, got []string
	for _, m := range documented {
		want = append(want, m[1])
	}
	for _, doc := range []Status{broken(), quarrel()} {
		for key := range values(t, doc) {
			got = append(got, key[:strings.IndexByte(key, '{')])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("docs/operations.md and /metrics differ (-documented +there):\n%s", diff)
	}
}
