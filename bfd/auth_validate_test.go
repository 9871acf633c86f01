package bfd

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestAuthValidate(t *testing.T) {
	key := func(id uint8, n int) Key { return Key{id, bytes.Repeat([]byte("s"), n)} }
	for _, c := range []struct {
		a    Auth
		want string
	}{
		{Auth{}, ""},
		{Auth{Type: AuthSHA1, KeyID: 0, Keys: []Key{key(0, 20), key(255, 1)}}, ""},
		{Auth{Keys: []Key{key(0, 1)}}, "authentication none: keys without a type would protect nothing"},
		{Auth{Type: 6, Keys: []Key{key(0, 1)}}, "authentication type 6: want 0 to 5"},
		{Auth{Type: AuthSimple}, "authentication simple: no keys"},
		{Auth{Type: AuthSHA1, KeyID: 3, Keys: []Key{key(4, 1)}}, "authentication sha1: key id 3 for sending: not among the keys"},
		{Auth{Type: AuthMD5, KeyID: 4, Keys: []Key{key(4, 17)}}, "authentication md5: key 4: secret of 17 octets: want 1 to 16"},
		{
			Auth{Type: AuthMeticulousSHA1, KeyID: 9, Keys: []Key{key(4, 21), key(4, 0)}},
			"authentication meticulous-sha1: key 4: secret of 21 octets: want 1 to 20\nauthentication meticulous-sha1: key 4: secret of 0 octets: want 1 to 20\n" +
				"authentication meticulous-sha1: key 4: more than one\nauthentication meticulous-sha1: key id 9 for sending: not among the keys",
		},
	} {
		got := ""
		if err := c.a.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v:\n%s\nwant\n%s", c.a, got, c.want)
		}
	}
}

// TestAuthValidateFIPS runs itself where MD5 and SHA1 would panic: such
// configurations have to be refused before the first packet.
func TestAuthValidateFIPS(t *testing.T) {
	if os.Getenv("BFD_TEST_FIPS") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAuthValidateFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "BFD_TEST_FIPS=1", "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestAuthValidateFIPS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for _, typ := range authKinds {
		err := testAuth(typ).Validate()
		if refused := err != nil && strings.Contains(err.Error(), "FIPS"); refused != typ.sequenced() {
			t.Errorf("%s: %v", typ, err)
		}
	}
}
