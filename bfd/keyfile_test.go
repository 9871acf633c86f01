package bfd

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestBFD_AU_13_ParseKeyFile(t *testing.T) {
	several := []Key{{2, Secret("secret")}, {0, Secret("a#b")}, {255, Secret("\x00\xff")}}
	for text, want := range map[string][]Key{
		"2 secret\n0 ascii:a#b\n255 hex:00ff\n":                               several,
		"# all of them\r\n\r\n  2\tsecret \r\n #x\r\n0   a#b\r\n255 hex:00FF": several,
		"2 secret\n\n\n# 2 other\n0 a#b\n255 hex:00ff\n#" + hushed:            several,
		"secret":                        {{7, Secret("secret")}},
		"# only one\n\n  hex:00ff  \n#": {{7, Secret("\x00\xff")}},
		"ascii:12":                      {{7, Secret("12")}},
		"256":                           {{7, Secret("256")}},
		"1 12":                          {{1, Secret("12")}},
		"7 secret":                      {{7, Secret("secret")}},
		"003 #x":                        {{3, Secret("#x")}},
	} {
		if got, err := ParseKeyFile([]byte(text), 7); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v", text, got, err)
		}
	}
}

// TestBFD_AU_13_BFD_AU_16_KeyFileErrors: they name the line, and keep the secret.
func TestBFD_AU_13_BFD_AU_16_KeyFileErrors(t *testing.T) {
	const bare = "a secret alone is for a file with one key: want ID SECRET"
	const words = "more than two words: want ID SECRET; write a secret with spaces as hex:, a comment on a line of its own"
	const id = "an id without a secret: want ID SECRET, or ascii: before a secret that looks like an id"
	for text, want := range map[string]string{
		"":                                    "no key: want lines of ID SECRET",
		"\n# 1 " + hushed + "\n":              "no key: want lines of ID SECRET",
		"1 a\n256 " + hushed:                  "line 2: key id: want 0 to 255",
		"-1 " + hushed:                        "line 1: key id: want 0 to 255",
		"\n+1 " + hushed:                      "line 2: key id: want 0 to 255",
		hushed + " 1":                         "line 1: key id: want 0 to 255",
		hushed + " " + hushed:                 "line 1: key id: want 0 to 255",
		"\ufeff1 " + hushed:                   "line 1: key id: want 0 to 255",
		"1 " + hushed + " # the old one":      "line 1: " + words,
		"1 ascii:" + hushed + " x":            "line 1: " + words,
		"1 " + hushed + "\n2":                 "line 2: " + id,
		"12":                                  "line 1: " + id,
		"1 x\n" + hushed:                      "line 2: " + bare,
		hushed + "\n1 x":                      "line 1: " + bare,
		hushed + "\n" + hushed:                "line 2: " + bare,
		hushed + "\n256 x":                    "line 2: key id: want 0 to 255\nline 1: " + bare,
		"1 " + hushed + "\n\n01 y\n1 z":       "line 3: key id 1 was on line 1 already\nline 4: key id 1 was on line 1 already",
		"1 hex:" + hushed:                     "line 1: parse secret: hex: want pairs of the digits 0 to 9, a to f",
		"1 hex:\n2 " + hushed + hushed:        "line 1: parse secret: 0 octets: want 1 to 20\nline 2: parse secret: 22 octets: want 1 to 20",
		hushed + "\xff":                       "line 1: parse secret: not printable ASCII: other octets need the hex form",
		"1 " + hushed + "\x00":                "line 1: parse secret: not printable ASCII: other octets need the hex form",
		strings.Repeat(hushed, 5000):          "line 1: parse secret: 55000 octets: want 1 to 20",
		"1 x\n2 y\n# c\n3 " + hushed + "\xff": "line 4: parse secret: not printable ASCII: other octets need the hex form",
	} {
		keys, err := ParseKeyFile([]byte(text), 7)
		if err == nil || err.Error() != want || keys != nil {
			t.Errorf("%.60q:\n%v, %v\nwant\n%s", text, keys, err, want)
		}
		if err != nil && leak(err.Error()) != "" {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// keyFile writes a file with exactly this mode.
func keyFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestBFD_AU_13_ReadKeyFile(t *testing.T) {
	want := []Key{{7, Secret("secret")}}
	name := keyFile(t, "secret\n", 0o600)
	link := name + ".link"
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{name, link, keyFile(t, "secret\n", 0o400), keyFile(t, "7 secret", 0o700)} {
		if keys, err := ReadKeyFile(name, 7); err != nil || !reflect.DeepEqual(keys, want) {
			t.Errorf("%#v, %v", keys, err)
		}
	}
	padding := strings.Repeat("#\n", keyFileMax/2-4)
	if keys, err := ReadKeyFile(keyFile(t, padding+"7 secret", 0o600), 0); err != nil || !reflect.DeepEqual(keys, want) {
		t.Errorf("a file of 64 KiB: %#v, %v", keys, err)
	}
}

// TestBFD_AU_16_OpenKeyFiles: a file that others can read or change is refused, with
// the command that helps.
func TestBFD_AU_16_OpenKeyFiles(t *testing.T) {
	for mode := range os.FileMode(0o200) {
		mode |= 0o600
		name := keyFile(t, "7 "+hushed, mode)
		keys, err := ReadKeyFile(name, 0)
		if open := mode&0o077 != 0; (err != nil) != open || (keys == nil) != open {
			t.Errorf("%o: %v, %v", mode, keys, err)
		}
		if err != nil && (!strings.HasSuffix(err.Error(), "; run: chmod 600 "+name) || leak(err.Error()) != "") {
			t.Errorf("%o: %v", mode, err)
		}
	}
	name := keyFile(t, hushed, 0o640)
	if _, err := ReadKeyFile(name, 0); err == nil || err.Error() != "read key file: "+name+": mode 0640 lets others at the keys; run: chmod 600 "+name {
		t.Error(err)
	}
}

func TestReadKeyFileRefuses(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	long := keyFile(t, "7 secret\n"+string(bytes.Repeat([]byte("#"), keyFileMax-8)), 0o600)
	wrong := keyFile(t, "\n300 "+hushed, 0o600)
	missing := filepath.Join(dir, "missing")
	for name, want := range map[string]string{
		dir:        "read key file: " + dir + ": not a regular file",
		pipe:       "read key file: " + pipe + ": not a regular file",
		missing:    "read key file: open " + missing + ": no such file or directory",
		long:       "read key file: " + long + ": longer than 65536 octets",
		wrong:      "read key file " + wrong + ": line 2: key id: want 0 to 255",
		os.DevNull: "read key file: /dev/null: not a regular file",
	} {
		if keys, err := ReadKeyFile(name, 7); err == nil || err.Error() != want || keys != nil {
			t.Errorf("%v, %v, want %s", keys, err, want)
		}
	}
}
