package bfd

import (
	"crypto/fips140"
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Authentication sections, octets (RFC 5880 sections 4.2 to 4.4).
const (
	// passwordOffset is where the password follows type, length and key id.
	passwordOffset = 3
	// digestOffset is where the digest follows those, a reserved octet and the
	// sequence number.
	digestOffset = 8
	// simpleMax and sha1Max are the longest secrets; that of MD5 is simpleMax.
	simpleMax = 16
	sha1Max   = sha1.Size
)

// Auth is the authentication of a session. Every key is accepted from the peer,
// the one called KeyID is used for sending: keys can be exchanged one end after
// the other, without a flap (RFC 5880 section 6.7.1).
type Auth struct {
	Type  AuthType
	KeyID uint8
	Keys  []Key
}

// Key is a shared secret. It prints as its id.
type Key struct {
	ID uint8
	// Secret: 1..16 octets for simple and MD5, 1..20 for SHA1.
	Secret Secret
}

// String returns the id, "key 2".
func (k Key) String() string { return fmt.Sprintf("key %d", k.ID) }

// known reports whether a is a kind of authentication.
func (a AuthType) known() bool { return a == AuthSimple || a.sequenced() }

// sequenced reports whether packets of this kind are numbered. It may be asked of
// anything that was received.
func (a AuthType) sequenced() bool { return a >= AuthMD5 && a <= AuthMeticulousSHA1 }

// meticulous reports whether every packet has a number of its own (RFC 5880 sections
// 6.7.3 and 6.7.4).
func (a AuthType) meticulous() bool { return a == AuthMeticulousMD5 || a == AuthMeticulousSHA1 }

// secretMax is how long a secret may be, octets.
func (a AuthType) secretMax() int {
	switch a {
	case AuthNone:
		return 0
	case AuthSimple, AuthMD5, AuthMeticulousMD5:
		return simpleMax
	case AuthSHA1, AuthMeticulousSHA1:
		return sha1Max
	default:
		panic(fmt.Sprintf("bfd: unhandled authentication type %d", uint8(a)))
	}
}

// Validate returns everything that is wrong with a. No secret is in the errors.
func (a Auth) Validate() error {
	switch {
	case a.Type == AuthNone && len(a.Keys) > 0:
		return errors.New("authentication none: keys without a type would protect nothing")
	case a.Type == AuthNone:
		return nil
	case !a.Type.known():
		return fmt.Errorf("authentication type %d: want 0 to %d", a.Type, AuthMeticulousSHA1)
	case len(a.Keys) == 0:
		return fmt.Errorf("authentication %s: no keys", a.Type)
	}
	var bad []error
	refuse := func(format string, args ...any) {
		bad = append(bad, fmt.Errorf("authentication %s: %w", a.Type, fmt.Errorf(format, args...)))
	}
	if a.Type.sequenced() && fips140.Enforced() {
		// The digests would panic on the first packet.
		refuse("not while only FIPS 140-3 algorithms are allowed (GODEBUG fips140=only)")
	}
	seen, sending := [256]bool{}, false
	for _, k := range a.Keys {
		if n := len(k.Secret); n < 1 || n > a.Type.secretMax() {
			refuse("%s: secret of %d octets: want 1 to %d", k, n, a.Type.secretMax())
		}
		if seen[k.ID] {
			refuse("%s: more than one", k)
		}
		seen[k.ID] = true
		sending = sending || k.ID == a.KeyID
	}
	if !sending {
		refuse("key id %d for sending: not among the keys", a.KeyID)
	}
	return errors.Join(bad...)
}

// key returns the secret with an id, nil if there is none.
func (a *Auth) key(id uint8) Secret {
	for i := range a.Keys {
		if a.Keys[i].ID == id {
			return a.Keys[i].Secret
		}
	}
	return nil
}

// sign appends the section to b, which is the 24 octets of one packet, and completes
// the header. It does not allocate if b has the capacity. The sequence number is that
// of the packet; simple passwords have none. a is valid.
func (a *Auth) sign(b []byte, sequence uint32) []byte {
	if a.Type == AuthNone {
		return b
	}
	secret := a.key(a.KeyID)
	if len(b) != headerLength || len(secret) == 0 {
		panic(fmt.Sprintf("bfd: cannot sign %d octets with key %d of %d", len(b), a.KeyID, len(a.Keys)))
	}
	length := passwordOffset + len(secret)
	if a.Type.sequenced() {
		length = digestOffset + a.Type.digestSize()
	}
	b[1] |= flagAuth
	b[3] = byte(headerLength + length)
	b = append(b, byte(a.Type), byte(length), a.KeyID)
	if a.Type == AuthSimple {
		return append(b, secret...)
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint32(b, sequence)
	at := len(b)
	b = append(b, make([]byte, a.Type.digestSize())...)
	a.Type.digest(b, at, secret)
	return b
}

// digestSize is that of a sequenced type, octets.
func (a AuthType) digestSize() int {
	switch a {
	case AuthMD5, AuthMeticulousMD5:
		return md5.Size
	case AuthSHA1, AuthMeticulousSHA1:
		return sha1.Size
	case AuthNone, AuthSimple:
		panic(fmt.Sprintf("bfd: %s has no digest", a))
	default:
		panic(fmt.Sprintf("bfd: unhandled authentication type %d", uint8(a)))
	}
}

// digest writes the digest of b to b[at:]: that of all octets while the secret, with
// zeros behind it, stands where the digest will (RFC 5880 sections 6.7.3 and 6.7.4).
func (a AuthType) digest(b []byte, at int, secret Secret) {
	field := b[at : at+a.digestSize()]
	clear(field[copy(field, secret):])
	if len(field) == md5.Size {
		sum := md5.Sum(b)
		copy(field, sum[:])
		return
	}
	sum := sha1.Sum(b)
	copy(field, sum[:])
}

// verify judges the authentication of a packet that decode took: everything of RFC
// 5880 section 6.7 but sequence numbers, see [sequence.check]. It leaves pdu as it is.
//
// Which packets have a section is said by the A bit, not by p.Auth.Type: the peer may
// have put a 0 there.
func (a *Auth) verify(pdu []byte, p *Packet) Drop {
	has := authenticated(pdu)
	switch {
	case a.Type == AuthNone && !has:
		return DropNone
	case a.Type == AuthNone:
		return DropAuthUnexpected
	case !has:
		return DropAuthMissing
	case p.Auth.Type != a.Type:
		return DropAuthType
	}
	section := pdu[headerLength:]
	if !a.Type.plausible(int(p.Auth.Length), len(section)) {
		return DropAuthLength
	}
	secret := a.key(p.Auth.KeyID)
	if len(secret) == 0 {
		return DropAuthKey
	}
	if a.Type == AuthSimple {
		if int(p.Auth.Length) != passwordOffset+len(secret) {
			return DropAuthLength
		}
		return judgeEqual(section[passwordOffset:p.Auth.Length], secret)
	}
	var scratch [maxLength]byte
	b := scratch[:copy(scratch[:], pdu)]
	at := headerLength + digestOffset
	a.Type.digest(b, at, secret)
	return judgeEqual(pdu[at:at+a.Type.digestSize()], b[at:at+a.Type.digestSize()])
}

// plausible reports whether a section of this kind may have a length of said octets
// by its own account, where room octets of the packet are left for it. RFC 5880 does
// not ask for more than that the section fits; a digest covers what follows it.
func (a AuthType) plausible(said, room int) bool {
	if said > room {
		return false
	}
	if a == AuthSimple {
		return said > passwordOffset && said <= passwordOffset+simpleMax
	}
	return said == digestOffset+a.digestSize()
}

// judgeEqual compares what was received to what was expected without telling by its
// time how much of it is right.
func judgeEqual(received, expected []byte) Drop {
	if subtle.ConstantTimeCompare(received, expected) != 1 {
		return DropAuthDigest
	}
	return DropNone
}

// sequence is the window of sequence numbers that the peer may use. Numbers are
// circular: 0 follows 0xffffffff.
type sequence struct {
	// known is AuthSeqKnown and last is RcvAuthSeq of RFC 5880 section 6.8.1.
	known bool
	last  uint32
}

// check judges a sequence number, and takes it over if it is good. It is for packets
// that were verified, because whoever may name the first number owns the window. The
// window is three times what the packet says to be its Detect Mult (RFC 5880 sections
// 6.7.3 and 6.7.4); a meticulous peer repeats no number.
func (s *sequence) check(meticulous bool, received uint32, detectMult uint8) Drop {
	if s.known {
		ahead := received - s.last
		if ahead > 3*uint32(detectMult) || meticulous && ahead == 0 {
			return DropAuthSequence
		}
	}
	s.known, s.last = true, received
	return DropNone
}

// forget opens the window for a peer that was silent for long, and may have started
// anew (RFC 5880 section 6.8.1, AuthSeqKnown).
func (s *sequence) forget() { *s = sequence{} }
