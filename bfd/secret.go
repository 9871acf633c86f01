package bfd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// redacted stands for every secret, whatever its length. It is no base64, so that
// JSON that was written cannot be read back as a secret.
const redacted = "[redacted]"

// Secret is never shown: not by fmt, slog, JSON or YAML. That does not hold inside an
// unexported field of a struct that is printed, because fmt calls no methods there:
// what keeps secrets that way needs a String of its own.
type Secret []byte

// ParseSecret reads a secret of 1 to 20 octets: "ascii:text", "hex:00ff" for any
// octets, or a bare text, which means the same as with "ascii:" (RFC 5880 sections
// 6.7.2 to 6.7.4 ask for both forms). Text is printable ASCII. The secret is in no
// error.
func ParseSecret(s string) (Secret, error) {
	secret, err := secretOctets(s)
	if err != nil {
		return nil, fmt.Errorf("parse secret: %w", err)
	}
	if n := len(secret); n < 1 || n > sha1Max {
		return nil, fmt.Errorf("parse secret: %d octets: want 1 to %d", n, sha1Max)
	}
	return secret, nil
}

func secretOctets(s string) (Secret, error) {
	if digits, ok := strings.CutPrefix(s, "hex:"); ok {
		octets, err := hex.DecodeString(digits)
		if err != nil {
			// The words of the library quote a digit.
			return nil, errors.New("hex: want pairs of the digits 0 to 9, a to f")
		}
		return octets, nil
	}
	text := strings.TrimPrefix(s, "ascii:")
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return nil, errors.New("not printable ASCII: other octets need the hex form")
		}
	}
	return Secret(text), nil
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb: %x and %d would not ask String.
func (Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, redacted) // fmt takes all.
}

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a string of JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML returns "[redacted]".
func (Secret) MarshalYAML() (any, error) { return redacted, nil }
