package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/multihomed/multihomed/bfd"
)

func TestSummarise(t *testing.T) {
	run := func(v float64) sample { return sample{"x": v} }
	for _, tc := range []struct {
		name string
		runs []sample
		want figure
	}{
		{"one", []sample{run(7)}, figure{Median: 7, Min: 7, Max: 7}},
		{"two", []sample{run(9), run(7)}, figure{Median: 8, Min: 7, Max: 9}},
		{"five", []sample{run(5), run(1), run(100), run(3), run(2)}, figure{Median: 3, Min: 1, Max: 100}},
		{"one run without it", []sample{run(5), {}, run(3)}, figure{Median: 4, Min: 3, Max: 5}},
	} {
		got := summarise("case", "who", tc.runs, nil)
		want := row{Case: "case", Candidate: "who", Runs: len(tc.runs), Figures: map[string]figure{"x": tc.want}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tc.name, diff)
		}
	}
}

// One failed run and there are no figures, of the runs that worked neither.
func TestSummarise_failure(t *testing.T) {
	got := summarise("case", "who", []sample{{"x": 1}}, errors.New("did not come up"))
	want := row{Case: "case", Candidate: "who", Runs: 1, Error: "did not come up"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func testDocument() document {
	rows := []row{
		summarise("10 sessions", "multihomed", []sample{{"up": 10, "cpu": 4}, {"up": 10, "cpu": 6}}, nil),
		summarise("10 sessions", "frr", []sample{{"up": 10, "cpu": 10}, {"up": 10, "cpu": 15}}, nil),
		summarise("10 sessions", "bird", nil, errors.New("bring up bird: 9 of 10 | really\nnot all")),
		summarise("100 sessions", "multihomed", nil, errors.New("no")),
		summarise("100 sessions", "frr", []sample{{"up": 100, "cpu": 10}, {"up": 100, "cpu": 10}}, nil),
	}
	t := table{
		Scenario: "bfd-scale", About: "What it is.",
		Columns: []column{{Key: "up", Title: "up"}, {Key: "cpu", Title: "CPU", Digits: 1, Cost: true}}, Rows: rows,
	}
	t.addRatios()
	return document{
		Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute,
		Machine:  machine{CPU: "A CPU", Cores: 2, Memory: 4 << 30, Kernel: "Linux 6.18 x86_64", LoadBefore: 0.5, LoadAfter: 1},
		Versions: []string{"multihomed v1", "FRR 8"}, Settings: map[string]string{"runs": "2", "interval": "50ms"},
		Tables: []table{t},
	}
}

func TestDocument_markdown(t *testing.T) {
	want := `Measured 2026-01-02 03:04 UTC in 1m0s on A CPU, 2 cores, 4096 MiB, Linux 6.18 x86_64; load average 0.50 before and 1.00 after.
Versions: multihomed v1, FRR 8.
Settings: interval 50ms, runs 2.

## bfd-scale

What it is.

| case | candidate | up | CPU | x multihomed |
|---|---|---:|---:|---:|
| 10 sessions | multihomed | 10 | 5.0 (4.0–6.0) | 1.00 |
| 10 sessions | frr | 10 | 12.5 (10.0–15.0) | 2.50 |
| 10 sessions | bird | **failed**: bring up bird: 9 of 10 \| really not all |  |  |
| 100 sessions | multihomed | **failed**: no |  |  |
| 100 sessions | frr | 100 | 10.0 |  |
`
	if diff := cmp.Diff(want, testDocument().markdown()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDocument_write(t *testing.T) {
	dir := t.TempDir() + "/new"
	d := testDocument()
	if err := d.write(dir, "bfd"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/bfd.json")
	if err != nil {
		t.Fatal(err)
	}
	var back document
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	// How many digits to print is for Markdown only.
	for i := range d.Tables[0].Columns {
		d.Tables[0].Columns[i].Digits = 0
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := len(d.failures()); got != 2 {
		t.Errorf("%d failures, want 2", got)
	}
}

func TestMeasurement_figures(t *testing.T) {
	at := time.Now()
	m := measurement{
		before: snapshot{at: at, usage: usage{cpu: time.Second}, farUsage: usage{cpu: time.Second}, busy: time.Minute, packets: 1000, flaps: 2, overflows: 5},
		after: snapshot{
			at: at.Add(10 * time.Second), usage: usage{cpu: 3 * time.Second, peak: 3 << 20}, farUsage: usage{cpu: 2 * time.Second}, busy: time.Minute + 8*time.Second, packets: 5000, flaps: 3, overflows: 9,
			far: report{Flaps: 7, WorstLateness: 3 * time.Millisecond}, own: report{Sent: 1, WorstLateness: 1500 * time.Microsecond},
		},
		up: 4, startup: 2500 * time.Millisecond,
	}
	want := sample{
		keyUp: 4, keyStartup: 2.5, keyFlaps: 1, keyFarFlaps: 7, keyCPU: 50_000, keyCore: 20, keyPackets: 400, keyPacket: 500,
		keyPeak: 3, keyFarLate: 3, keyLateness: 1.5, keyOverflows: 4, keyOthers: 50,
	}
	if diff := cmp.Diff(want, m.figures(4)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	m.after.own = report{}
	if _, ok := m.figures(4)[keyLateness]; ok {
		t.Error("the lateness of a candidate that tells none is a figure")
	}
}

// Every figure that a scenario has a column for is one that it makes; those of BGP
// are held against what they measure (wantColumns).
func TestScenarios_columns(t *testing.T) {
	made := measurement{after: snapshot{at: time.Now(), packets: 1, own: report{Sent: 1}}}.heapFigures()
	made[keyFlood], made[keyDropped] = 0, 0
	for _, s := range scenarios {
		if !strings.HasPrefix(s.name, "bfd-") {
			continue
		}
		for _, c := range s.columns {
			if _, ok := made[c.Key]; !ok {
				t.Errorf("%s: nothing makes %s", s.name, c.Key)
			}
		}
	}
}

func TestParseOverflows(t *testing.T) {
	const snmp = `Ip: Forwarding DefaultTTL
Ip: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
Udp: 10 1 2 20 30 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
UdpLite: 0 0 0 0 99 0
`
	const snmp6 = "Udp6InErrors  \t5\nUdp6RcvbufErrors                \t4\n"
	if n, err := parseOverflows(snmp, snmp6); n != 34 || err != nil {
		t.Errorf("%d, %v, want 34", n, err)
	}
	for _, tc := range [][2]string{{"", snmp6}, {snmp, ""}, {"Udp: InDatagrams\nUdp: 1\n", snmp6}, {strings.Replace(snmp, "30", "x", 1), snmp6}} {
		if n, err := parseOverflows(tc[0], tc[1]); err == nil {
			t.Errorf("%q, %q: %d and no error", tc[0], tc[1], n)
		}
	}
}

func TestWorst(t *testing.T) {
	histogram := func(counts ...uint64) *metrics.Float64Histogram {
		return &metrics.Float64Histogram{Counts: counts, Buckets: []float64{0, 1, 2, 3}}
	}
	for _, tc := range []struct {
		before, after *metrics.Float64Histogram
		want          time.Duration
	}{
		{histogram(1, 2, 3), histogram(1, 2, 3), 0},
		{histogram(1, 2, 3), histogram(9, 2, 3), time.Second},
		{histogram(1, 2, 3), histogram(9, 3, 3), 2 * time.Second},
		{histogram(0, 0, 0), histogram(0, 0, 1), 3 * time.Second},
	} {
		if got := worst(tc.before, tc.after); got != tc.want {
			t.Errorf("%v, %v: %v, want %v", tc.before.Counts, tc.after.Counts, got, tc.want)
		}
	}
}

// The packets with wrong discriminators are well-formed, or they would test no
// more than the random ones.
func TestGarbage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var buffer [256]byte
	lengths := map[int]bool{}
	for range 10_000 {
		p, err := bfd.ParsePacket(wrongDiscriminators(rng, buffer[:]))
		if err != nil || p.State != bfd.Up || p.DetectMult != 3 || p.MyDiscriminator == 0 || p.YourDiscriminator == 0 {
			t.Fatalf("%+v, error %v", p, err)
		}
		lengths[len(randomOctets(rng, buffer[:]))] = true
	}
	if len(lengths) != len(buffer)+1 {
		t.Errorf("%d different lengths, want %d", len(lengths), len(buffer)+1)
	}
}

func TestMakePairs(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		pairs := makePairs(10_000, ipv6)
		seen := map[string]bool{}
		for _, p := range pairs {
			near, far := p.near.AsSlice(), p.far.AsSlice()
			low := len(near) - 4
			if binary.BigEndian.Uint32(near[low:])^binary.BigEndian.Uint32(far[low:]) != 1 || p.near.Is6() != ipv6 {
				t.Fatalf("%s and %s have no subnet of two addresses", p.near, p.far)
			}
			seen[p.near.String()], seen[p.far.String()] = true, true
		}
		if len(seen) != 20_000 {
			t.Errorf("%d different addresses, want 20000", len(seen))
		}
	}
}

func TestParseBusy(t *testing.T) {
	const stat = "cpu  100 20 3 9999 9999 400 5000 60000 7 8\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if d, err := parseBusy(stat); d != 655_230*time.Millisecond || err != nil {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu  1 x 3 4 5 6 7 8\n"} {
		if d, err := parseBusy(bad); err == nil {
			t.Errorf("%q: %v and no error", bad, d)
		}
	}
	first, err := busyTime()
	if err != nil || first <= 0 {
		t.Errorf("%v, %v", first, err)
	}
}

func TestDescribeMachine(t *testing.T) {
	m, err := describeMachine()
	if err != nil || m.CPU == "" || m.Cores < 1 || m.Memory < 1<<27 || !strings.HasPrefix(m.Kernel, "Linux ") {
		t.Errorf("%+v, error %v", m, err)
	}
}
