package bfd

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

func TestBFD_UE_04_BFD_UE_17_UpInThreePackets(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.run(3*n.delay - 1)
		own := n.s.core.localDiscr
		var states []State
		var yours []uint32
		for _, l := range n.sent {
			p := l.packet(t)
			states, yours = append(states, p.State), append(yours, p.YourDiscriminator)
			if p.MyDiscriminator != own {
				t.Errorf("my discriminator %d, want %d", p.MyDiscriminator, own)
			}
		}
		if want := []State{Down, Init, Up}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
		if want := []uint32{0, own, own}; !slices.Equal(yours, want) {
			t.Errorf("your discriminators %v, want %v", yours, want)
		}
		st := n.table.status(n.s)
		if st.State != Up || st.LocalDiscriminator != st.RemoteDiscriminator || st.RTT != n.delay || st.Problem != "" {
			t.Errorf("%+v", st)
		}
	})
}

func TestBFD_UE_05_NoAdminDown(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.up()
		l := n.retagged(n.sent[len(n.sent)-1], func(b []byte) { b[1] = byte(AdminDown)<<6 | b[1]&0x3f })
		if drop := n.drop(n.datagram(l)); drop != DropEchoForeign || n.s.core.state != Up {
			t.Errorf("a looped AdminDown: %v, session %v", drop, n.s.core.state)
		}
		sent := len(n.sent)
		n.table.setAdmin(n.s, true, n.now)
		n.run(10 * time.Second)
		if len(n.sent) != sent || n.s.core.state != AdminDown {
			t.Errorf("a disabled session: %v, sent %d packets", n.s.core.state, len(n.sent)-sent)
		}
		if st := n.table.status(n.s); st.DetectionTime != 0 {
			t.Errorf("a disabled session waits for packets: %+v", st)
		}
		n.table.setAdmin(n.s, false, n.now)
		n.up()
		n.table.close(n.s, n.now)
		sent = len(n.sent)
		n.run(10 * time.Second)
		if len(n.sent) != sent || len(n.table.byIdentity) != 0 {
			t.Error("a closed session goes on")
		}
		for _, l := range n.sent {
			if l.packet(t).State == AdminDown {
				t.Error("AdminDown was sent")
			}
		}
	})
}

// TestBFD_UE_06_Validation has the rows BFD-RX-01 to BFD-RX-14 against the echo port.
func TestBFD_UE_06_Validation(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		conf.Auth = Auth{Type: AuthMeticulousSHA1, KeyID: 2, Keys: []Key{{2, Secret("secret")}}}
		n := newNeighbourhood(t, conf)
		n.up()
		good := n.sent[len(n.sent)-1]
		for name, c := range map[string]struct {
			change func(d *datagram)
			want   Drop
		}{
			"short":             {func(d *datagram) { d.payload = d.payload[:23] }, DropShort},
			"version":           {func(d *datagram) { d.payload[0] = 2 << 5 }, DropVersion},
			"length below":      {func(d *datagram) { d.payload[3] = 23 }, DropLength},
			"length with auth":  {func(d *datagram) { d.payload[3] = 25 }, DropLength},
			"length beyond":     {func(d *datagram) { d.payload[3] = 255 }, DropLength},
			"multiplier":        {func(d *datagram) { d.payload[2] = 0 }, DropMultiplier},
			"multipoint":        {func(d *datagram) { d.payload[1] |= 1 }, DropMultipoint},
			"my discriminator":  {func(d *datagram) { clear(d.payload[4:8]) }, DropMyDiscriminator},
			"unknown":           {func(d *datagram) { d.payload[4] ^= 1; d.payload[8] ^= 1 }, DropNoSession},
			"not its own":       {func(d *datagram) { d.payload[8] ^= 1 }, DropNoSession},
			"none, state Up":    {func(d *datagram) { clear(d.payload[8:12]) }, DropState},
			"interface":         {func(d *datagram) { d.link++ }, DropInterface},
			"port":              {func(d *datagram) { d.port, d.ttl = portSingleHop, 255 }, DropPort},
			"no auth":           {func(d *datagram) { d.payload[1] &^= flagAuth; d.payload[3] = 24 }, DropAuthMissing},
			"auth type":         {func(d *datagram) { d.payload[24] = byte(AuthMeticulousMD5) }, DropAuthType},
			"auth length":       {func(d *datagram) { d.payload[25]-- }, DropAuthLength},
			"auth key":          {func(d *datagram) { d.payload[26]++ }, DropAuthKey},
			"auth digest":       {func(d *datagram) { d.payload[33]++ }, DropAuthDigest},
			"source":            {func(d *datagram) { d.src = conf.Local }, DropEchoForeign},
			"destination":       {func(d *datagram) { d.dst = conf.Peer }, DropEchoForeign},
			"no trailer":        {func(d *datagram) { d.payload = d.payload[:d.payload[3]] }, DropEchoForeign},
			"more than trailer": {func(d *datagram) { d.payload = append(d.payload, 0) }, DropEchoForeign},
			"sequence number":   {func(d *datagram) { d.payload[len(d.payload)-trailerLength+7]++ }, DropEchoForeign},
			"tag":               {func(d *datagram) { d.payload[len(d.payload)-1]++ }, DropEchoForeign},
			"itself once more":  {func(*datagram) {}, DropEchoOld},
		} {
			before := n.s.core
			d := n.datagram(good)
			c.change(d)
			if drop := n.drop(d); drop != c.want {
				t.Errorf("%s: %v, want %v", name, drop, c.want)
			}
			if after := n.s.core; after.state != Up || after.lastRx != before.lastRx || after.window != before.window {
				t.Errorf("%s: the session moved", name)
			}
		}
		fresh := n.retagged(good, func(b []byte) { // signed anew, as the window wants it
			clear(b[28:])
			n.s.core.xmitSequence++
			copy(b, conf.Auth.sign(plainHeader(b), n.s.core.xmitSequence))
		})
		if drop := n.drop(n.datagram(fresh)); drop != DropNone {
			t.Errorf("a good one: %v", drop)
		}
	})
}

// plainHeader is the 24 octets of b before they were signed.
func plainHeader(b []byte) []byte {
	h := slices.Clone(b[:headerLength])
	h[1] &^= flagAuth
	h[3] = headerLength
	return h
}

func TestBFD_UE_07_TwoSessionsOfOneSource(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		other := conf
		other.Peer = other.Peer.Next().Next()
		second := n.open(other)
		n.run(time.Second)
		if n.s.core.state != Up || second.core.state != Up || n.s.core.localDiscr == second.core.localDiscr {
			t.Errorf("%v and %v", n.s.core.state, second.core.state)
		}
		if n.s.dropped != ([drops]uint64{}) || second.dropped != ([drops]uint64{}) {
			t.Error("the sessions took packets of each other")
		}
	})
}

func TestBFD_UE_09_HopLimit(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for ttl := range 256 {
			n := newNeighbourhood(t, conf)
			n.table.advance(n.now, n.now)
			d := n.datagram(n.sent[0])
			d.ttl = ttl
			want := DropTTL
			if ttl == 254 {
				want = DropNone
			}
			if drop := n.drop(d); drop != want || (n.s.core.state == Down) != (want == DropTTL) {
				t.Errorf("hop limit %d: %v, %v", ttl, drop, n.s.core.state)
			}
		}
	})
}

// TestBFD_UE_10_BFD_UE_12_BFD_UE_15_BFD_UE_18_Octets: every octet has a value.
func TestBFD_UE_10_BFD_UE_12_BFD_UE_15_BFD_UE_18_Octets(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		conf.Multiplier, conf.DesiredMinTx, conf.RequiredMinRx = 5, 20*time.Millisecond, 30*time.Millisecond
		n := newNeighbourhood(t, conf)
		n.up()
		var d [4]byte
		binary.BigEndian.PutUint32(d[:], n.s.core.localDiscr)
		l := n.sent[len(n.sent)-1]
		want := slices.Concat(
			[]byte{0x20, 0xc0, 5, 24}, d[:], d[:],
			[]byte{0x00, 0x0f, 0x42, 0x40}, []byte{0x00, 0x0f, 0x42, 0x40}, []byte{0, 0, 0, 0},
			binary.BigEndian.AppendUint64(nil, uint64(len(n.sent))),
			binary.BigEndian.AppendUint64(nil, uint64(l.at)),
			[]byte{1, 0, 0, 0},
		)
		if got := l.b[:len(l.b)-8]; !bytes.Equal(got, want) {
			t.Errorf("sent\n% x, want\n% x", got, want)
		}
	})
}

func TestBFD_UE_11_BFD_UE_12_IntervalsIgnored(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for _, value := range []uint32{0, 1, 10, 4_000_000_000} {
			n := newNeighbourhood(t, conf)
			n.up()
			interval, detection := n.s.core.interval(), n.s.core.detection()
			l := n.retagged(n.sent[len(n.sent)-1], func(b []byte) {
				b[2] = 200
				for _, at := range []int{12, 16, 20} {
					binary.BigEndian.PutUint32(b[at:], value)
				}
			})
			if drop := n.drop(n.datagram(l)); drop != DropNone {
				t.Fatal(drop)
			}
			if i, d := n.s.core.interval(), n.s.core.detection(); i != interval || d != detection {
				t.Errorf("looped %d: interval %v and detection %v, were %v and %v", value, i, d, interval, detection)
			}
			sent := len(n.sent)
			n.forward = func(looped) bool { return false }
			n.run(n.s.core.detection() / 2)
			if len(n.sent) == sent {
				t.Errorf("looped %d: nothing is sent any more", value)
			}
		}
	})
}

func TestBFD_UE_19_Authentication(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		for typ := AuthSimple; typ <= AuthMeticulousSHA1; typ++ {
			conf.Auth = Auth{Type: typ, KeyID: 2, Keys: []Key{{2, Secret("secret")}}}
			n := newNeighbourhood(t, conf)
			n.up()
			if p := n.sent[len(n.sent)-1].packet(t); p.Auth.Type != typ {
				t.Errorf("%v: sent %v", typ, p)
			}
			if typ.sequenced() && n.s.core.window == (sequence{}) {
				t.Errorf("%v: the window was not fed", typ)
			}
			// Back after a silence in which the numbers went on, whatever of the
			// self-test came back meanwhile.
			n.forward = func(l looped) bool { return l.kind() == echoTest }
			n.run(time.Minute)
			n.forward = func(looped) bool { return false }
			n.run(time.Minute)
			n.forward = nil
			n.run(3 * time.Second)
			if n.s.core.state != Up {
				t.Errorf("%v: did not come back: %v", typ, counted(&n.s.dropped))
			}
		}
	})
}

// TestBFD_AU_17_OnlyOurs: a packet that was changed on the way is not ours, nor is
// one of the session before.
func TestBFD_AU_17_OnlyOurs(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.up()
		n.forward = func(looped) bool { return false }
		sent := len(n.sent)
		n.run(60 * time.Millisecond)
		fresh := n.sent[sent]
		for bit := range len(fresh.b) * 8 {
			d := n.datagram(fresh)
			d.payload[bit/8] ^= 1 << (bit % 8)
			if drop := n.drop(d); drop == DropNone {
				t.Errorf("bit %d changed: taken", bit)
			}
		}
		if drop := n.drop(n.datagram(fresh)); drop != DropNone {
			t.Errorf("unchanged: %v", drop)
		}
		again := newNeighbourhood(t, conf)
		again.table.advance(again.now, again.now)
		if again.s.core.localDiscr != n.s.core.localDiscr {
			t.Fatal("the test wants equal discriminators")
		}
		if drop := again.drop(again.datagram(n.sent[0])); drop != DropEchoForeign {
			t.Errorf("a packet of the session before: %v", drop)
		}
	})
}

// P and F mean nothing in a loop: they are not sent, and if they come nobody answers.
func TestEchoPollIgnored(t *testing.T) {
	inEchoFamilies(t, func(t *testing.T, conf Config) {
		n := newNeighbourhood(t, conf)
		n.up()
		for _, flag := range []byte{flagPoll, flagFinal} {
			l := n.retagged(n.sent[len(n.sent)-1], func(b []byte) { b[1] |= flag })
			sent := len(n.sent)
			if drop := n.drop(n.datagram(l)); drop != DropNone || len(n.sent) != sent {
				t.Errorf("flag %x: %v, sent %d packets", flag, drop, len(n.sent)-sent)
			}
		}
		n.run(time.Second)
		for _, l := range n.sent {
			if p := l.packet(t); p.Poll || p.Final {
				t.Errorf("sent %v", p)
			}
		}
	})
}
