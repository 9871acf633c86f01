package bfd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// keyFileMax is the longest key file, octets: 256 keys and ample comments.
const keyFileMax = 64 << 10

// ReadKeyFile reads keys from a file, see [ParseKeyFile]. It refuses a file that
// anybody but its owner may read or write, that is longer than 64 KiB, or that is no
// regular file.
func ReadKeyFile(name string, onlyID uint8) ([]Key, error) {
	data, err := readPrivate(name)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	keys, err := ParseKeyFile(data, onlyID)
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", name, err)
	}
	return keys, nil
}

// readPrivate judges the file that it reads, not the one that had the name before.
func readPrivate(name string) ([]byte, error) {
	// Without O_NONBLOCK a named pipe would keep us here until somebody writes.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", name)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s: mode %#o lets others at the keys; run: chmod 600 %s", name, info.Mode().Perm(), name)
	}
	data, err := io.ReadAll(io.LimitReader(f, keyFileMax+1))
	if err != nil {
		return nil, err
	}
	if len(data) > keyFileMax {
		return nil, fmt.Errorf("%s: longer than %d octets", name, keyFileMax)
	}
	return data, nil
}

// ParseKeyFile reads keys, one a line: its id, 0 to 255, and its secret in a form of
// [ParseSecret]. If there is only one key, its line may be only the secret, and its id
// is onlyID. Empty lines and those that begin with # are skipped; a # elsewhere is
// part of a secret. Secrets with a space are written as hex. Errors have the number
// of the line, and nothing of what is in it but a key id.
func ParseKeyFile(data []byte, onlyID uint8) ([]Key, error) {
	var (
		keys []Key
		bad  []error
		// seen is the line of a key id; bare is that of a secret alone.
		seen [256]int
		bare int
	)
	lines := 0
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		lines++
		key, alone, err := parseKeyLine(line, onlyID)
		switch {
		case err != nil:
			bad = append(bad, fmt.Errorf("line %d: %w", i+1, err))
			continue
		case alone:
			bare = i + 1
		case seen[key.ID] != 0:
			bad = append(bad, fmt.Errorf("line %d: key id %d was on line %d already", i+1, key.ID, seen[key.ID]))
		default:
			seen[key.ID] = i + 1
		}
		keys = append(keys, key)
	}
	if bare != 0 && lines > 1 {
		bad = append(bad, fmt.Errorf("line %d: a secret alone is for a file with one key: want ID SECRET", bare))
	}
	if lines == 0 {
		bad = append(bad, errors.New("no key: want lines of ID SECRET"))
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return keys, nil
}

// parseKeyLine reads one key; alone says that it had no id of its own.
func parseKeyLine(line string, onlyID uint8) (key Key, alone bool, err error) {
	words := strings.Fields(line)
	key.ID = onlyID
	switch len(words) {
	case 1:
		alone = true
		if _, err := parseKeyID(line); err == nil {
			return Key{}, false, errors.New("an id without a secret: want ID SECRET, or ascii: before a secret that looks like an id")
		}
	case 2:
		if key.ID, err = parseKeyID(words[0]); err != nil {
			return Key{}, false, err
		}
	default:
		return Key{}, false, errors.New("more than two words: want ID SECRET; write a secret with spaces as hex:, a comment on a line of its own")
	}
	key.Secret, err = ParseSecret(words[len(words)-1])
	return key, alone, err
}

func parseKeyID(word string) (uint8, error) {
	id, err := strconv.ParseUint(word, 10, 8)
	if err != nil {
		// The words of the library quote what may be a secret.
		return 0, errors.New("key id: want 0 to 255")
	}
	return uint8(id), nil
}
