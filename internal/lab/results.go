package lab

import (
	"net/netip"
	"slices"
	"time"
)

// Results say what became of the packets that were sent in a window of time. All
// of it is judged by what was sent and did not arrive: a sender that was not
// scheduled is no outage, but it makes the measured outages coarser, up to
// MaxSendDelay.
type Results struct {
	// Flows in the order of their numbers.
	Flows []FlowResult
	// Sent, Received and Lost are packets; Lost includes those still on their
	// way if the traffic runs.
	Sent, Received, Lost int
	// Longest is the longest outage of any flow, the zero Outage if none lost
	// anything.
	Longest Outage
	// Unsent counts packets (of all time) that the kernel of the sender refused;
	// they count as sent and lost.
	Unsent uint64
	// SinkDropped counts packets (of all time) that arrived and were lost in the
	// sink's full buffer: if it is not 0, the machine is too slow for the rate
	// and losses mean little.
	SinkDropped uint64
	// MaxSendDelay is the worst lateness (of all time) of the sender.
	MaxSendDelay time.Duration
}

// FlowResult is one flow's part.
type FlowResult struct {
	Flow        int
	SourcePort  uint16
	Destination netip.Addr
	// Sent, Received, Lost and Duplicates are packets; Duplicates are of all
	// time.
	Sent, Received, Lost, Duplicates int
	// Longest is the longest outage of the flow.
	Longest Outage
	// LastArrival is when the last packet of the window arrived, the zero Time
	// if none did.
	LastArrival time.Time
}

// Outage is a run of lost packets of one flow.
type Outage struct {
	Flow int
	// Start is when the first lost packet was sent. Duration reaches to when
	// the next packet that arrived was sent, or to the last packet sent if none
	// did yet. It exceeds the true silence by at most one interval of the flow.
	Start    time.Time
	Duration time.Duration
	// Lost is the number of packets.
	Lost int
}

// Results are those of the whole time.
func (f *Flows) Results() Results { return f.Watch(time.Time{}, time.Time{}) }

// Watch gives the results for the packets that were sent from from until to, both
// inclusive; the zero Time stands for the beginning and for now. An outage that
// began before the window counts from its first packet in the window; one that
// outlasts the window counts to its end.
func (f *Flows) Watch(from, to time.Time) Results {
	first, last := int64(0), int64(f.now())
	if !from.IsZero() {
		first = int64(from.Sub(f.base))
	}
	if !to.IsZero() {
		last = min(last, int64(to.Sub(f.base)))
	}
	r := Results{
		Flows:        make([]FlowResult, len(f.flows)),
		Unsent:       f.unsent.Load(),
		MaxSendDelay: time.Duration(f.sendDelay.Load()),
	}
	for _, s := range f.sinks {
		r.SinkDropped += s.drops()
	}
	for i, fl := range f.flows {
		one := f.watchFlow(i, fl, first, last)
		r.Flows[i] = one
		r.Sent += one.Sent
		r.Received += one.Received
		r.Lost += one.Lost
		if one.Longest.Duration > r.Longest.Duration || r.Longest.Lost == 0 {
			r.Longest = one.Longest
		}
	}
	return r
}

// watchFlow judges the packets of one flow sent from first to last, nanoseconds
// since the base.
func (f *Flows) watchFlow(i int, fl *flow, first, last int64) FlowResult {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	r := FlowResult{
		Flow:        i,
		SourcePort:  f.options.FirstSourcePort + uint16(i),
		Destination: fl.to.Addr(),
		Duplicates:  fl.duplicates,
	}
	begin, _ := slices.BinarySearch(fl.sent, first)
	end, _ := slices.BinarySearch(fl.sent, last+1)
	lastArrival := int64(0)
	for seq := begin; seq < end; {
		if at := fl.arrivedAt(seq); at != 0 {
			r.Received++
			lastArrival = max(lastArrival, at)
			seq++
			continue
		}
		next := seq
		for next < len(fl.sent) && fl.arrivedAt(next) == 0 {
			next++
		}
		over := fl.sent[min(next, len(fl.sent)-1)]
		lost := min(next, end) - seq
		r.Lost += lost
		if d := time.Duration(over - fl.sent[seq]); d > r.Longest.Duration || r.Longest.Lost == 0 {
			r.Longest = Outage{Flow: i, Start: f.base.Add(time.Duration(fl.sent[seq])), Duration: d, Lost: next - seq}
		}
		seq += lost
	}
	r.Sent = end - begin
	if lastArrival != 0 {
		r.LastArrival = f.base.Add(time.Duration(lastArrival))
	}
	return r
}

func (fl *flow) arrivedAt(seq int) int64 {
	if seq >= len(fl.arrived) {
		return 0
	}
	return fl.arrived[seq]
}
