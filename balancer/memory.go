package balancer

import (
	"time"

	"weir/backend"
	"weir/config"
)

// Memory is what a balancer knows of its backends beside the configuration. A process that takes over
// recalls it, so that nobody is sent to a backend that is drained or down.
type Memory struct {
	// Frontends is where each frontend listens, and what it is called: in another file it may have another name.
	Frontends []Known      `json:"frontends"`
	Backends  []Remembered `json:"backends"`
	// Notes is what operators say, by name: also of backends that are not there now.
	Notes []Note `json:"notes"`
	// FailedOver names the frontends whose backups keep the new sessions.
	FailedOver []string `json:"failed_over"`
}

// Known is one frontend.
type Known struct {
	Name string `json:"name"`
	// Names are those that it has, or has had in the processes before.
	Names []string    `json:"names"`
	Bind  []KnownBind `json:"bind"`
}

// KnownBind is one listening address.
type KnownBind struct {
	Network string `json:"network"`
	Address string `json:"address"`
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
		m.Frontends = append(m.Frontends, p.known(b.house.names(p)))
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
	now := b.recognise(m.Frontends)
	for i := range m.Backends {
		m.Backends[i].Frontend = now.of(m.Backends[i].Frontend)
	}
	for i := range m.Notes {
		m.Notes[i].Frontend = now.of(m.Notes[i].Frontend)
	}
	for i := range m.FailedOver {
		m.FailedOver[i] = now.of(m.FailedOver[i])
	}
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

// known tells of the frontend to another process.
func (p *part) known(names []string) Known {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := Known{Name: p.Name(), Names: names}
	for _, l := range p.config.BindOn {
		k.Bind = append(k.Bind, KnownBind{l.Network, l.Address.Address})
	}
	return k
}

// recognise finds the frontends of another process that are those of this one, and has them go by their old names as
// well. It returns the names here by the names there.
func (b *Balancer) recognise(all []Known) (now keys) {
	there := new(config.Config)
	for _, k := range all {
		f := config.Frontend{Name: k.Name}
		for _, a := range k.Bind {
			f.BindOn = append(f.BindOn, config.Listen{Address: config.Address{Network: a.Network, Address: a.Address}})
		}
		there.Frontends = append(there.Frontends, f)
	}
	now = make(keys)
	for name, was := range renamed(there, b.config) {
		now[was] = name
	}
	for _, k := range all {
		if p := b.part(now.of(k.Name)); p != nil {
			b.house.alias(p, append(k.Names, k.Name)...)
		}
	}
	return now
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
