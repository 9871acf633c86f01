package bfd

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const hushed = "Tr0ub4dor&3"

// traces are the forms in which octets of hushed could show: pieces of four, so that
// a part of it counts, too.
func traces() (forms []string) {
	for i := 0; i+4 <= len(hushed); i++ {
		piece := []byte(hushed[i : i+4])
		forms = append(forms, string(piece), hex.EncodeToString(piece), fmt.Sprintf("% x", piece), fmt.Sprintf("%#v", piece)[len("[]byte{"):23],
			strings.Trim(fmt.Sprintf("%d", piece), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprintf("%d", piece), "[]"), " ", ","), fmt.Sprintf("%o", piece)[1:10])
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, e.EncodeToString([]byte(hushed))[:12])
	}
	return forms
}

// leak returns a form of the secret that is in text.
func leak(text string) string {
	for _, form := range traces() {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return form
		}
	}
	return ""
}

// TestBFD_AU_16_SecretsStaySecret: whatever prints what holds a secret.
func TestBFD_AU_16_SecretsStaySecret(t *testing.T) {
	secret := Secret(hushed)
	key := Key{ID: 7, Secret: secret}
	auth := Auth{Type: AuthSHA1, KeyID: 7, Keys: []Key{key}}
	config := Config{Peer: goldenPeer, Interface: "eth1", Auth: auth}
	event := struct{ Secret any }{secret}
	for _, v := range []any{secret, &secret, key, &key, []Key{key}, auth, &auth, config, &config, Status{Config: config}, event, map[string]any{"x": secret}} {
		// Not %w: for what is no error it asks no method, but go vet refuses it.
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "% x", "%#x", "%q", "%d", "%o", "%b", "%c", "%U", "%t", "%08.3f", "%10s", "%z", "and"} {
			if text := fmt.Sprintf(format, v); leak(text) != "" {
				t.Errorf("%T by %s: %s", v, format, text)
			}
		}
		for name, text := range written(t, v) {
			if leak(text) != "" {
				t.Errorf("%T by %s: %s", v, name, text)
			}
		}
	}
	for _, err := range []error{fmt.Errorf("%w: %v", errors.New("open"), secret), Auth{Type: AuthSimple, KeyID: 1, Keys: []Key{{2, append(secret, secret...)}}}.Validate()} {
		if text := err.Error(); leak(text) != "" {
			t.Error(text)
		}
	}
	// The detector itself.
	for _, text := range []string{hushed, fmt.Sprintf("%d", []byte(hushed)), fmt.Sprintf("%#v", []byte(hushed)), fmt.Sprintf("%X", hushed), fmt.Sprintf("% x", hushed)} {
		if leak(text) == "" {
			t.Errorf("missed %s", text)
		}
	}
	if octets, err := json.Marshal([]byte(hushed)); err != nil || leak(string(octets)) == "" {
		t.Errorf("missed %s, %v", octets, err)
	}
}

// written returns v as logs and encoders write it.
func written(t *testing.T, v any) map[string]string {
	t.Helper()
	var text, lines bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("opened", "value", v)
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("opened", "value", v)
	object, err := json.Marshal(v)
	if err != nil {
		t.Errorf("%T: %v", v, err)
	}
	out := map[string]string{"slog text": text.String(), "slog json": lines.String(), "json": string(object), "print": fmt.Sprint(v), "println": fmt.Sprintln(v)}
	if markup, err := xml.Marshal(v); err == nil { // It has no maps.
		out["xml"] = string(markup)
	}
	if m, ok := v.(interface{ MarshalYAML() (any, error) }); ok {
		value, err := m.MarshalYAML()
		out["yaml"] = fmt.Sprint(value, err)
	}
	return out
}

// TestBFD_AU_16_Redacted: what is shown in its place.
func TestBFD_AU_16_Redacted(t *testing.T) {
	key := Key{ID: 7, Secret: Secret(hushed)}
	for format, want := range map[string]string{
		"%v": "key 7", "%s": "key 7", "%+v": "key 7", "%#v": "bfd.Key{ID:0x7, Secret:[redacted]}", "%d": "{7 [redacted]}",
	} {
		if got := fmt.Sprintf(format, key); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
	octets, err := json.Marshal(key)
	if err != nil || string(octets) != `{"ID":7,"Secret":"[redacted]"}` {
		t.Errorf("%s, %v", octets, err)
	}
	if err := json.Unmarshal(octets, &key); err == nil {
		t.Errorf("what is shown was read as the secret %x", []byte(key.Secret))
	}
	var none Secret
	if text := fmt.Sprintf("%s %s %s", none.String(), none.GoString(), none.LogValue()); text != "[redacted] [redacted] [redacted]" {
		t.Error(text)
	}
}

func TestBFD_AU_13_ParseSecret(t *testing.T) {
	for text, want := range map[string]string{
		"secret":                         "secret",
		"ascii:secret":                   "secret",
		"ascii:hex:00":                   "hex:00",
		"ascii:ascii:x":                  "ascii:x",
		"ascii:with spaces # and hashes": "", // 24 octets
		"ascii:a b":                      "a b",
		"a#b:c~ !":                       "a#b:c~ !",
		"x":                              "x",
		"0123456789abcdefghij":           "0123456789abcdefghij",
		"hex:00":                         "\x00",
		"hex:00ff0A0d":                   "\x00\xff\n\r",
		"hex:736563726574":               "secret",
		"hex:000000000000000000000000000000000000000000": "", // 21 octets
		"hex:0000000000000000000000000000000000000000":   strings.Repeat("\x00", 20),
		"HEX:00":                "HEX:00",
		"":                      "",
		"ascii:":                "",
		"hex:":                  "",
		"hex:0":                 "",
		"hex:0g":                "",
		"hex:0x00":              "",
		"hex:00 ff":             "",
		"hex:00:ff":             "",
		"0123456789abcdefghijk": "",
		"ascii:schlüssel":       "",
		"tab\t":                 "",
		"nul\x00":               "",
		"del\x7f":               "",
	} {
		secret, err := ParseSecret(text)
		if string(secret) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, []byte(secret), err)
		}
		if err != nil && secret != nil {
			t.Errorf("%q: a secret beside the error %v", text, err)
		}
	}
}

// TestBFD_AU_16_ParseErrors: what is wrong with a secret is said without it.
func TestBFD_AU_16_ParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "parse secret: 0 octets: want 1 to 20",
		hushed + hushed:                "parse secret: 22 octets: want 1 to 20",
		"hex:" + hushed:                "parse secret: hex: want pairs of the digits 0 to 9, a to f",
		"ascii:" + hushed[1:] + "\xff": "parse secret: not printable ASCII: other octets need the hex form",
	} {
		if _, err := ParseSecret(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
