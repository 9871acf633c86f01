package bfd

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace that is kept open.
type namespace struct {
	file *os.File
	// inode tells namespaces apart.
	inode uint64
}

const threadNamespace = "/proc/thread-self/ns/net"

// openNamespace opens the network namespace of the calling thread.
func openNamespace() (*namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := os.Open(threadNamespace)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("identify network namespace: %w", err), file.Close())
	}
	return &namespace{file, st.Ino}, nil
}

// enter locks the goroutine to its thread and takes it into the namespace. A thread
// from outside needs CAP_SYS_ADMIN for that. leave undoes both; a thread that cannot
// go back stays locked, and ends with its goroutine.
func (n *namespace) enter() (leave func(), err error) {
	runtime.LockOSThread()
	var st unix.Stat_t
	if err := unix.Stat(threadNamespace, &st); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("identify network namespace: %w", err)
	}
	if st.Ino == n.inode {
		return runtime.UnlockOSThread, nil
	}
	leaveMainThread()
	home, err := openNamespace()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, errors.Join(fmt.Errorf("enter network namespace: %w", err), home.file.Close())
	}
	return func() {
		if unix.Setns(int(home.file.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = home.file.Close()
	}, nil
}

// leaveMainThread moves a locked goroutine from the main thread to another one: what
// /proc/self shows, and everybody who looks there believes, is what the main thread
// is in. A goroutine cannot choose its thread, but if another one holds the main
// thread it is elsewhere.
func leaveMainThread() {
	held := make(chan struct{})
	release := make(chan struct{})
	defer close(release)
	for unix.Gettid() == os.Getpid() {
		runtime.UnlockOSThread()
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			held <- struct{}{}
			<-release
		}()
		<-held
		runtime.LockOSThread()
	}
}

// urgency is what precedence a thread wants over others.
type urgency uint8

const (
	ordinary urgency = iota
	// nice is the strongest priority among ordinary threads.
	nice
	// realTime is before all of them.
	realTime
)

// String is the word that benchmarks use.
func (u urgency) String() string {
	switch u {
	case ordinary:
		return "ordinary"
	case nice:
		return "nice"
	case realTime:
		return "real-time"
	default:
		panic(fmt.Sprintf("bfd: unhandled urgency %d", uint8(u)))
	}
}

// hurry gives the thread that precedence, or as much of it as is permitted
// (CAP_SYS_NICE). calm takes it back.
func (u urgency) hurry() (calm func()) {
	switch u {
	case ordinary:
	case nice:
		return hurryNice()
	case realTime:
		// The lowest of its kind: it is before all that are not.
		urgent := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
		if unix.SchedSetAttr(0, &urgent, 0) != nil {
			return hurryNice()
		}
		return func() {
			// To be less urgent is always permitted.
			_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
		}
	default:
		panic(fmt.Sprintf("bfd: unhandled urgency %d", uint8(u)))
	}
	return func() {}
}

// urgentNice is the best niceness.
const urgentNice = -20

func hurryNice() (calm func()) {
	tid := unix.Gettid()
	// The system call returns 20 - nice (getpriority(2)).
	before, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil || unix.Setpriority(unix.PRIO_PROCESS, tid, urgentNice) != nil {
		return func() {}
	}
	return func() {
		// To be less urgent is always permitted.
		_ = unix.Setpriority(unix.PRIO_PROCESS, tid, 20-before)
	}
}
