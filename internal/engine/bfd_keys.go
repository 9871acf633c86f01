package engine

import (
	"fmt"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/config"
)

// keyRing is the authentication of an uplink's sessions.
type keyRing struct {
	// auth has the keys in use; its type is AuthNone while there are none.
	auth bfd.Auth
	// err says why the file of the configuration is not in use.
	err error
}

// readKeys reads the key files of all uplinks, by name. What cannot be read is part of
// the result: a daemon without keys for one uplink goes on with the others.
func readKeys(c *config.Config) map[string]keyRing {
	rings := map[string]keyRing{}
	for _, u := range c.Uplinks {
		if u.BFD == nil || u.BFD.Auth == nil {
			continue
		}
		auth, err := readAuth(u.BFD.Auth)
		if err != nil {
			auth = bfd.Auth{} // Half of an authentication is none.
			err = fmt.Errorf("%w; mend that and reload (SIGHUP), which reads the file again", err)
		}
		rings[u.Name] = keyRing{auth, err}
	}
	return rings
}

func readAuth(a *config.BFDAuth) (bfd.Auth, error) {
	auth := bfd.Auth{KeyID: a.KeyID}
	var err error
	if auth.Type, err = bfd.ParseAuthType(a.Type); err != nil {
		return auth, err
	}
	if auth.Keys, err = bfd.ReadKeyFile(a.KeyFile, a.KeyID); err != nil {
		return auth, err
	}
	if err = auth.Validate(); err != nil {
		return auth, fmt.Errorf("use the keys of %s: %w", a.KeyFile, err)
	}
	return auth, nil
}

// inheritKeys keeps the keys in use of uplinks whose file cannot be read now: an
// attempt to exchange keys that went wrong must not end a session that works.
func inheritKeys(before, now map[string]keyRing) {
	for name, ring := range now {
		if ring.err != nil {
			ring.auth = before[name].auth
			now[name] = ring
		}
	}
}

// authOf returns the authentication of the session of m, or says why it cannot be
// had. A session that has to be authenticated is never opened without.
func (t *site) authOf(m member) (auth bfd.Auth, why string) {
	if m.bfd.Auth == nil {
		return bfd.Auth{}, ""
	}
	ring := t.keys[m.Uplink]
	switch {
	case ring.auth.Type != bfd.AuthNone:
		return ring.auth, ""
	case ring.err != nil:
		return bfd.Auth{}, ring.err.Error()
	default:
		return bfd.Auth{}, fmt.Sprintf("the keys of %s were not read", m.bfd.Auth.KeyFile)
	}
}

// logKeys logs which keys cannot be used.
func (e *Engine) logKeys(t *site) {
	for _, u := range t.config.Uplinks {
		if ring := t.keys[u.Name]; ring.err != nil {
			e.log.Warn("cannot read the keys of BFD", "uplink", u.Name, "old_keys_in_use", ring.auth.Type != bfd.AuthNone, "error", ring.err)
		}
	}
}
