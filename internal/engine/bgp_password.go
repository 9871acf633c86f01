package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/config"
)

// passwordMost is the longest password of TCP MD5, octets: what Linux takes
// (TCP_MD5SIG_MAXKEYLEN, include/uapi/linux/tcp.h).
const passwordMost = 80

// password is what the password file of an uplink holds.
type password struct {
	// secret is in use; empty while there is none.
	secret bgp.Secret
	// err says why the file of the configuration is not in use.
	err error
}

// readPasswords reads the password files of all uplinks, by name. What cannot be read
// is part of the result: a daemon without the password of one uplink goes on with the
// others.
func readPasswords(c *config.Config) map[string]password {
	all := map[string]password{}
	for _, u := range c.Uplinks {
		if u.BGP == nil || u.BGP.PasswordFile == "" {
			continue
		}
		secret, err := readPassword(u.BGP.PasswordFile)
		if err != nil {
			err = fmt.Errorf("read password file: %w; mend that and reload (SIGHUP), which reads the file again", err)
		}
		all[u.Name] = password{secret, err}
	}
	return all
}

// readPassword judges the file that it reads, not the one that had the name before. No
// error has anything of what is in the file.
func readPassword(name string) (bgp.Secret, error) {
	// Without O_NONBLOCK a named pipe would keep us here until somebody writes.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch {
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: not a regular file", name)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s: mode %#o lets others at the password; run: chmod 600 %s", name, info.Mode().Perm(), name)
	}
	data, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if err := checkPassword(text); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return bgp.Secret(text), nil
}

// checkPassword refuses what the other end could hardly be given (RFC 2385 section
// 4.5): a space at an end is nearly always a mistake that nobody sees.
func checkPassword(text string) error {
	switch {
	case text == "":
		return errors.New("no password in it: want one line of 1 to 80 characters")
	case len(text) > passwordMost:
		return fmt.Errorf("%d characters: want one line of 1 to %d", len(text), passwordMost)
	case strings.TrimSpace(text) != text:
		return errors.New("a space before or behind the password")
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return errors.New("more than one line of printable ASCII")
		}
	}
	return nil
}

// inheritPasswords keeps the passwords in use of uplinks whose file cannot be read
// now: a session that works is not ended for that.
func inheritPasswords(before, now map[string]password) {
	for name, p := range now {
		if p.err != nil {
			p.secret = before[name].secret
			now[name] = p
		}
	}
}

// passwordOf returns the password of the sessions of u, or says why it cannot be had.
// A session that has to have one is never tried without.
func (t *site) passwordOf(u config.Uplink) (secret bgp.Secret, why string) {
	if u.BGP.PasswordFile == "" {
		return "", ""
	}
	p := t.passwords[u.Name]
	switch {
	case p.secret != "":
		return p.secret, ""
	case p.err != nil:
		return "", p.err.Error()
	default:
		return "", fmt.Sprintf("the password file %s was not read", u.BGP.PasswordFile)
	}
}

// logPasswords logs which passwords cannot be used.
func (e *Engine) logPasswords(t *site) {
	for _, u := range t.config.Uplinks {
		if p := t.passwords[u.Name]; p.err != nil {
			e.log.Warn("cannot read the password of BGP", "uplink", u.Name, "old_password_in_use", p.secret != "", "error", p.err)
		}
	}
}
