package interop

import (
	"fmt"
	"testing"

	"github.com/multihomed/multihomed/bfd"
)

// secrets of the tests; the peer's configuration holds them as text.
var (
	firstKey  = bfd.Key{ID: 1, Secret: bfd.Secret("correct horse")}
	secondKey = bfd.Key{ID: 2, Secret: bfd.Secret("battery staple")}
	// wrongKey has the length of firstKey, so that simple passwords differ by
	// nothing else.
	wrongKey = bfd.Key{ID: 1, Secret: bfd.Secret("incorrect hor")}
)

var authTypes = []bfd.AuthType{bfd.AuthSimple, bfd.AuthMD5, bfd.AuthMeticulousMD5, bfd.AuthSHA1, bfd.AuthMeticulousSHA1}

func authenticated(a bfd.Auth) (terms, func(*bfd.Config)) {
	with := theirs
	with.auth = a
	return with, func(c *bfd.Config) { c.Auth = a }
}

// authEach runs f for each kind of authentication of BIRD; FRR has none.
func authEach(t *testing.T, f func(t *testing.T, kind bfd.AuthType)) {
	t.Helper()
	for _, kind := range authTypes {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			f(t, kind)
		})
	}
}

// TestBFD_AU_02_BFD_AU_04_BFD_AU_05_BFD_AU_08_InteropAuthentication: with a wrong
// secret nobody comes up, and the reason is counted; with the right one, given to
// the running session, it does, and again after the peer died, whose numbers begin
// anew.
func TestBFD_AU_02_BFD_AU_04_BFD_AU_05_BFD_AU_08_InteropAuthentication(t *testing.T) {
	t.Parallel()
	authEach(t, func(t *testing.T, kind bfd.AuthType) {
		with, right := authenticated(bfd.Auth{Type: kind, KeyID: 1, Keys: []bfd.Key{firstKey}})
		_, wrong := authenticated(bfd.Auth{Type: kind, KeyID: 1, Keys: []bfd.Key{wrongKey}})
		_, unknown := authenticated(bfd.Auth{Type: kind, KeyID: 2, Keys: []bfd.Key{secondKey}})
		s := play(t, newBird(t), with)
		e := s.speak(t, wrong)
		s.refuses(t, e, bfd.DropAuthDigest)
		e.update(t, s, unknown)
		s.refuses(t, e, bfd.DropAuthKey)
		e.update(t, s, unchanged)
		s.refuses(t, e, bfd.DropAuthUnexpected)
		e.update(t, s, right)
		s.comesUp(t, e)
		s.agree(t, e, right, with)
		e.forget()
		s.process.kill(t)
		s.expired(t, e)
		s.launch(t, with)
		s.comesUp(t, e)
	})
}

// refuses sees packets dropped for a reason, and nothing come of them at either end.
func (s *scene) refuses(t *testing.T, e *end, why bfd.Drop) {
	t.Helper()
	eventually(t, fmt.Sprintf("packets are dropped for %s", why), s.each(func(p path) error {
		if st := e.status(p); st.Dropped[why] < 2 {
			return fmt.Errorf("%s, dropped %v", st.State, st.Dropped)
		}
		return nil
	}))
	for _, p := range s.paths {
		if st := e.status(p); st.EverUp || st.State != bfd.Down || st.Received != 0 {
			t.Errorf("%s: %s, ever up %t, %d received", p.name, st.State, st.EverUp, st.Received)
		}
	}
	// FRR does not look at the A bit, and takes what is signed for a call.
	s.peerSays(t, bfd.Down, bfd.Init)
}

// TestBFD_RX_13_InteropAuthenticationMissing: a peer without authentication does not
// get in.
func TestBFD_RX_13_InteropAuthenticationMissing(t *testing.T) {
	t.Parallel()
	against(t, func(t *testing.T, make func(*testing.T) daemon) {
		s := play(t, make(t), theirs)
		_, signed := authenticated(bfd.Auth{Type: bfd.AuthMeticulousSHA1, KeyID: 1, Keys: []bfd.Key{firstKey}})
		e := s.speak(t, signed)
		s.refuses(t, e, bfd.DropAuthMissing)
		e.update(t, s, unchanged)
		s.comesUp(t, e)
	})
}

// TestBFD_AU_15_InteropRollover: a key is exchanged for another, one end after the
// other, while the sessions are up; nobody leaves Up.
func TestBFD_AU_15_InteropRollover(t *testing.T) {
	t.Parallel()
	authEach(t, func(t *testing.T, kind bfd.AuthType) {
		old := bfd.Auth{Type: kind, KeyID: 1, Keys: []bfd.Key{firstKey}}
		oldOfBoth := bfd.Auth{Type: kind, KeyID: 1, Keys: []bfd.Key{firstKey, secondKey}}
		newOfBoth := bfd.Auth{Type: kind, KeyID: 2, Keys: []bfd.Key{firstKey, secondKey}}
		fresh := bfd.Auth{Type: kind, KeyID: 2, Keys: []bfd.Key{secondKey}}
		with, right := authenticated(old)
		s := play(t, newBird(t), with)
		e := s.speak(t, right)
		s.comesUp(t, e)
		e.forget()
		for _, next := range []bfd.Auth{oldOfBoth, newOfBoth, fresh} {
			// Each end accepts what the other sends, before and after.
			with, right = authenticated(next)
			s.daemon.apply(t, with)
			s.settled(t, e)
			e.update(t, s, right)
			s.settled(t, e)
			s.peerSays(t, bfd.Up)
		}
		s.steady(t, e)
		if views, err := s.daemon.views(); err != nil || len(views) != len(s.paths) {
			t.Errorf("BIRD has %d sessions: %v", len(views), err)
		}
	})
}
