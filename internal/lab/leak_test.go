package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVariable makes the test program play another part; see TestMain.
const childVariable = "MULTIHOMED_LAB_TEST_CHILD"

func TestMain(m *testing.M) {
	switch part := os.Getenv(childVariable); part {
	case "":
		os.Exit(Main(m))
	case "crash":
		os.Exit(tell(playCrash()))
	case "enter":
		os.Exit(tell(playEnter()))
	default:
		panic("unknown part " + part)
	}
}

func tell(code int, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// threadNamespaces counts the network namespaces that the threads of this process
// are in.
func threadNamespaces(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/task/*/ns/net")
	must(t, err)
	seen := map[string]bool{}
	for _, l := range links {
		if ns, err := os.Readlink(l); err == nil {
			seen[ns] = true
		}
	}
	return len(seen)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// TestNothingLeaks must not run beside other tests, whose labs it would count.
func TestNothingLeaks(t *testing.T) {
	useEverything(t)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 3 {
		useEverything(t)
	}
	waitFor(t, "files, goroutines and namespaces are as before", func() bool {
		return openFiles(t) <= files && runtime.NumGoroutine() <= goroutines && threadNamespaces(t) == 1
	})
}

func useEverything(t *testing.T) {
	t.Helper()
	l, err := New(Options{Name: "leak"})
	must(t, err)
	s, err := NewSite(l, SiteOptions{ISPs: []ISP{{Name: "isp1"}, {Name: "isp2", PointToPoint: true}}})
	must(t, err)
	tap, err := NewTap(s.Edge, s.LANDevice)
	must(t, err)
	f, err := StartFlows(FlowOptions{From: s.LAN, To: s.Internet, Destinations: s.Destinations(true), Flows: 5, Rate: 100})
	must(t, err)
	cmd := exec.Command("sleep", "3600")
	must(t, s.Edge.Start(cmd))
	waitFor(t, "the tap sees flows", func() bool { return len(tap.Seen(f)) == 5 })
	must(t, f.Stop())
	must(t, tap.Close())
	must(t, s.DeletePPP("isp2"))
	must(t, s.CreatePPP("isp2"))
	must(t, l.Close())
	must(t, l.Close())
	if err := cmd.Wait(); err == nil {
		t.Error("the program outlived the lab")
	}
	if err := s.CreatePPP("isp2"); err == nil {
		t.Error("created a device in a closed lab")
	}
}

// playCrash builds a site, tells what should vanish with it, and waits for death.
func playCrash() (int, error) {
	outer, code, err := Enter()
	if outer || err != nil {
		return code, err
	}
	l, err := New(Options{Name: "crash"})
	if err != nil {
		return 1, err
	}
	s, err := NewSite(l, SiteOptions{ISPs: []ISP{{Name: "isp1"}, {Name: "isp2", PointToPoint: true}}})
	if err != nil {
		return 1, err
	}
	cmd := exec.Command("sleep", "3600")
	if err := s.Edge.Start(cmd); err != nil {
		return 1, err
	}
	var namespaces []string
	for _, h := range l.hosts {
		err := h.Do(func() error {
			ns, err := os.Readlink("/proc/thread-self/ns/net")
			namespaces = append(namespaces, ns)
			return err
		})
		if err != nil {
			return 1, err
		}
	}
	fmt.Println(cmd.Process.Pid, strings.Join(namespaces, " "))
	select {}
}

// TestCrashLeavesNothing kills a process that has a lab.
func TestCrashLeavesNothing(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"=crash")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("the child said nothing: %v, %v", err, cmd.Wait())
	}
	fields := strings.Fields(line)
	pid, namespaces := fields[0], fields[1:]
	if len(namespaces) != 5 || !inUse(t, namespaces[0]) {
		t.Fatalf("the namespaces of the child were not found: %v", namespaces)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	waitFor(t, "the program of the lab is dead", func() bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	for _, ns := range namespaces {
		waitFor(t, ns+" is used by nobody", func() bool { return !inUse(t, ns) })
	}
	for _, name := range []string{"wan0", "inet0", "ppp2", "isp1"} {
		if _, err := os.Stat("/sys/class/net/" + name); err == nil {
			t.Errorf("%s is a device of the machine", name)
		}
	}
}

// inUse looks for a thread or descriptor that holds a namespace.
func inUse(t *testing.T, ns string) bool {
	t.Helper()
	for _, pattern := range []string{"/proc/[0-9]*/task/*/ns/net", "/proc/[0-9]*/fd/*"} {
		links, err := filepath.Glob(pattern)
		must(t, err)
		for _, l := range links {
			if got, err := os.Readlink(l); err == nil && got == ns {
				return true
			}
		}
	}
	return false
}

// playEnter enters as an ordinary user, makes a lab, waits for SIGTERM and exits
// with a code of its own.
func playEnter() (int, error) {
	if os.Getuid() == 0 && os.Getenv(enteredVariable) == "" {
		return 1, fmt.Errorf("this part is for an ordinary user")
	}
	outer, code, err := Enter()
	if outer || err != nil {
		return code, err
	}
	signals := make(chan os.Signal, 1)
	notify(signals, syscall.SIGTERM)
	l, err := New(Options{})
	if err != nil {
		return 1, err
	}
	h, err := l.Host("a")
	if err != nil {
		return 1, err
	}
	if err := h.Forward(); err != nil {
		return 1, err
	}
	fmt.Println("ready")
	<-signals
	return 37, l.Close()
}

// TestEnterAsOrdinaryUser runs this program as nobody: it gets its rights, the
// signal goes in and the exit code comes out.
func TestEnterAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	// Killed rather than waited for if the signal does not get through; what it
	// started is killed with it.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"=enter")
	if os.Getenv(enteredVariable) == "" {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		_ = cmd.Process.Kill()
		t.Fatalf("the child said %q: %v, %v: %s", line, err, cmd.Wait(), said.String())
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 37 {
		t.Errorf("exit code %d, want 37: %s", code, said.String())
	}
}

func TestAdviceNamesTheSetting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		settings map[string]string
		want     []string
	}{
		{nil, []string{"sudo"}},
		{map[string]string{"user/max_user_namespaces": "1234"}, []string{"sudo"}},
		{map[string]string{"kernel/unprivileged_userns_clone": "0"}, []string{"kernel.unprivileged_userns_clone=1"}},
		{map[string]string{"kernel/apparmor_restrict_unprivileged_userns": "1", "user/max_user_namespaces": "0"},
			[]string{"kernel.apparmor_restrict_unprivileged_userns=0", "user.max_user_namespaces=16384"}},
	} {
		got := adviseOnUserNamespaces(func(name string) (string, error) {
			v, ok := c.settings[name]
			if !ok {
				return "", unix.ENOENT
			}
			return v, nil
		})
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%v: %q does not name %s", c.settings, got, w)
			}
		}
		if len(c.settings) > 0 && len(c.want) == 1 && c.want[0] == "sudo" && strings.Contains(got, "sysctl") {
			t.Errorf("%v: %q blames a setting", c.settings, got)
		}
	}
}

func TestExplainTUN(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		unix.EACCES: "chmod 0666", unix.ENOENT: "modprobe tun", unix.EBUSY: unix.EBUSY.Error(),
	} {
		if got := explainTUN(err); !strings.Contains(got.Error(), want) || !errors.Is(got, ErrNoTUN) {
			t.Errorf("%v: %v", err, got)
		}
	}
}
