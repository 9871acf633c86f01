package config

import (
	"path/filepath"
	"strings"
	"time"
)

// What a session uses where the file says nothing. Three packets at 50 ms are
// found missing after 150 ms, which a busy host can keep.
const (
	defaultBFDInterval   = 50 * time.Millisecond
	defaultBFDMultiplier = 3
	// One router between us and the peer.
	defaultBFDMinTTL = 254
	defaultBFDKeyID  = 1
	// singleHopTTL is what every packet of a single hop is sent with, and has to
	// arrive with (RFC 5881 section 5).
	singleHopTTL = 255
)

// authType is a word for a kind of authentication.
type authType string

func (a authType) String() string { return string(a) }

// noAuth is the word for packets without authentication.
const noAuth authType = "none"

// authTypes are the kinds of RFC 5880 section 4.1. The first one is the default:
// the strongest, with a sequence number that a replay cannot meet.
var authTypes = []authType{"meticulous-sha1", "sha1", "meticulous-md5", "md5", "simple", noAuth}

func (s resolver) bfd(path string, raw *rawBFD) *BFD {
	b := &BFD{
		Mode:        choose(s, path+".mode", raw.Mode, BFDAsync, BFDAsync, BFDEcho),
		Peers:       raw.Peer.values,
		Interval:    or(raw.Interval, defaultBFDInterval),
		Multiplier:  int(s.fit(path+".multiplier", raw.Multiplier, defaultBFDMultiplier, multipliers)),
		Multihop:    raw.Multihop.value,
		MinTTL:      singleHopTTL,
		Passive:     raw.Passive.value,
		Require:     raw.Require.value,
		EchoSources: raw.EchoSource.values,
	}
	switch {
	case b.Multihop:
		b.MinTTL = int(s.fit(path+".min-ttl", raw.MinTTL, defaultBFDMinTTL, hopLimits))
	case raw.MinTTL.given:
		s.add(path+".min-ttl", onlyMultihop)
	}
	if raw.Auth.on(false) {
		b.Auth = s.bfdAuth(path+".auth", &raw.Auth)
	}
	return b
}

const onlyMultihop = "is for multihop; a single hop always requires 255 (RFC 5881 section 5): remove it, or write multihop: true"

// bfdAuth returns nil where the type is "none".
func (s resolver) bfdAuth(path string, raw *rawBFDAuth) *BFDAuth {
	kind := choose(s, path+".type", raw.Type, authTypes[0], authTypes...)
	id := uint8(s.fit(path+".key-id", raw.KeyID, defaultBFDKeyID, keyIDs))
	if kind == noAuth {
		return nil
	}
	return &BFDAuth{Type: string(kind), KeyID: id, KeyFile: s.file(path+".key-file", raw.KeyFile)}
}

// file returns the absolute path of a file that is named from the directory of
// the configuration; "" if none is named.
func (s resolver) file(path string, t text) string {
	name := strings.TrimSpace(t.value)
	if name == "" {
		return ""
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	whole, err := filepath.Abs(filepath.Join(s.dir, name))
	if err != nil {
		s.add(path, "%q cannot be made absolute (%v); write the whole path", name, err)
		return ""
	}
	return whole
}
