package backend

import (
	"cmp"
	"slices"
	"time"
)

// Status is what can be told of one backend at one moment.
type Status struct {
	Backend *Backend
	// State is what follows from the rest; Reason and Since say why and since when.
	State  State
	Reason string
	Since  time.Time
	// Health is what its probes say, Admin what an operator says.
	Health Health
	Admin  AdminNote
	// EjectedUntil is when its ejection ends by itself. Zero: it is not ejected.
	EjectedUntil time.Time
	// Active is how many sessions it has, Elsewhere how many more count against its limit: those at its address under
	// another name, and those of another process.
	Active, Elsewhere int
	// Max is its limit now: the configured one, or what was learned. 0: none.
	Max int
	// Learns says that the limit is learned.
	Learns bool
	// Weight is what the strategy goes by now, in parts of [strategy.WeightUnit]: less than the configured
	// weight during a slow start.
	Weight int
	// Backup says when it serves.
	Backup Backup
	// Leaving says that it was removed, and serves until another backend can.
	Leaving bool
	Totals  Totals
}

// Backends returns the pool's backends in the order of the file. The caller must not change the list.
func (p *Pool) Backends() []*Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// IsRemoved says whether b was removed, and has not come back.
func (p *Pool) IsRemoved(b *Backend) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.removed()
}

// Snapshot returns the state of every backend, in the order of the file, and behind them of those that were removed
// but still serve, or have sessions.
func (p *Pool) Snapshot() []Status {
	now, at := p.Since(), time.Now()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	list := make([]Status, 0, len(p.all)+len(p.leaving)+len(p.gone))
	for _, b := range p.all {
		list = append(list, p.status(b, now, at))
	}
	for _, b := range p.leaving {
		list = append(list, p.status(b, now, at))
	}
	members := len(list)
	for _, b := range p.gone {
		list = append(list, p.status(b, now, at))
	}
	slices.SortFunc(list[members:], func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Backend.id.Name, b.Backend.id.Name), cmp.Compare(a.Backend.id.Address, b.Backend.id.Address))
	})
	return list
}

func (p *Pool) status(b *Backend, now time.Duration, at time.Time) Status {
	s := Status{
		Backend: b, State: b.state(), Reason: b.reason(), Since: b.since, Health: b.health, Admin: b.admin,
		Active: b.active, Max: b.max, Backup: b.opts.Backup, Learns: b.learned != nil, Leaving: b.leaving, Totals: b.totals,
		Weight: b.effectiveWeight(now, p.opts.SlowStart),
	}
	if s.State != Removed {
		s.Elsewhere = b.load() - b.active
	}
	if b.ejection.until > 0 {
		s.EjectedUntil = at.Add(b.ejection.until - now)
	}
	return s
}

// QueueStatus is what can be told of a pool's queue, and of its classes, at one moment.
type QueueStatus struct {
	// Length is how many sessions wait.
	Length int
	// Served counts those that waited and were given a backend, Refused those for which there was no room.
	Served, Refused uint64
	// Waited is the time that those served have waited, together.
	Waited time.Duration
	// Waits counts those served by how long they waited: WaitBound(i) at most, and longer than the bound
	// before. The last one has no bound.
	Waits []uint64
	// Classes are in the order of QueueOptions.Classes.
	Classes []ClassStatus
}

// ClassStatus is one class of clients.
type ClassStatus struct {
	Name           string
	Weight         int
	Active, Queued int
}

// WaitBound returns the longest wait that the i-th of QueueStatus.Waits counts: 1 ms, 2 ms, 4 ms, ….
func WaitBound(i int) time.Duration { return time.Millisecond << i }

// QueueSnapshot returns the state of the queue.
func (p *Pool) QueueSnapshot() QueueStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &p.queue
	s := QueueStatus{Length: q.length, Refused: q.refused, Waited: q.waited, Waits: append([]uint64(nil), q.waits[:]...)}
	for _, n := range q.waits {
		s.Served += n
	}
	for _, c := range q.classes {
		s.Classes = append(s.Classes, ClassStatus{Name: c.name, Weight: c.weight, Active: c.active, Queued: c.queued})
	}
	return s
}
