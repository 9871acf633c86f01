package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// enteredVariable is set for the program that Enter runs, so that it never runs
// itself a third time. The name stays clear of those that override the daemon's
// configuration.
const enteredVariable = "IN_LAB_OF_MULTIHOMED"

// Enter makes sure that labs can be made. Call it first thing in main or
// TestMain. Where this process has the rights (root), it returns false and the
// program goes on. Otherwise it runs the same program with the same arguments
// inside a new user and network namespace, where the user is root, passes
// SIGINT, SIGTERM and SIGHUP on to it, waits for it, and returns true with its
// exit code: the caller then exits with that code. The error says what forbids
// user namespaces on this machine and how to go on.
func Enter() (outer bool, code int, err error) {
	if err := mayMakeNamespaces(); err == nil {
		return false, 0, nil
	} else if os.Getenv(enteredVariable) != "" {
		return false, 0, fmt.Errorf("make network namespaces inside a user namespace: %w", err)
	}
	code, err = again()
	return true, code, err
}

// Main is Enter for TestMain: os.Exit(lab.Main(m)).
func Main(m interface{ Run() int }) int {
	outer, code, err := Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if outer {
		return code
	}
	return m.Run()
}

// again runs this program in a user namespace.
func again() (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), enteredVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The thread that starts the program must outlive it, or Pdeathsig fires.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start in a user namespace: %w: %s", err, howToGetRights())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// It may have ended meanwhile; its end is reported below.
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			return exitCode(cmd, err)
		}
	}
}

// exitCode follows the shells: 128 and the number of the signal.
func exitCode(cmd *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("wait for the program in the user namespace: %w", err)
	}
	// On Linux it always is one; anything else has no signal to tell of.
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// mayMakeNamespaces tries it on a thread that ends afterwards: capabilities alone
// do not tell, because a seccomp filter or a limit may stand in the way.
func mayMakeNamespaces() error {
	t, err := startThread()
	if err == nil {
		return t.stop()
	}
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: raise the limit user.max_net_namespaces with sysctl -w", err)
	}
	return fmt.Errorf("%w: run it with sudo, or from a program that calls lab.Enter", err)
}

// userNamespaceSettings are the settings that are known to forbid user
// namespaces, with the value that does.
var userNamespaceSettings = []struct{ name, forbids, allow string }{
	{"kernel/unprivileged_userns_clone", "0", "1"},
	{"kernel/apparmor_restrict_unprivileged_userns", "1", "0"},
	{"user/max_user_namespaces", "0", "16384"},
	{"user/max_net_namespaces", "0", "16384"},
}

// howToGetRights names the setting that stands in the way, if one can be found.
func howToGetRights() string {
	return adviseOnUserNamespaces(func(name string) (string, error) {
		b, err := os.ReadFile("/proc/sys/" + name)
		return strings.TrimSpace(string(b)), err
	})
}

func adviseOnUserNamespaces(read func(name string) (string, error)) string {
	var found []string
	for _, s := range userNamespaceSettings {
		if v, err := read(s.name); err == nil && v == s.forbids {
			found = append(found, fmt.Sprintf("sysctl -w %s=%s", strings.ReplaceAll(s.name, "/", "."), s.allow))
		}
	}
	if len(found) == 0 {
		return "this machine or container forbids user namespaces; run it with sudo"
	}
	return "run it with sudo, or allow user namespaces to everybody: sudo " + strings.Join(found, "; sudo ")
}
