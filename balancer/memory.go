package balancer

import "weir/backend"

// Memory is what a balancer knows of its backends beside the configuration. A process that takes over
// recalls it, so that nobody is sent to a backend that is drained or down.
type Memory struct {
	Backends []Remembered `json:"backends"`
}

// Remembered is what is known of one backend.
type Remembered struct {
	Frontend string `json:"frontend"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	// Up is what its probes say.
	Up bool `json:"up"`
	// Admin is what an operator says.
	Admin backend.AdminState `json:"admin"`
	// Reason is that of its last change.
	Reason string `json:"reason"`
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
			m.Backends = append(m.Backends, Remembered{
				Frontend: p.name, Name: s.Backend.Name(), Address: s.Backend.Address(),
				Up: p.pool.ProbedUp(s.Backend), Admin: s.Admin, Reason: s.Reason,
			})
		}
	}
	return m
}

// Recall takes up what another balancer knew, of backends that are the same. Call it before Run.
func (b *Balancer) Recall(m Memory) {
	for _, r := range m.Backends {
		p := b.part(r.Frontend)
		if p == nil {
			continue
		}
		for _, at := range p.pool.Backends() {
			if at.Name() != r.Name || at.Address() != r.Address {
				continue
			}
			if p.probers[at] != nil { // or nobody would ever say otherwise
				p.pool.SetUp(at, r.Up, r.Reason)
			}
			if r.Admin != backend.AdminReady {
				p.pool.SetAdmin(at, r.Admin, r.Reason)
			}
		}
	}
}
