package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/multihomed/multihomed/bgp"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/uplink"
)

// memory is what outlives the daemon beside what the kernel holds.
type memory struct {
	Drains []rememberedDrain `json:"drains,omitempty"`
	// Slots are the places of sessions in choices, by family: groups in the kernel
	// are made from them.
	Slots map[string][]string `json:"slots,omitempty"`
}

// rememberedDrain is a drain by the operator.
type rememberedDrain struct {
	Uplink string    `json:"uplink"`
	Family string    `json:"family"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
}

// readMemory reads what a previous life remembered. No file is an empty memory.
func readMemory(file string) (memory, error) {
	if file == "" {
		return memory{}, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return memory{}, nil
	}
	var m memory
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return memory{}, fmt.Errorf("read what was remembered of drains: %s: %w; uplinks that were drained are not any more: drain them again", file, err)
	}
	return m, nil
}

// write replaces what is remembered.
func (m memory) write(file string) error {
	if file == "" {
		return nil
	}
	data, err := json.Marshal(m)
	if err == nil {
		err = replaceFile(file, data)
	}
	if err != nil {
		return fmt.Errorf("remember drains: %w", err)
	}
	return nil
}

// slots returns the remembered places. What does not fit is forgotten.
func (m memory) slots() slots {
	s := newSlots()
	for _, f := range fib.Families {
		for i, name := range m.Slots[f.String()] {
			if i < bgp.MaxSlots {
				s[f][i] = name
			}
		}
	}
	return s
}

// remembered returns s as it is written.
func (s slots) remembered() map[string][]string {
	out := map[string][]string{}
	for _, f := range fib.Families {
		if names := s[f]; *names != [bgp.MaxSlots]string{} {
			out[f.String()] = names[:]
		}
	}
	return out
}

// drains returns the remembered drains.
func (m memory) drains() map[uplink.Way]*drain {
	out := map[uplink.Way]*drain{}
	for _, r := range m.Drains {
		for _, f := range fib.Families {
			if f.String() == r.Family {
				out[uplink.Way{Uplink: r.Uplink, Family: f}] = &drain{since: r.Since, until: r.Until}
			}
		}
	}
	return out
}
