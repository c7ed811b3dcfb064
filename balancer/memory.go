package balancer

import (
	"time"

	"weir/backend"
)

// Memory is what a balancer knows of its backends beside the configuration. A process that takes over
// recalls it, so that nobody is sent to a backend that is drained or down.
type Memory struct {
	Backends []Remembered `json:"backends"`
	// Notes is what operators say, by name: also of backends that are not there now.
	Notes []Note `json:"notes"`
	// FailedOver names the frontends whose backups keep the new sessions.
	FailedOver []string `json:"failed_over"`
}

// Remembered is what the probes of one backend say.
type Remembered struct {
	Frontend string    `json:"frontend"`
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	Up       bool      `json:"up"`
	Unproven bool      `json:"unproven"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
}

// Note is what an operator says of one backend.
type Note struct {
	Frontend string             `json:"frontend"`
	Name     string             `json:"name"`
	Admin    backend.AdminState `json:"admin"`
	Reason   string             `json:"reason"`
}

// Memory returns what is known now.
func (b *Balancer) Memory() (m Memory) {
	b.mu.Lock()
	parts := b.parts
	b.mu.Unlock()
	for _, p := range parts {
		for _, s := range p.pool.Snapshot() {
			if s.State == backend.Removed {
				continue
			}
			h := s.Health
			m.Backends = append(m.Backends, Remembered{p.Name(), s.Backend.Name(), s.Backend.Address(), h.Up, h.Unproven, h.Reason, h.Since})
		}
		for _, n := range p.pool.Notes() {
			m.Notes = append(m.Notes, Note{p.Name(), n.Name, n.State, n.Reason})
		}
		if p.pool.FailedOver() {
			m.FailedOver = append(m.FailedOver, p.Name())
		}
	}
	return m
}

// Recall takes up what another balancer knew. Call it before Run.
func (b *Balancer) Recall(m Memory) {
	b.recallHealth(m.Backends)
	for _, n := range m.Notes {
		if p := b.part(n.Frontend); p != nil {
			p.pool.Note(backend.AdminNote{Name: n.Name, State: n.Admin, Reason: n.Reason})
		}
	}
	for _, name := range m.FailedOver {
		if p := b.part(name); p != nil {
			p.pool.RestoreFailedOver()
		}
	}
}

// recallHealth takes up the health of backends that are the same, and are probed: or nobody would ever say otherwise.
func (b *Balancer) recallHealth(all []Remembered) {
	type key struct{ frontend, name, address string }
	known := make(map[key]*Remembered, len(all))
	for i := range all {
		known[key{all[i].Frontend, all[i].Name, all[i].Address}] = &all[i]
	}
	for _, p := range b.parts {
		if p.config.Health.Kind == "none" {
			continue
		}
		for _, at := range p.pool.Backends() {
			if r := known[key{p.Name(), at.Name(), at.Address()}]; r != nil {
				p.pool.Restore(at, backend.Health{Up: r.Up, Unproven: r.Unproven, Reason: r.Reason, Since: r.Since})
			}
		}
	}
}
