package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multihomed/multihomed/internal/lab"
)

// peerVariable makes the test program the other end of benchmarks, in a process of its
// own: "number of sessions, interval, multiplier".
const peerVariable = "MULTIHOMED_BFD_TEST_PEER"

// throng is many sessions over "eth0".
type throng struct {
	n          int
	interval   time.Duration
	multiplier int
}

func (c throng) String() string { return fmt.Sprintf("%d,%v,%d", c.n, c.interval, c.multiplier) }

func parseThrong(text string) (c throng, err error) {
	fields := strings.Split(text, ",")
	if c.n, err = strconv.Atoi(fields[0]); err != nil {
		return c, err
	}
	if c.interval, err = time.ParseDuration(fields[1]); err != nil {
		return c, err
	}
	c.multiplier, err = strconv.Atoi(fields[2])
	return c, err
}

// ends returns the addresses of the ith session.
func (throng) ends(i int) (left, right netip.Addr) {
	hi, lo := byte(i/200), byte(i%200+1)
	return netip.AddrFrom4([4]byte{10, 9, hi, lo}), netip.AddrFrom4([4]byte{10, 10, hi, lo})
}

func (c throng) open(s *Speaker, fromLeft bool) ([]*Session, error) {
	var sessions []*Session
	for i := range c.n {
		local, peer := c.ends(i)
		if !fromLeft {
			local, peer = peer, local
		}
		session, err := s.Open(Config{
			Peer: peer, Local: local, Interface: "eth0",
			DesiredMinTx: c.interval, RequiredMinRx: c.interval, Multiplier: c.multiplier,
		}, nil)
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, session)
	}
	return sessions, nil
}

// playPeer is the right end. It tells its processor time when it is interrupted.
func playPeer() int {
	c, err := parseThrong(os.Getenv(peerVariable))
	if err != nil {
		panic(err)
	}
	speaker, err := NewSpeaker(Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	if _, err := c.open(speaker, false); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := speaker.Run(ctx); err != nil {
		panic(err)
	}
	return 0
}

// liveBench is a throng between this process and another one.
type liveBench struct {
	tb       testing.TB
	speaker  *Speaker
	sessions []*Session
	peer     *exec.Cmd
}

func (b *liveBench) must(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
}

// newBench returns when all sessions are Up at their pace.
func newLiveBench(tb testing.TB, c throng, urgent func() func()) *liveBench {
	tb.Helper()
	b := &liveBench{tb: tb}
	l, err := lab.New(lab.Options{})
	b.must(err)
	tb.Cleanup(func() { b.must(l.Close()) })
	left, err := l.Host("left")
	b.must(err)
	right, err := l.Host("right")
	b.must(err)
	b.must(l.Veth(left, "eth0", right, "eth0"))
	b.must(left.AddAddress("eth0", netip.MustParsePrefix("192.0.2.1/24")))
	b.must(right.AddAddress("eth0", netip.MustParsePrefix("192.0.2.2/24")))
	// A route each, because the machine has not room for so many neighbours.
	b.must(left.AddRoute(netip.MustParsePrefix("10.10.0.0/16"), netip.MustParseAddr("192.0.2.2"), "eth0"))
	b.must(right.AddRoute(netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("192.0.2.1"), "eth0"))
	for i := range c.n {
		a, z := c.ends(i)
		b.must(left.AddAddress("lo", netip.PrefixFrom(a, 32)))
		b.must(right.AddAddress("lo", netip.PrefixFrom(z, 32)))
	}
	b.peer = exec.CommandContext(context.Background(), "/proc/self/exe")
	b.peer.Env = append(os.Environ(), peerVariable+"="+c.String())
	b.peer.Stderr = os.Stderr
	b.must(right.Start(b.peer))
	b.must(left.Do(func() (err error) {
		b.speaker, err = NewSpeaker(Options{Logger: slog.New(slog.DiscardHandler)})
		return err
	}))
	b.speaker.hurry = urgent
	if b.sessions, err = c.open(b.speaker, true); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.speaker.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		b.must(<-ended)
	})
	b.awaitUp()
	return b
}

func (b *liveBench) awaitUp() {
	b.tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, s := range b.sessions {
		for st := s.Status(); st.State != Up || st.Polling; st = s.Status() {
			select {
			case <-tick.C:
			case <-deadline:
				b.tb.Fatalf("a session does not come up: %+v", st)
			}
		}
	}
}

func (b *liveBench) failures() (n uint64) {
	for _, s := range b.sessions {
		n += s.Status().Failures
	}
	return n
}

// BenchmarkSessions measures what sessions cost this process: both directions, state
// machine, timers and sockets; the peer is another process.
func BenchmarkSessions(b *testing.B) {
	for _, c := range []throng{{16, 50 * time.Millisecond, 3}, {1000, 50 * time.Millisecond, 3}} {
		b.Run(fmt.Sprintf("n=%d/interval=%v", c.n, c.interval), func(b *testing.B) {
			t := newLiveBench(b, c, hurry)
			b.ResetTimer()
			for range b.N {
				t.speaker.ResetLateness()
				before, cpu, begin := t.speaker.Stats(), processorTime(), time.Now()
				wait(5 * time.Second)
				past := time.Since(begin).Seconds()
				after, used := t.speaker.Stats(), (processorTime() - cpu).Seconds()
				b.ReportMetric(float64(after.Sent-before.Sent)/past, "sent/s")
				b.ReportMetric(float64(after.Received-before.Received)/past, "received/s")
				b.ReportMetric(100*used/past, "cpu-%")
				b.ReportMetric(1e6*used/past/float64(c.n), "cpu-µs/s/session")
				b.ReportMetric(after.WorstLateness.Seconds()*1e3, "worst-late-ms")
				b.ReportMetric(float64(t.failures()), "failures")
			}
		})
	}
}

func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLateness measures how late packets are sent by a process that is busy with
// something else. Run's comment has the figures.
func BenchmarkLateness(b *testing.B) {
	cores := runtime.NumCPU()
	for _, load := range loads {
		for _, procs := range []int{cores, max(8, 4*cores)} {
			for _, urgent := range []bool{false, true} {
				b.Run(fmt.Sprintf("load=%s/procs=%d/urgent=%v", load.name, procs, urgent), func(b *testing.B) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					measureLateness(b, load.run, urgent)
				})
			}
		}
	}
}

func measureLateness(b *testing.B, load func(end <-chan struct{}), urgent bool) {
	b.Helper()
	h := func() func() { return func() {} }
	if urgent {
		h = hurry
	}
	t := newLiveBench(b, throng{16, 10 * time.Millisecond, 100}, h)
	end := make(chan struct{})
	var loads sync.WaitGroup
	loads.Go(func() { load(end) })
	wait(time.Second)
	b.ResetTimer()
	for range b.N {
		var worst []float64
		for range 10 {
			t.speaker.ResetLateness()
			wait(time.Second)
			worst = append(worst, t.speaker.Stats().WorstLateness.Seconds()*1e3)
		}
		sum, most := 0.0, 0.0
		for _, w := range worst {
			sum, most = sum+w, max(most, w)
		}
		b.ReportMetric(most, "worst-ms")
		b.ReportMetric(sum/float64(len(worst)), "worst-of-1s-mean-ms")
		b.ReportMetric(float64(t.failures()), "failures")
	}
	b.StopTimer()
	close(end)
	loads.Wait()
}

var computed atomic.Uint64

var loads = []struct {
	name string
	run  func(end <-chan struct{})
}{
	{"none", func(end <-chan struct{}) { <-end }},
	{"2-hogs", func(end <-chan struct{}) { hogs(2, end) }},
	{"8-hogs", func(end <-chan struct{}) { hogs(8, end) }},
	{"garbage", garbage},
	{"others", others},
}

// others are six programs that compute, in a session of their own.
func others(end <-chan struct{}) {
	cmd := exec.CommandContext(context.Background(), "sh", "-c", "for i in 1 2 3 4 5 6; do while :; do :; done & done; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	<-end
	// The group of the shell, whose number is that of the session.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

// hogs are goroutines that compute.
func hogs(n int, end <-chan struct{}) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for x := uint64(1); ; {
				for range 1000 {
					x = x*6364136223846793005 + 1442695040888963407
				}
				select {
				case <-end:
					computed.Store(x)
					return
				default:
				}
			}
		})
	}
	all.Wait()
}

// garbage keeps a gigabyte of pointers alive and makes 200 MB of garbage a second.
func garbage(end <-chan struct{}) {
	const size = 1 << 10
	live := make([]*[size / 8]*byte, 1<<30/size)
	for i := range live {
		live[i] = new([size / 8]*byte)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for at := 0; ; {
		select {
		case <-end:
			runtime.KeepAlive(live)
			return
		case <-tick.C:
		}
		for range 200 {
			live[at%len(live)] = new([size / 8]*byte)
			at += 7919
		}
	}
}
