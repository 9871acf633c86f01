package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Sysctls reads and writes kernel settings in the network namespace of the
// daemon, by names such as "net/ipv4/nexthop_compat_mode". [fib.Netlink] does.
type Sysctls interface {
	ReadSysctl(name string) (string, error)
	WriteSysctl(name, value string) error
}

// needed are the settings that the design cannot do without, and the value that
// it needs. With nexthop_compat_mode 1 the kernel re-announces every route of a
// group whenever the group changes, while it holds the lock: 369 ms instead of
// 6 ms with 500,000 routes (Documentation/networking/ip-sysctl.rst).
var needed = map[string]string{"net/ipv4/nexthop_compat_mode": "0"}

// TakeSysctls sets the needed settings and remembers in file what they were, for
// GiveBackSysctls. What was remembered before is not overwritten: after a crash
// the present value is our own. A setting that this kernel lacks is passed over.
func TakeSysctls(s Sysctls, file string, log *slog.Logger) error {
	old, err := remembered(file)
	if err != nil {
		return err
	}
	var errs []error
	for name, want := range needed {
		have, err := s.ReadSysctl(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		case have == want:
			continue
		}
		if _, ok := old[name]; !ok {
			old[name] = have
			if err := remember(file, old); err != nil {
				// Never change what could not be given back.
				return errors.Join(append(errs, err)...)
			}
		}
		if err := s.WriteSysctl(name, want); err != nil {
			errs = append(errs, err)
			continue
		}
		log.Info("sysctl changed", "name", name, "before", have, "now", want)
	}
	return errors.Join(errs...)
}

// GiveBackSysctls restores what TakeSysctls changed and forgets it. A setting that
// the kernel has no more is passed over; while one cannot be written, all of them
// are remembered.
func GiveBackSysctls(s Sysctls, file string, log *slog.Logger) error {
	old, err := remembered(file)
	if err != nil {
		return err
	}
	var errs []error
	for name, value := range old {
		err := s.WriteSysctl(name, value)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			errs = append(errs, err)
			continue
		}
		log.Info("sysctl restored", "name", name, "now", value)
	}
	if len(errs) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func remembered(file string) (map[string]string, error) {
	old := map[string]string{}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return old, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read remembered sysctls: %w", err)
	}
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, fmt.Errorf("read remembered sysctls: %s: %w; remove the file if the settings are as they should be", file, err)
	}
	if old == nil { // The file says null.
		old = map[string]string{}
	}
	return old, nil
}

// remember writes the file so that a crash or a full disk leaves the old one.
func remember(file string, old map[string]string) error {
	data, err := json.Marshal(old)
	if err != nil {
		return fmt.Errorf("remember sysctls: %w", err)
	}
	if err := replaceFile(file, data); err != nil {
		return fmt.Errorf("remember sysctls: %w", err)
	}
	return nil
}

// replaceFile writes a file so that whoever reads it finds the old or the new one.
func replaceFile(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temp := file + ".new"
	err := os.WriteFile(temp, data, 0o600)
	if err == nil {
		err = os.Rename(temp, file)
	}
	if err != nil {
		_ = os.Remove(temp) // What is left of it takes room and says nothing.
	}
	return err
}

// SysctlsStillOurs returns the needed settings that have the value that we need:
// after GiveBackSysctls they were so before, or nobody remembers.
func SysctlsStillOurs(s Sysctls) map[string]string {
	ours := map[string]string{}
	for name, want := range needed {
		if have, err := s.ReadSysctl(name); err == nil && have == want {
			ours[name] = have
		}
	}
	return ours
}
