package config

import (
	"fmt"
	"slices"
	"strings"
)

// otherWords are what people call our keys elsewhere.
var otherWords = map[string]string{
	"neighbor": "neighbour", "arp": "neighbour", "nud": "neighbour",
	"ping": "icmp", "probe": "icmp", "check": "icmp", "monitor": "icmp",
	"gw": "gateway", "gateways": "gateway", "via": "gateway",
	"dev": "interface", "device": "interface", "iface": "interface", "nic": "interface",
	"priority": "tier", "metric": "tier", "preference": "tier", "order": "tier",
	"sources": "source", "src": "source", "address": "source", "addresses": "source", "prefix": "source",
	"fwmark": "mark", "hops": "weight", "onlink": "on-link",
	"target": "targets", "hosts": "targets", "track-ip": "targets",
	"rtt": "latency", "packet-loss": "loss", "fall": "down", "rise": "up", "count": "down",
	"minimum-interval": "interval", "min-tx": "interval", "min-rx": "interval", "desired-min-tx": "interval", "required-min-rx": "interval",
	"tx-interval": "interval", "rx-interval": "interval", "transmit-interval": "interval", "receive-interval": "interval",
	"detect-mult": "multiplier", "detect-multiplier": "multiplier", "detection-multiplier": "multiplier", "mult": "multiplier",
	"remote": "peer", "neighbour": "peer", "ttl": "min-ttl", "minimum-ttl": "min-ttl", "strict": "require", "type": "mode",
	"source": "echo-source", "authentication": "auth", "id": "key-id",
	// Keys stand in a file of their own, and not in one that many read.
	"key": "key-file", "keys": "key-file", "password": "key-file", "secret": "key-file", "passphrase": "key-file",
	"proto": "protocol", "links": "uplinks", "interfaces": "uplinks", "wans": "uplinks", "wan": "uplinks",
}

// moreWords are the words that mean something else in other sections as well.
var moreWords = map[string][]string{
	"remote-as": {"peer-as"}, "neighbor-as": {"peer-as"}, "neighbour-as": {"peer-as"}, "asn": {"as", "peer-as"}, "as-number": {"as", "peer-as"}, "local-as": {"as"},
	"as": {"peer-as"}, "autonomous-system": {"as", "peer-as"}, "id": {"router-id"}, "identifier": {"router-id"}, "bgp-id": {"router-id"}, "routerid": {"router-id"},
	"neighbor": {"peer"}, "neighbour": {"peer"}, "neighbors": {"peer"}, "address": {"peer", "listen"}, "addresses": {"peer", "listen"},
	"address-family": {"families"}, "afi": {"families"}, "afi-safi": {"families"}, "gtsm": {"ttl-security"}, "ttl": {"multihop"}, "ebgp-multihop": {"multihop"},
	"maximum-prefix": {"max-prefixes"}, "prefix-limit": {"max-prefixes"}, "import-limit": {"max-prefixes"}, "receive-limit": {"max-prefixes"},
	"hold": {"hold-time"}, "holdtime": {"hold-time"}, "timers": {"hold-time"}, "localpref": {"preference"}, "local-pref": {"preference"}, "local-preference": {"preference"},
	"metric": {"med"}, "as-prepend": {"prepend"}, "community": {"communities"}, "filter": {"import"}, "in": {"import"},
	"network": {"announce", "prefix"}, "networks": {"announce", "prefixes"}, "originate": {"announce"}, "export": {"announce"}, "prefixes": {"announce", "prefix"}, "prefix": {"prefixes"}, "advertise": {"announce"},
	"bestpath": {"as-path"}, "multipath": {"as-path"}, "multipath-relax": {"as-path"}, "roa": {"rpki"}, "rtr": {"rpki"}, "cache": {"servers"}, "caches": {"servers"},
	"gr": {"graceful-restart"}, "graceful": {"graceful-restart"}, "device": {"interface"}, "condition": {"when"}, "drain": {"drain-time"},
}

// openSecret says why a password is refused that was written into the file. Its
// value is not repeated.
func openSecret(name string, known map[string]bool) string {
	switch strings.ReplaceAll(name, "_", "-") {
	case "password", "passwd", "secret", "key", "passphrase", "md5", "md5-password", "tcp-md5", "auth-password", "authentication-key", "auth-key":
		if known["password-file"] {
			return "passwords do not stand in the configuration, which is shown to others; write this one into a file of its own (chmod 600), and its path as password-file"
		}
	}
	return ""
}

// advise says what to write instead of an unknown key: the nearest key of the
// section, which is returned as well, or where the key would be right.
func advise(name, path string, known map[string]bool) (meant, advice string) {
	word := strings.ReplaceAll(name, "_", "-")
	switch other := otherWords[word]; {
	case known[word]:
		meant = word
	case known[other]:
		meant = other
	default:
		if i := slices.IndexFunc(moreWords[word], func(w string) bool { return known[w] }); i >= 0 {
			meant = moreWords[word][i]
			break
		}
		meant = nearest(word, known)
	}
	if meant != "" {
		return meant, fmt.Sprintf("did you mean %q?", meant)
	}
	for _, k := range schema() {
		if k.steps[len(k.steps)-1] == word && k.String() != path {
			return "", fmt.Sprintf("it belongs elsewhere: %s", k)
		}
	}
	keys := make([]string, 0, len(known))
	for k := range known {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	where := "here"
	if path != "" {
		where = "in " + path
	}
	return "", fmt.Sprintf("remove it; known %s: %s", where, strings.Join(keys, ", "))
}

// nearest returns the candidate that is at most a third of its letters away
// from word; "" if there is none. Of equals the first in the alphabet.
func nearest(word string, candidates map[string]bool) string {
	best, least := "", 0
	for c := range candidates {
		d := distance(word, c)
		if d > max(1, len(c)/3) {
			continue
		}
		if best == "" || d < least || d == least && c < best {
			best, least = c, d
		}
	}
	return best
}

// distance is the optimal string alignment distance: how many insertions,
// deletions, replacements and swaps of neighbours make b out of a. Words longer
// than any key are not compared.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
