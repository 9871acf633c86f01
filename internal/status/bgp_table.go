package status

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// speaker prints one line about the sessions as a whole.
func (t *table) speaker(s Status) {
	b := s.BGP
	if b == nil {
		return
	}
	// Two ways may share a session.
	up := map[string]bool{}
	for _, u := range s.Uplinks {
		for _, w := range u.Ways {
			if w.BGP != nil {
				up[w.BGP.Session] = w.BGP.State == "established"
			}
		}
	}
	established := 0
	for _, is := range up {
		if is {
			established++
		}
	}
	p := green
	switch {
	case !b.Speaking || established == 0:
		p = red
	case established < len(up):
		p = yellow
	}
	line := t.paint(p, fmt.Sprintf("%d of %s established", established, plural(uint64(len(up)), "session")))
	if !b.Speaking {
		line = t.paint(p, "NOT SPEAKING")
	}
	if x := b.Prefixes; x != nil {
		line += fmt.Sprintf(", %s to prefixes in table %d", plural(uint64(x.Routes), "route"), x.Table)
		if x.Pending > 0 {
			line += fmt.Sprintf(", %d to be written", x.Pending)
		}
	}
	fmt.Fprintf(&t.out, "bgp:  AS %d, %s\n", b.AS, line)
}

// speakerProblems prints what is wrong with the process that speaks, and with the
// routes that it brings.
func (t *table) speakerProblems(b *Speaker) {
	if b == nil {
		return
	}
	label := t.paint(red, "! bgp      ")
	if !b.Speaking {
		words := "nobody speaks BGP; the routes that are known stay in the kernel"
		if b.Trouble != "" {
			words += ": " + b.Trouble
		}
		t.prose(label, words)
	}
	if b.Error != "" {
		t.prose(label, b.Error)
	}
	if b.Speaking && !b.Synced && !b.DeferredUntil.IsZero() {
		t.prose(t.paint(yellow, "! bgp      "), "not every peer has sent its table after the start; until then no route is removed, "+t.left(b.DeferredUntil)+" at the longest")
	}
	for _, c := range b.RPKI {
		if !c.Up {
			t.prose(t.paint(yellow, "! rpki     "), "the cache "+c.Address+" does not answer; is it running, and is its port right?")
		}
	}
	if x := b.Prefixes; x != nil && x.Error != "" {
		t.prose(t.paint(red, "! prefixes "), x.Error)
	}
}

// peering prints the session of a way under the evidence that it gives, whose words
// are not repeated.
func (t *table) peering(b *BGP, said string) {
	if b == nil {
		return
	}
	label := indent + strings.Repeat(" ", len("neighbour "))
	t.prose(label, b.summary(t))
	if b.Trouble != "" && !strings.Contains(said, b.Trouble) {
		words := "no session: "
		if b.State == "established" {
			words = "trouble: "
		}
		t.prose(label, words+b.Trouble)
	}
	if b.State == "established" || b.Retained || b.Received > 0 {
		t.prose(label, b.table(t))
	}
	if told := b.told(); told != "" {
		t.prose(label, told)
	}
	if b.LastError != "" && !strings.Contains(said, b.LastError) && b.LastError != b.Trouble {
		t.prose(label, fmt.Sprintf("lost %s, the last one %s%s", times(max(b.Flaps, 1)), t.ago(b.LastErrorAt), b.LastError))
	}
}

// summary is a session in one line, but for what it brings.
func (b BGP) summary(t *table) string {
	words := []string{fmt.Sprintf("%s with AS %d", b.Session, b.PeerAS)}
	if b.Peer != "" {
		words[0] += " at " + b.Peer
	}
	words[0] += ": " + b.State
	if !b.Since.IsZero() {
		words[0] += " for " + t.age(b.Since)
	}
	if b.State == "established" {
		words = append(words, "hold time "+seconds(b.HoldTime))
		if b.Restart {
			words = append(words, "graceful restart "+seconds(b.RestartTime))
		}
		if !b.Negotiated {
			words = append(words, "without this family, which the peer does not speak")
		}
	}
	if b.Draining {
		words = append(words, "the peer announces a graceful shutdown")
	}
	return strings.Join(words, ", ")
}

// table is what a session brings, in one line.
func (b BGP) table(t *table) string {
	words := []string{"import " + b.Import}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if b.Default != "" && b.Import != "prefixes" {
		add("default route %s", b.Default)
	}
	add("received %d of %d, accepted %d", b.Received, b.MaxPrefixes, b.Accepted)
	if b.Used != nil {
		add("used %d", *b.Used)
	}
	for _, why := range slices.Sorted(maps.Keys(b.Refused)) {
		add("refused %d (%s)", b.Refused[why], why)
	}
	switch {
	case b.Retained && !b.RetainedUntil.IsZero():
		add("kept from a session that was lost for %s more", t.left(b.RetainedUntil))
	case b.Retained:
		add("kept from a session that was lost")
	case !b.Synced:
		add("its table is not complete yet")
	}
	if b.Stale > 0 {
		add("%d of them stale", b.Stale)
	}
	if b.Bandwidth > 0 {
		add("bandwidth %s", bits(b.Bandwidth))
	}
	return strings.Join(words, ", ")
}

// told is what the peer is told of our prefixes; "" if that says nothing.
func (b BGP) told() string {
	if b.State != "established" && b.Withheld == "" {
		return ""
	}
	words := make([]string, 0, len(b.Announces))
	for _, a := range b.Announces {
		words = append(words, a.describe())
	}
	text := "announced: " + few(words)
	if len(words) == 0 {
		text = "announced: nothing"
	}
	if b.Withheld != "" {
		text += "; " + b.Withheld
	}
	return text
}

func (a Announcement) describe() string {
	text := a.Prefix
	if a.Prepend > 0 {
		text += fmt.Sprintf(" prepended %s", times(uint64(a.Prepend)))
	}
	if a.MED != nil {
		text += " MED " + strconv.FormatUint(uint64(*a.MED), 10)
	}
	if len(a.Communities) > 0 {
		text += " " + strings.Join(a.Communities, " ")
	}
	return text
}

// few lists words, but not hundreds of them.
func few(words []string) string {
	const most = 4
	if len(words) > most+1 {
		return fmt.Sprintf("%s, and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}

// bits prints octets per second as the bits per second that lines are sold by.
func bits(octets float64) string {
	n := octets * 8
	for _, unit := range []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"} {
		if n < 1000 {
			return strconv.FormatFloat(n, 'g', 4, 64) + " " + unit
		}
		n /= 1000
	}
	return strconv.FormatFloat(n, 'f', -1, 64) + " Tbit/s"
}
