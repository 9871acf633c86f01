package main

import (
	"slices"
	"time"
)

// sample is what one run measured, by the key of the column.
type sample map[string]float64

// column describes a figure.
type column struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	// Digits after the point, in Markdown.
	Digits int `json:"-"`
	// Cost: less is better, and the ratio to multihomed says something.
	Cost bool `json:"cost"`
}

// table is the result of a scenario.
type table struct {
	Scenario string   `json:"scenario"`
	About    string   `json:"about"`
	Columns  []column `json:"columns"`
	Rows     []row    `json:"rows"`
}

// row is one candidate in one case. It has figures, or an error.
type row struct {
	Case      string            `json:"case"`
	Candidate string            `json:"candidate"`
	Runs      int               `json:"runs"`
	Figures   map[string]figure `json:"figures,omitempty"`
	Error     string            `json:"error,omitempty"`
}

// figure is the median of the runs.
type figure struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Ratio to the median of multihomed in the same case; nil if there is none.
	Ratio *float64 `json:"ratio,omitempty"`
}

// document is everything that one run of this program found out.
type document struct {
	Began    time.Time         `json:"began"`
	Took     time.Duration     `json:"took_ns"`
	Machine  machine           `json:"machine"`
	Versions []string          `json:"versions"`
	Settings map[string]string `json:"settings"`
	Tables   []table           `json:"tables"`
}

// reference is the candidate that ratios are to.
const reference = "multihomed"

// summarise makes the row of a candidate of its runs. A run that failed makes the
// whole row an error: a median of what worked would be a better figure than the
// candidate deserves.
func summarise(name, candidate string, runs []sample, failure error) row {
	r := row{Case: name, Candidate: candidate, Runs: len(runs)}
	if failure != nil {
		r.Error = failure.Error()
		return r
	}
	r.Figures = map[string]figure{}
	for _, run := range runs {
		for key := range run {
			if _, ok := r.Figures[key]; !ok {
				r.Figures[key] = summary(runs, key)
			}
		}
	}
	return r
}

func summary(runs []sample, key string) figure {
	var values []float64
	for _, run := range runs {
		if v, ok := run[key]; ok {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	n := len(values)
	return figure{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1]}
}

// addRatios fills the ratios of all rows whose case has a row of the reference.
func (t *table) addRatios() {
	for i := range t.Rows {
		r := &t.Rows[i]
		at := slices.IndexFunc(t.Rows, func(o row) bool {
			return o.Case == r.Case && o.Candidate == reference && o.Error == ""
		})
		if at < 0 {
			continue
		}
		for _, c := range t.Columns {
			f, ok := r.Figures[c.Key]
			base := t.Rows[at].Figures[c.Key].Median
			if !ok || !c.Cost || base <= 0 {
				continue
			}
			ratio := f.Median / base
			f.Ratio = &ratio
			r.Figures[c.Key] = f
		}
	}
}

// failures are the errors of all rows.
func (d document) failures() []string {
	var found []string
	for _, t := range d.Tables {
		for _, r := range t.Rows {
			if r.Error != "" {
				found = append(found, t.Scenario+", "+r.Case+", "+r.Candidate+": "+r.Error)
			}
		}
	}
	return found
}
