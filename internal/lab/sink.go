package lab

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// sink is one receiving socket of some flows.
type sink struct {
	flows *Flows
	conn  *net.UDPConn
	done  sync.WaitGroup
	// dropped is what the kernel dropped because the socket's buffer was full,
	// kept when the socket is closed.
	dropped atomic.Uint64
}

// sinkBatch is the number of packets read by one system call.
const sinkBatch = 64

func openSink(f *Flows, h *Host, at netip.AddrPort) (*sink, error) {
	conn, err := h.listenUDP(at)
	if err != nil {
		return nil, err
	}
	s := &sink{flows: f, conn: conn}
	if err := s.control(growReceiveBuffer); err != nil {
		return nil, fmt.Errorf("set up sink %s: %w", at, err)
	}
	return s, nil
}

func (s *sink) control(f func(fd int)) error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

func (s *sink) start() {
	s.done.Add(1)
	go s.receive()
}

// receive is the goroutine of the sink; it ends when the socket is closed.
func (s *sink) receive() {
	defer s.done.Done()
	// The batch calls are the same for both families; ipv4 is only the name of
	// the package.
	batcher := ipv4.NewPacketConn(s.conn)
	messages := make([]ipv4.Message, sinkBatch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, flowPayloadBytes)}
	}
	for {
		n, err := batcher.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		now := int64(s.flows.now())
		for _, m := range messages[:n] {
			run, flow, seq, ok := parseFlowPayload(m.Buffers[0][:m.N])
			if ok && run == s.flows.run && int(flow) < len(s.flows.flows) {
				s.flows.flows[flow].arrive(int(seq), now)
			}
		}
	}
}

// arrive notes that a packet came at now, nanoseconds since the base.
func (fl *flow) arrive(seq int, now int64) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if seq >= len(fl.sent) {
		return
	}
	for len(fl.arrived) <= seq {
		fl.arrived = append(fl.arrived, 0)
	}
	if fl.arrived[seq] != 0 {
		fl.duplicates++
		return
	}
	fl.arrived[seq] = now
}

// drops asks the kernel how many packets the full buffer cost.
func (s *sink) drops() uint64 {
	_ = s.control(func(fd int) {
		if n, err := socketDrops(fd); err == nil {
			s.dropped.Store(n)
		}
	})
	return s.dropped.Load()
}

func (s *sink) close() error {
	s.drops()
	err := s.conn.Close()
	s.done.Wait()
	return err
}

// memInfoDrops is SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h, the last of
// the 32-bit numbers that SO_MEMINFO fills in.
const memInfoDrops = 8

// socketDrops reads the drop counter of a socket. x/sys/unix has no getter for
// SO_MEMINFO.
func socketDrops(fd int) (uint64, error) {
	var info [memInfoDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read socket memory: %w", errno)
	}
	return uint64(info[memInfoDrops]), nil
}
