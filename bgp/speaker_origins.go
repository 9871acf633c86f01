package bgp

import (
	"context"
	"slices"
)

// caches makes the clients those of the configuration.
func (m *manager) caches() {
	var now []string
	if m.rtr != nil {
		for _, c := range m.rtr.clients {
			now = append(now, c.address)
		}
	}
	if slices.Equal(now, m.config.RPKI) {
		return
	}
	if m.rtr != nil {
		m.rtr.stop()
		m.rtr = nil
	}
	s := m.s
	if len(m.config.RPKI) > 0 {
		m.rtr = newRTRClients(m.config.RPKI, s.log, func(records bool) {
			// This is a goroutine of the client's, which the manager waits for when it
			// ends it.
			go func() { _ = s.do(context.Background(), func(m *manager) { m.validate(records) }) }()
		})
	}
	m.validate(true)
}

// validate takes over what the caches know. Paths are looked at once more if records
// changed.
func (m *manager) validate(changed bool) {
	if changed {
		var records []vrp
		if m.rtr != nil {
			records = m.rtr.all()
		}
		m.origins.replace(records)
	}
	var status []CacheStatus
	if m.rtr != nil {
		status = m.rtr.status()
	}
	x := &m.s.sessions
	x.mu.Lock()
	x.rpki = status
	x.mu.Unlock()
	m.s.publish()
	if changed {
		m.rejudgeInvalid()
	}
}

// asked returns whom judges ask for origins, nil if nobody is to be asked.
func (m *manager) asked() origins {
	if len(m.config.RPKI) == 0 {
		return nil
	}
	return m.origins
}
