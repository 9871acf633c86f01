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

// urgentNice is the strongest priority that an ordinary thread can have.
const urgentNice = -20

// hurry gives the thread precedence over others, where that is permitted
// (CAP_SYS_NICE). calm takes it back.
func hurry() (calm func()) {
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
