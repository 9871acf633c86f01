package speaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is the argument that makes this program a child: see [Process].
const Command = "bgp-speaker"

// childFD is the file descriptor of the child's socket: the first after stdin, stdout
// and stderr.
const childFD = 3

// childRights are the capabilities that a child keeps, if its parent has them: to
// listen on port 179, to bind sockets to devices, and to set their options.
var childRights = []uint{unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}

// outputLimit is how long the output of a child that has ended is waited for. It is
// all in the pipe by then.
const outputLimit = time.Second

// process is a child that is a process.
type process struct {
	net.Conn
	output *os.File
	cmd    *exec.Cmd
	done   chan error
}

// Process starts this program again as a child: "argv0 bgp-speaker" with a socket as
// file descriptor 3. The child is in a process group of its own, so that signals from
// a terminal do not reach it; is killed when this process dies (a second belt: it ends
// anyway when its socket is closed); gives way to this process (nice); and has no more
// rights than it needs, which it can never regain. It lives in the network namespace of
// this process, whatever that of the calling thread is.
func Process(ctx context.Context) (Child, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := spawn(true)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		// Without the right to pass over permissions of files, root may be unable to start a
		// program that belongs to somebody else; and a sandbox may forbid to drop rights. The
		// child then says what it has too much.
		p, err = spawn(false)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// spawn starts the process, with fewer rights if asked to.
func spawn(restricted bool) (_ *process, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "speaker"), os.NewFile(uintptr(fds[1]), "daemon")
	defer func() { err = errors.Join(err, ours.Close(), theirs.Close()) }()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("use the pair of sockets: %w", err)
	}
	output, stderr, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), conn.Close())
	}
	defer func() { err = errors.Join(err, stderr.Close()) }()
	// The very file that runs, even if an upgrade has replaced it meanwhile.
	cmd := exec.Command("/proc/self/exe", Command) //nolint:noctx // Its life is that of its socket.
	cmd.Args[0] = os.Args[0]
	cmd.Env = slices.DeleteFunc(os.Environ(), forDaemon)
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{Conn: conn, output: output, cmd: cmd, done: make(chan error, 1)}
	started := make(chan error, 1)
	go onOwnThread(func() { p.live(restricted, started) })
	if err := <-started; err != nil {
		return nil, errors.Join(err, conn.Close(), output.Close())
	}
	return p, nil
}

// forDaemon tells whether a variable is meant for the daemon alone: the child is not
// the one that tells systemd.
func forDaemon(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return name == "NOTIFY_SOCKET" || name == "WATCHDOG_PID" || name == "WATCHDOG_USEC"
}

// onOwnThread calls f on a thread that does nothing else and ends with it. That is not
// the first one, which lives as long as the process and shows as the process in /proc.
func onOwnThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		// Never unlocked: nobody inherits what f does to the thread.
		f()
		return
	}
	// While this goroutine holds the first thread the other one cannot get it.
	elsewhere := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(elsewhere)
		f()
	}()
	<-elsewhere
	runtime.UnlockOSThread()
}

// live starts the process and waits for its end, on a thread of its own: the process
// inherits the rights and the niceness of that thread, and it gets the signal of
// PR_SET_PDEATHSIG when that thread ends (prctl(2)).
func (p *process) live(restricted bool, started chan<- error) {
	err := lower(restricted)
	if err == nil {
		err = p.cmd.Start()
	}
	started <- err
	if err == nil {
		p.done <- p.cmd.Wait()
	}
}

// lower makes this thread what the child is to be.
func lower(restricted bool) error {
	// Linux has a niceness for each thread, 0 being the calling one (setpriority(2)).
	err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
	if !restricted {
		return nil
	}
	if err != nil {
		return fmt.Errorf("give way: %w", err)
	}
	return restrict()
}

// restrict takes all rights from this thread, and from what it starts, but those of
// childRights. Exec gives nothing back, not even to root, because of no_new_privs
// (kernel: security/commoncap.c, cap_bprm_creds_from_file).
func restrict() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	var keep [2]uint32
	for _, c := range childRights {
		keep[c/32] |= data[c/32].Permitted & (1 << (c % 32))
	}
	for i, k := range keep {
		data[i] = unix.CapUserData{Effective: k, Permitted: k, Inheritable: k}
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	// For a daemon that is not root, ambient capabilities are what exec leaves. Those that
	// are not permitted any more are gone already.
	for _, c := range childRights {
		if keep[c/32]&(1<<(c%32)) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("keep capability %d: %w", c, err)
		}
	}
	return nil
}

// Output is what the process prints on stderr.
func (p *process) Output() io.ReadCloser { return p.output }

// Wait waits for the end of the process and says how it came to it.
func (p *process) Wait() error {
	err := <-p.done
	// Any other error says that whoever reads it has closed it at its end.
	if e := p.output.SetReadDeadline(time.Now().Add(outputLimit)); errors.Is(e, os.ErrNoDeadline) {
		err = errors.Join(err, fmt.Errorf("bound the output: %w", e))
	}
	return inWords(err)
}

// inWords says what an operator can make of the end of a process.
func inWords(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Signaled():
		return err
	case status.Signal() == syscall.SIGKILL:
		return errors.New("it was killed (SIGKILL): by hand, or by the kernel for want of memory, which its log (dmesg) would say")
	default:
		return fmt.Errorf("it was ended by signal %d (%v)", int(status.Signal()), status.Signal())
	}
}

// Kill ends the process at once.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill() // It has ended already.
}

// Inherited returns the socket that [Process] gave to this process, which is a child,
// and an error for a process that was started in another way.
func Inherited() (io.ReadWriteCloser, error) {
	domain, err := unix.GetsockoptInt(childFD, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return nil, fmt.Errorf("file descriptor %d is not the socket of a daemon: this part is started by \"multihomed run\" and cannot be started by hand", childFD)
	}
	unix.CloseOnExec(childFD)
	f := os.NewFile(childFD, "daemon")
	conn, err := net.FileConn(f)
	return conn, errors.Join(err, f.Close())
}
