package fib

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ReadSysctl returns the value of a setting of the network namespace, without the
// newline. name is a path below /proc/sys, such as
// "net/ipv4/nexthop_compat_mode". errors.Is finds fs.ErrNotExist if the kernel
// has no such setting.
func (k *Netlink) ReadSysctl(name string) (string, error) {
	var value []byte
	err := k.sysctl(name, func(path string) (err error) {
		value, err = os.ReadFile(path)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", name, cause(err))
	}
	return strings.TrimSuffix(string(value), "\n"), nil
}

// WriteSysctl is the reverse of [Netlink.ReadSysctl]. It never creates a file.
func (k *Netlink) WriteSysctl(name, value string) error {
	err := k.sysctl(name, func(path string) error {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = file.WriteString(value + "\n")
		return errors.Join(err, file.Close())
	})
	if err != nil {
		return fmt.Errorf("write sysctl %s: %w", name, cause(err))
	}
	return nil
}

// sysctl runs f inside the namespace: what /proc/sys/net shows depends on the
// thread that opens it.
func (k *Netlink) sysctl(name string, f func(path string) error) error {
	if !fs.ValidPath(name) || name == "." {
		return fs.ErrInvalid
	}
	return k.ns.do(func() error { return f(filepath.Join("/proc/sys", name)) })
}

// cause drops the path from err: the name is in the message already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
