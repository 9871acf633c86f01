package speaker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// The wire between the two processes, which is one stream in each direction of
// frames:
//
//	length of the payload, 4 octets, network byte order
//	kind, 1 octet
//	payload
//
// The first frame of each side is hello, with the version in front. Both processes
// are the same program, so nothing here has to be compatible with another version:
// the version is there to say so where it is not.

// wireVersion is the first word on the wire: "mhb" and a number that changes with
// the frames.
const wireVersion uint32 = 'm'<<24 | 'h'<<16 | 'b'<<8 | 1

// kind says what a frame is.
type kind uint8

// Kinds of frames, and what their payload is.
const (
	kindUnknown kind = iota
	// kindHello: version, 4 octets; from the daemon also level and heartbeat, from the
	// child its process id. See hello.
	kindHello
	// From the daemon: kindConfig is bgp.Config in JSON.
	kindConfig
	// kindCredit: 4 octets, how many more frames of routes may be sent.
	kindCredit
	kindPing
	// kindQuestion: question in JSON. kindCancel: 8 octets, the number of one that
	// nobody waits for any more.
	kindQuestion
	kindCancel
	// kindReset: resetOrder in JSON.
	kindReset
	kindLeave
	// From the child: kindStatus is bgp.Status in JSON.
	kindStatus
	// kindRoutes: see appendBatch.
	kindRoutes
	// kindAnswer: answer in JSON.
	kindAnswer
	kindPong
)

// String returns the word of k.
func (k kind) String() string {
	switch k {
	case kindUnknown:
		return "unknown"
	case kindHello:
		return "hello"
	case kindConfig:
		return "config"
	case kindCredit:
		return "credit"
	case kindPing:
		return "ping"
	case kindQuestion:
		return "question"
	case kindCancel:
		return "cancel"
	case kindReset:
		return "reset"
	case kindLeave:
		return "leave"
	case kindStatus:
		return "status"
	case kindRoutes:
		return "routes"
	case kindAnswer:
		return "answer"
	case kindPong:
		return "pong"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

const (
	headerLen = 5
	// maxDocument bounds a configuration, a status and an answer. A hundred peers with
	// ten thousand named prefixes each take 20 MB.
	maxDocument = 32 << 20
	// maxShort bounds what somebody typed: a query, words for a peer.
	maxShort = 64 << 10
	// readStep is how much is read, and allocated, before more of a long frame is
	// believed to come.
	readStep = 1 << 20
)

// limit returns the longest payload of a frame, and false for a kind that does not
// exist.
func (k kind) limit() (int, bool) {
	switch k {
	case kindHello:
		return helloLen, true
	case kindConfig, kindStatus, kindAnswer:
		return maxDocument, true
	case kindCredit:
		return 4, true
	case kindPing, kindPong, kindLeave:
		return 0, true
	case kindQuestion, kindReset:
		return maxShort, true
	case kindCancel:
		return 8, true
	case kindRoutes:
		return 1 + maxRoutes*maxRouteLen, true
	case kindUnknown:
		return 0, false
	default:
		return 0, false
	}
}

// errMalformed marks what the other side cannot have meant.
var errMalformed = errors.New("malformed frame")

func malformed(k kind, format string, args ...any) error {
	return fmt.Errorf("%w (%v): %w", errMalformed, k, fmt.Errorf(format, args...))
}

// frameReader reads frames. It is used by one goroutine.
type frameReader struct {
	r   *bufio.Reader
	buf []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next frame. The payload is valid until the call after. At the end
// of the stream the error is io.EOF; within a frame it is not.
func (f *frameReader) next() (kind, []byte, error) {
	var head [headerLen]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, nil, fmt.Errorf("read frame: the stream ends within a header: %w", err)
		}
		return 0, nil, err
	}
	k, length := kind(head[4]), binary.BigEndian.Uint32(head[:4])
	most, known := k.limit()
	if !known {
		return 0, nil, malformed(k, "there is no such kind")
	}
	if uint64(length) > uint64(most) {
		return 0, nil, malformed(k, "%d octets long, at most %d are possible", length, most)
	}
	f.buf = f.buf[:0]
	for left := int(length); left > 0; {
		n := min(left, readStep)
		at := len(f.buf)
		f.buf = append(f.buf, make([]byte, n)...)
		if _, err := io.ReadFull(f.r, f.buf[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, fmt.Errorf("read frame: the stream ends within a %v: %w", k, err)
		}
		left -= n
	}
	payload := f.buf
	if cap(f.buf) > readStep {
		// A long frame is rare; its room is not kept.
		f.buf = nil
	}
	return k, payload, nil
}

// frameWriter writes frames, each by one call of Write. It is safe for concurrent
// use.
type frameWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

func newFrameWriter(w io.Writer) *frameWriter { return &frameWriter{w: w} }

// send writes a frame whose payload is p.
func (f *frameWriter) send(k kind, p []byte) error {
	return f.build(k, func(b []byte) []byte { return append(b, p...) })
}

// build writes a frame whose payload add appends.
func (f *frameWriter) build(k kind, add func(b []byte) []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := add(append(f.buf[:0], 0, 0, 0, 0, byte(k)))
	if cap(b) <= readStep {
		f.buf = b
	} else {
		f.buf = nil
	}
	length := len(b) - headerLen
	if most, known := k.limit(); !known || length > most {
		return fmt.Errorf("send %v: %d octets are too long, at most %d are possible", k, length, most)
	}
	binary.BigEndian.PutUint32(b, uint32(length))
	if _, err := f.w.Write(b); err != nil {
		return fmt.Errorf("send %v: %w", k, err)
	}
	return nil
}

// helloLen is the length of a hello: version, PID, level, heartbeat in milliseconds.
const helloLen = 16

// Bounds of a heartbeat that a hello may ask for.
const (
	heartbeatLeast = time.Millisecond
	heartbeatMost  = time.Hour
)

// hello is the first frame of each side. The fields that a side has nothing to say
// of are zero.
type hello struct {
	// pid is the process id of the child.
	pid int
	// level is the least of the records that the daemon logs, as slog.Level.
	level int
	// heartbeat is how often the daemon asks for a sign of life.
	heartbeat time.Duration
}

func (h hello) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, wireVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(h.pid))
	b = binary.BigEndian.AppendUint32(b, uint32(int32(h.level)))
	return binary.BigEndian.AppendUint32(b, uint32(h.heartbeat.Milliseconds()))
}

// readHello reads the first frame.
func (f *frameReader) readHello() (hello, error) {
	k, p, err := f.next()
	if err != nil {
		return hello{}, err
	}
	if k != kindHello || len(p) < 4 {
		return hello{}, malformed(k, "want a hello first")
	}
	if v := binary.BigEndian.Uint32(p); v != wireVersion {
		return hello{}, malformed(k, "version %#08x, want %#08x: the two processes are different programs", v, wireVersion)
	}
	if len(p) != helloLen {
		return hello{}, malformed(k, "%d octets, want %d", len(p), helloLen)
	}
	return hello{
		pid:       int(binary.BigEndian.Uint32(p[4:])),
		level:     int(int32(binary.BigEndian.Uint32(p[8:]))),
		heartbeat: time.Duration(binary.BigEndian.Uint32(p[12:])) * time.Millisecond,
	}, nil
}

// readNumber reads a payload that is one number of 4 octets.
func readNumber(k kind, p []byte) (uint32, error) {
	if len(p) != 4 {
		return 0, malformed(k, "%d octets, want 4", len(p))
	}
	return binary.BigEndian.Uint32(p), nil
}

// readID reads a payload that is the number of a question.
func readID(k kind, p []byte) (uint64, error) {
	if len(p) != 8 {
		return 0, malformed(k, "%d octets, want 8", len(p))
	}
	return binary.BigEndian.Uint64(p), nil
}
