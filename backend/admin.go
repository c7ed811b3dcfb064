package backend

import (
	"slices"
	"strings"
	"time"
)

// AdminState is what an operator says of a backend, whatever its probes say.
type AdminState uint8

// What an operator may say.
const (
	AdminReady AdminState = iota // serve, if you can
	AdminDrain                   // take no new sessions, let the running ones finish
	AdminMaint                   // the same, and nobody probes it
)

// AdminNote is what an operator says of the backend of a name. It stays until it is changed, also while the
// configuration has no backend of that name, or has it at another address: an operator who works on a server says
// when it may serve again.
type AdminNote struct {
	// Name is the backend's.
	Name  string
	State AdminState
	// Reason is who says so, in words. Empty: nobody has said anything.
	Reason string
	Since  time.Time
}

// SetAdmin says what an operator wants of b. In a pool that is probed, one that leaves maintenance begins down: it
// serves from its first good probe on.
func (p *Pool) SetAdmin(b *Backend, s AdminState, reason string) {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	note := AdminNote{Name: b.id.Name, State: s, Reason: reason, Since: time.Now()}
	p.note(note)
	p.change(b, now, reason, func() {
		if b.admin.State == AdminMaint && s != AdminMaint && p.opts.Probed {
			b.health = Health{Unproven: true, Reason: "not probed since its maintenance", Since: note.Since}
			b.ejection.until = 0
		}
		b.admin = note
	})
	p.forgetRestored()
}

// note remembers what was said of a name.
func (p *Pool) note(n AdminNote) {
	if n.State == AdminReady {
		delete(p.notes, n.Name)
	} else {
		p.notes[n.Name] = n
	}
}

// Note is SetAdmin for a name that there need not be a backend of.
func (p *Pool) Note(n AdminNote) {
	p.mu.Lock()
	for _, b := range p.members {
		if b.id.Name == n.Name {
			p.mu.Unlock()
			p.SetAdmin(b, n.State, n.Reason)
			return
		}
	}
	p.note(n)
	p.mu.Unlock()
}

// Notes returns what operators say of the backends that are not ready, by name.
func (p *Pool) Notes() []AdminNote {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []AdminNote
	for _, n := range p.notes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b AdminNote) int { return strings.Compare(a.Name, b.Name) })
	return list
}
