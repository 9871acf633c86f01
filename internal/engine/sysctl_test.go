package engine

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const compatMode = "net/ipv4/nexthop_compat_mode"

// settings are Sysctls in memory.
type settings struct {
	values            map[string]string
	readErr, writeErr error
	writes            []string
	// onWrite sees the moment before a write.
	onWrite func()
}

func (s *settings) ReadSysctl(name string) (string, error) {
	v, ok := s.values[name]
	if s.readErr != nil {
		return "", s.readErr
	}
	if !ok {
		return "", fs.ErrNotExist
	}
	return v, nil
}

func (s *settings) WriteSysctl(name, value string) error {
	if s.onWrite != nil {
		s.onWrite()
	}
	if s.writeErr != nil {
		return s.writeErr
	}
	if _, ok := s.values[name]; !ok {
		return fs.ErrNotExist
	}
	s.values[name] = value
	s.writes = append(s.writes, name+"="+value)
	return nil
}

var discard = slog.New(slog.DiscardHandler)

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

// TestTakeSysctls: what it changes, and what it remembers, in every situation.
func TestTakeSysctls(t *testing.T) {
	denied := fs.ErrPermission
	tests := []struct {
		name       string
		have       map[string]string
		memory     string
		readErr    error
		writeErr   error
		want       string // the value after it
		wantMemory string
		fails      string
	}{
		{"the default", map[string]string{compatMode: "1"}, "", nil, nil, "0", `{"` + compatMode + `":"1"}`, ""},
		{"as needed already", map[string]string{compatMode: "0"}, "", nil, nil, "0", "", ""},
		{"the kernel has no such setting", nil, "", nil, nil, "", "", ""},
		{"after a crash", map[string]string{compatMode: "0"}, `{"` + compatMode + `":"1"}`, nil, nil, "0", `{"` + compatMode + `":"1"}`, ""},
		{"after a crash, and changed by somebody", map[string]string{compatMode: "7"}, `{"` + compatMode + `":"1"}`, nil, nil, "0", `{"` + compatMode + `":"1"}`, ""},
		{"read-only /proc", map[string]string{compatMode: "1"}, "", nil, denied, "1", `{"` + compatMode + `":"1"}`, "permission denied"},
		{"unreadable /proc", map[string]string{compatMode: "1"}, "", denied, nil, "1", "", "permission denied"},
		{"corrupt memory", map[string]string{compatMode: "1"}, `{"net`, nil, nil, "1", `{"net`, "remove the file if the settings are as they should be"},
		{"memory cut off to nothing", map[string]string{compatMode: "1"}, " ", nil, nil, "1", " ", "remove the file"},
		{"memory says null", map[string]string{compatMode: "1"}, "null", nil, nil, "0", `{"` + compatMode + `":"1"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "run", "sysctls")
			if tt.memory != "" {
				if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(tt.memory), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			s := &settings{values: tt.have, readErr: tt.readErr, writeErr: tt.writeErr}
			s.onWrite = func() {
				if content(t, file) == "" {
					t.Error("changed before it was remembered")
				}
			}
			err := TakeSysctls(s, file, discard)
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("error is %v, want %q", err, tt.fails)
			}
			if s.values[compatMode] != tt.want || content(t, file) != tt.wantMemory {
				t.Errorf("the setting is %q and the memory %q, want %q and %q", s.values[compatMode], content(t, file), tt.want, tt.wantMemory)
			}
		})
	}
}

// TestTakeSysctls_nothingWithoutMemory: what cannot be remembered is not changed, and
// the memory before stays. Directories stand in the way, because root may write
// everywhere.
func TestTakeSysctls_nothingWithoutMemory(t *testing.T) {
	for name, block := range map[string]func(file string) error{
		"no room for the new memory": func(file string) error {
			return errors.Join(os.MkdirAll(file+".new", 0o755), os.WriteFile(file, []byte(`{"other":"5"}`), 0o600))
		},
		"no room for its directory": func(file string) error { return os.WriteFile(filepath.Dir(file), nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "run", "sysctls")
			if strings.Contains(name, "new") {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := block(file); err != nil {
				t.Fatal(err)
			}
			s := &settings{values: map[string]string{compatMode: "1"}}
			if err := TakeSysctls(s, file, discard); err == nil {
				t.Error("no error")
			}
			if len(s.writes) > 0 {
				t.Errorf("wrote %q", s.writes)
			}
			if strings.Contains(name, "new") && content(t, file) != `{"other":"5"}` {
				t.Errorf("the memory is %q now", content(t, file))
			}
		})
	}
}

// TestTakeSysctls_fullDisk: a full disk, in the form of /dev/full, changes nothing.
func TestTakeSysctls_fullDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sysctls")
	if err := os.Symlink("/dev/full", file+".new"); err != nil {
		t.Fatal(err)
	}
	s := &settings{values: map[string]string{compatMode: "1"}}
	if err := TakeSysctls(s, file, discard); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error is %v", err)
	}
	if len(s.writes) > 0 || content(t, file) != "" {
		t.Errorf("wrote %q, remembers %q", s.writes, content(t, file))
	}
	if _, err := os.Lstat(file + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is left of the memory takes room: %v", err)
	}
}

// TestGiveBackSysctls: what was changed is as before, and forgotten only then.
func TestGiveBackSysctls(t *testing.T) {
	tests := []struct {
		name, memory string
		have         map[string]string
		writeErr     error
		want         map[string]string
		remembers    bool
		fails        bool
	}{
		{"one", `{"x":"5"}`, map[string]string{"x": "0"}, nil, map[string]string{"x": "5"}, false, false},
		{"nothing was changed", "", map[string]string{"x": "0"}, nil, map[string]string{"x": "0"}, false, false},
		{"one that the kernel has no more", `{"x":"5","y":"6"}`, map[string]string{"y": "0"}, nil, map[string]string{"y": "6"}, false, false},
		{"one that cannot be written", `{"x":"5"}`, map[string]string{"x": "0"}, fs.ErrPermission, map[string]string{"x": "0"}, true, true},
		{"corrupt memory", `{`, map[string]string{"x": "0"}, nil, map[string]string{"x": "0"}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sysctls")
			if tt.memory != "" {
				if err := os.WriteFile(file, []byte(tt.memory), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := &settings{values: tt.have, writeErr: tt.writeErr}
			if err := GiveBackSysctls(s, file, discard); (err != nil) != tt.fails {
				t.Errorf("error is %v", err)
			}
			for name, want := range tt.want {
				if s.values[name] != want {
					t.Errorf("%s is %q, want %q", name, s.values[name], want)
				}
			}
			if got := content(t, file) != ""; got != tt.remembers {
				t.Errorf("remembers %t, want %t", got, tt.remembers)
			}
		})
	}
}

// TestSysctls_aLife: taken, crashed, taken again, given back: as it was at first.
func TestSysctls_aLife(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sysctls")
	s := &settings{values: map[string]string{compatMode: "1"}}
	for range 2 {
		if err := TakeSysctls(s, file, discard); err != nil || s.values[compatMode] != "0" {
			t.Fatalf("taken: %v, %v", err, s.values)
		}
	}
	for range 2 {
		if err := GiveBackSysctls(s, file, discard); err != nil || s.values[compatMode] != "1" {
			t.Fatalf("given back: %v, %v", err, s.values)
		}
	}
	if len(s.writes) != 2 {
		t.Errorf("writes are %q", s.writes)
	}
}
