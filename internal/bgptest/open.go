package bgptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Codes of capabilities.
const (
	CapMultiprotocol   = 1  // RFC 4760
	CapRouteRefresh    = 2  // RFC 2918
	CapExtendedNextHop = 5  // RFC 8950
	CapGracefulRestart = 64 // RFC 4724
	CapFourOctetAS     = 65 // RFC 6793
	CapAddPath         = 69 // RFC 7911
)

// Capability is one of them as on the wire (RFC 5492).
type Capability struct {
	Code uint8
	Data []byte
}

// GracefulRestart is the capability of RFC 4724 and RFC 8538.
type GracefulRestart struct {
	// Restarting is the R bit, Notification the N bit.
	Restarting, Notification bool
	// Time is whole seconds, 0..4095s.
	Time time.Duration
	// Families that are kept, those in Forwarding with the F bit.
	Families, Forwarding []Family
}

func (g GracefulRestart) capability() Capability {
	head := uint16(g.Time/time.Second) & 0xfff
	if g.Restarting {
		head |= 0x8000
	}
	if g.Notification {
		head |= 0x4000
	}
	b := binary.BigEndian.AppendUint16(nil, head)
	for _, f := range g.Families {
		flags := byte(0)
		if slices.Contains(g.Forwarding, f) {
			flags = 0x80
		}
		b = append(binary.BigEndian.AppendUint16(b, f.AFI()), f.SAFI(), flags)
	}
	return Capability{CapGracefulRestart, b}
}

// Open is the contents of an OPEN message (RFC 4271 section 4.2).
type Open struct {
	Version uint8
	// AS is that of the capability for four octets if there is one, ShortAS the
	// one of the fixed part.
	AS       uint32
	ShortAS  uint16
	HoldTime time.Duration
	ID       netip.Addr
	// Capabilities in their order.
	Capabilities []Capability
}

// Capability returns the data of the first capability with that code.
func (o Open) Capability(code uint8) ([]byte, bool) {
	for _, c := range o.Capabilities {
		if c.Code == code {
			return c.Data, true
		}
	}
	return nil, false
}

// Families are those of the multiprotocol capabilities.
func (o Open) Families() []Family {
	var found []Family
	for _, c := range o.Capabilities {
		if c.Code == CapMultiprotocol && len(c.Data) == 4 {
			found = append(found, Family(binary.BigEndian.Uint16(c.Data))<<16|Family(c.Data[3]))
		}
	}
	return found
}

// GracefulRestart returns that capability, if there is one.
func (o Open) GracefulRestart() (GracefulRestart, bool) {
	data, ok := o.Capability(CapGracefulRestart)
	if !ok || len(data) < 2 {
		return GracefulRestart{}, false
	}
	head := binary.BigEndian.Uint16(data)
	g := GracefulRestart{Restarting: head&0x8000 != 0, Notification: head&0x4000 != 0, Time: time.Duration(head&0xfff) * time.Second}
	for b := data[2:]; len(b) >= 4; b = b[4:] {
		f := Family(binary.BigEndian.Uint16(b))<<16 | Family(b[2])
		g.Families = append(g.Families, f)
		if b[3]&0x80 != 0 {
			g.Forwarding = append(g.Forwarding, f)
		}
	}
	return g, true
}

// Message encodes o: what AS and ShortAS say, and Capabilities as they are.
func (o Open) Message() []byte {
	b := binary.BigEndian.AppendUint16([]byte{o.Version}, o.ShortAS)
	b = binary.BigEndian.AppendUint16(b, uint16(o.HoldTime/time.Second))
	id := o.ID.As4()
	b = append(b, id[:]...)
	var parameters []byte
	for _, c := range o.Capabilities {
		// One optional parameter for each, which is what old speakers understand.
		parameters = append(parameters, 2, byte(2+len(c.Data)), c.Code, byte(len(c.Data)))
		parameters = append(parameters, c.Data...)
	}
	return Message(TypeOpen, append(append(b, byte(len(parameters))), parameters...))
}

// decodeOpen reads the body of an OPEN message, also one with extended optional
// parameters (RFC 9072).
func decodeOpen(b []byte) (Open, error) {
	if len(b) < 10 {
		return Open{}, errors.New("read OPEN: it is too short")
	}
	o := Open{
		Version: b[0], ShortAS: binary.BigEndian.Uint16(b[1:]), AS: uint32(binary.BigEndian.Uint16(b[1:])),
		HoldTime: time.Duration(binary.BigEndian.Uint16(b[3:])) * time.Second, ID: netip.AddrFrom4([4]byte(b[5:9])),
	}
	n, b, wide := int(b[9]), b[10:], 1
	if n == 255 && len(b) >= 3 && b[0] == 255 {
		n, b, wide = int(binary.BigEndian.Uint16(b[1:])), b[3:], 2
	}
	if n != len(b) {
		return o, fmt.Errorf("read OPEN: parameters of %d octets, %d are there", n, len(b))
	}
	for len(b) > 0 {
		if len(b) < 1+wide {
			return o, errors.New("read OPEN: a parameter is cut")
		}
		kind, size := b[0], int(b[1])
		if wide == 2 {
			size = int(binary.BigEndian.Uint16(b[1:]))
		}
		b = b[1+wide:]
		if size > len(b) {
			return o, errors.New("read OPEN: a parameter is cut")
		}
		if kind == 2 {
			if err := o.capabilities(b[:size]); err != nil {
				return o, err
			}
		}
		b = b[size:]
	}
	if as, ok := o.Capability(CapFourOctetAS); ok && len(as) == 4 {
		o.AS = binary.BigEndian.Uint32(as)
	}
	return o, nil
}

func (o *Open) capabilities(b []byte) error {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return errors.New("read OPEN: a capability is cut")
		}
		n := 2 + int(b[1])
		o.Capabilities = append(o.Capabilities, Capability{b[0], slices.Clone(b[2:n])})
		b = b[n:]
	}
	return nil
}
