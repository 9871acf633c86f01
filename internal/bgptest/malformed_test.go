package bgptest

import (
	"bytes"
	"net/netip"
	"testing"
)

func newTestMalformer(seed uint64) *Malformer {
	return NewMalformer(seed, 5001, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"))
}

// Headers are right, nearly all contents are wrong, every type of attribute is there,
// and the same seed says the same.
func TestMalformer(t *testing.T) {
	m, again, other := newTestMalformer(1), newTestMalformer(1), newTestMalformer(2)
	const n = 60_000
	wrong, different := 0, 0
	var types [256]bool
	for range n {
		b := m.Next()
		kind, body, err := readMessage(bytes.NewReader(b), make([]byte, maxLen))
		if err != nil || kind != TypeUpdate || len(body) != len(b)-headerLen {
			t.Fatalf("%x: type %d, error %v", b, kind, err)
		}
		if !bytes.Equal(b, again.Next()) {
			t.Fatal("the same seed says something else")
		}
		if !bytes.Equal(b, other.Next()) {
			different++
		}
		u, err := DecodeUpdate(body, true)
		if err != nil {
			wrong++
		}
		for _, kind := range u.Attributes.Types {
			types[kind] = true
		}
	}
	// Our decoder does not look at flags, at what is missing and at unknown types.
	if wrong < n/2 || different < n*99/100 {
		t.Errorf("%d of %d are wrong, %d differ from those of another seed", wrong, n, different)
	}
	for kind, seen := range types {
		if !seen {
			t.Errorf("no attribute of type %d", kind)
		}
	}
}

// What goes wrong is not lost on a peer: the connection ends, and the next begins.
func TestMalformer_session(t *testing.T) {
	m := newTestMalformer(3)
	for range 20 {
		pa, pb := couple(t, options(5001), options(64501), "127.0.0.1", Socket{})
		for pb.Heard().Err == nil {
			if pa.Send(m.Next()) != nil {
				break
			}
		}
		if err := pb.WaitClosed(testContext(t)); err != nil {
			t.Error(err)
		}
	}
}
