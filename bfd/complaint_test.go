package bfd

import (
	"strings"
	"testing"
)

// While no packet of the peer can be taken, the status says what is wrong with them,
// and nothing of it once the session is Up.
func TestComplaint(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		other := func(change func(a *Auth)) func(r *rig) {
			return func(r *rig) {
				a := Auth{Type: AuthMeticulousSHA1, KeyID: 1, Keys: []Key{{ID: 1, Secret: Secret("another")}}}
				change(&a)
				r.auth = a
			}
		}
		for _, c := range []struct {
			name  string
			conf  Config
			wrong func(r *rig)
			want  string
		}{
			{"nothing", f.asyncConf(), func(*rig) {}, ""},
			{"routed", f.asyncConf(), func(r *rig) { r.from.ttl = 254 }, "hop limit 254 instead of 255"},
			{"too far", f.multihopConf(), func(r *rig) { r.from.ttl = 63 }, "set the minimum to 63"},
			{"unsigned", sha1Conf(f), func(r *rig) { r.auth = Auth{} }, "not authenticated, and meticulous-sha1 is configured"},
			{"signed", f.asyncConf(), other(func(*Auth) {}), "no authentication is configured here"},
			{"otherwise signed", sha1Conf(f), other(func(a *Auth) { a.Type = AuthSHA1 }), "another kind of authentication than meticulous-sha1"},
			{"another key", sha1Conf(f), other(func(a *Auth) { a.KeyID, a.Keys[0].ID = 99, 99 }), "a key id that is not configured"},
			{"another secret", sha1Conf(f), other(func(a *Auth) {
				a.KeyID = sha1Conf(f).Auth.KeyID
				a.Keys[0].ID = a.KeyID
			}), "another secret"},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := newRig(t, c.conf)
				r.settle()
				right, from := r.auth, r.from
				c.wrong(r)
				r.hear(func(*Packet) {})
				if got := r.status().Problem; !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
					t.Errorf("problem %q, want %q in it", got, c.want)
				}
				r.auth, r.from = right, from
				r.bring(Up)
				if got := r.status().Problem; got != "" {
					t.Errorf("problem %q while Up", got)
				}
			})
		}
	})
}
