package backend

import "time"

// Status is what can be told of one backend at one moment.
type Status struct {
	Backend *Backend
	State   State
	// Reason and Since say why and since when it is in its state.
	Reason string
	Since  time.Time
	Active int
	Totals Totals
}

// Backends returns the pool's backends in the order of the file. The caller must not change the list.
func (p *Pool) Backends() []*Backend { return p.all }

// Snapshot returns the state of every backend, in the order of the file.
func (p *Pool) Snapshot() []Status {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	list := make([]Status, len(p.all))
	for i, b := range p.all {
		list[i] = Status{
			Backend: b, State: b.state(), Reason: b.reason, Since: b.since, Active: b.active, Totals: b.totals,
		}
	}
	return list
}
