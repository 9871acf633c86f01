package bfd

import (
	"bytes"
	"slices"
	"testing"
)

// The frames of either family, written out; the checksums come from another program.
var goldenFrames = map[string]string{
	"IPv4": "45c0 001f 0000 4000 ff11 0000 c6336402 cb007102" + "c001 0ec9 000b 0672 616263",
	"IPv6": "6c00 0000 000b 11ff 20010db8000200000000000000000002 20010db8000100000000000000000002" + "c001 0ec9 000b 1132 616263",
}

// TestBFD_UE_08_BFD_SH_16_Frames: hop limit 255, port 3785, addressed to ourselves.
func TestBFD_UE_08_BFD_SH_16_Frames(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		want := unhex(t, goldenFrames[map[bool]string{true: "IPv4", false: "IPv6"}[conf.Peer.Is4()]])
		f := newFrame(conf.EchoSource, conf.Local, 0xc001)
		f.packet(bytes.Repeat([]byte{0xff}, framePayload)) // leaves nothing behind
		if got := f.packet([]byte("abc")); !bytes.Equal(got, want) {
			t.Errorf("\n%x, want\n%x", got, want)
		}
		var d datagram
		if !parseFrame(want, len(want), &d) {
			t.Fatal("not parsed")
		}
		if string(d.payload) != "abc" || d.src != conf.EchoSource || d.dst != conf.Local || d.ttl != 255 || d.port != portEcho {
			t.Errorf("%+v", d)
		}
	})
}

// A sum of 0 is sent as ffff: 0 says that there is none, which IPv6 forbids.
func TestEchoChecksumZero(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		f := newFrame(conf.EchoSource, conf.Local, 0xc001)
		found := false
		for i := range 1 << 16 {
			b := f.packet([]byte{byte(i >> 8), byte(i)})
			sum := b[f.header+6:][:2]
			if sum[0] == 0 && sum[1] == 0 {
				t.Fatalf("payload %04x: no checksum", i)
			}
			found = found || sum[0] == 0xff && sum[1] == 0xff
		}
		if !found {
			t.Error("the case did not occur")
		}
	})
}

func TestEchoParseFrame(t *testing.T) {
	for name, c := range map[string]struct {
		family string
		change func(b []byte) []byte
		ok     bool
	}{
		"IPv4 options": {"IPv4", func(b []byte) []byte {
			b[0], b[3] = 0x46, b[3]+4
			return slices.Insert(b, 20, 1, 1, 1, 1)
		}, true},
		"IPv4 padded to 64 octets": {"IPv4", func(b []byte) []byte { return append(b, make([]byte, 33)...) }, true},
		"IPv6 padded":              {"IPv6", func(b []byte) []byte { return append(b, 0) }, true},
		"IPv4 short":               {"IPv4", func(b []byte) []byte { return b[:27] }, false},
		"IPv6 short":               {"IPv6", func(b []byte) []byte { return b[:47] }, false},
		"IPv4 payload missing":     {"IPv4", func(b []byte) []byte { return b[:30] }, false},
		"IPv6 payload missing":     {"IPv6", func(b []byte) []byte { return b[:50] }, false},
		"IPv4 header of 16":        {"IPv4", func(b []byte) []byte { b[0] = 0x44; return b }, false},
		"IPv4 header beyond":       {"IPv4", func(b []byte) []byte { b[0] = 0x4f; return b }, false},
		"IPv4 more fragments":      {"IPv4", func(b []byte) []byte { b[6] |= 0x20; return b }, false},
		"IPv4 last fragment":       {"IPv4", func(b []byte) []byte { b[7] = 1; return b }, false},
		"IPv4 TCP":                 {"IPv4", func(b []byte) []byte { b[9] = 6; return b }, false},
		"IPv6 TCP":                 {"IPv6", func(b []byte) []byte { b[6] = 6; return b }, false},
		"IPv6 fragment":            {"IPv6", func(b []byte) []byte { b[6] = 44; return b }, false},
		"IPv4 other port":          {"IPv4", func(b []byte) []byte { b[23]--; return b }, false},
		"IPv6 other port":          {"IPv6", func(b []byte) []byte { b[43]--; return b }, false},
		"UDP length 7":             {"IPv4", func(b []byte) []byte { b[25] = 7; return b }, false},
		"UDP beyond IPv4":          {"IPv4", func(b []byte) []byte { b[25]++; return append(b, 0) }, false},
		"UDP beyond IPv6":          {"IPv6", func(b []byte) []byte { b[45]++; return append(b, 0) }, false},
		"version 5":                {"IPv4", func(b []byte) []byte { b[0] = 0x55; return b }, false},
		"nothing":                  {"IPv4", func([]byte) []byte { return nil }, false},
	} {
		b := c.change(unhex(t, goldenFrames[c.family]))
		var d datagram
		if ok := parseFrame(b, len(b), &d); ok != c.ok {
			t.Errorf("%s: %v", name, ok)
		} else if ok && string(d.payload) != "abc" {
			t.Errorf("%s: %q", name, d.payload)
		}
	}
}

// A packet may be longer than what is kept of it: the payload is what there is.
func TestEchoParseTruncated(t *testing.T) {
	b := unhex(t, goldenFrames["IPv4"])
	var d datagram
	if !parseFrame(b[:30], len(b), &d) || string(d.payload) != "ab" {
		t.Errorf("%+v", d)
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, golden := range goldenFrames {
		f.Add(unhex(f, golden), 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, more int) {
		var d datagram
		if parseFrame(b, len(b)+more, &d) && (len(d.payload) > len(b)-ipv4Header-udpHeader || d.ttl > 255 || !d.src.IsValid() || d.dst.Is4() != d.src.Is4()) {
			t.Errorf("%+v of % x", d, b)
		}
	})
}
