package backend

import (
	"slices"
	"time"
)

// Status is what can be told of one backend at one moment.
type Status struct {
	Backend *Backend
	State   State
	// Reason and Since say why and since when it is in its state.
	Reason string
	Since  time.Time
	Active int
	// Max is its limit now: the configured one, or what was learned. 0: none.
	Max int
	// Learns says that the limit is learned.
	Learns bool
	// Weight is what the strategy goes by now, in parts of [strategy.WeightUnit]: less than the configured
	// weight during a slow start.
	Weight int
	// Admin is what an operator says of it.
	Admin  AdminState
	Totals Totals
}

// Backends returns the pool's backends in the order of the file. The caller must not change the list.
func (p *Pool) Backends() []*Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// Snapshot returns the state of every backend, in the order of the file, and behind them of those that are [Removed] but
// still have sessions.
func (p *Pool) Snapshot() []Status {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	p.leaving = slices.DeleteFunc(p.leaving, func(b *Backend) bool { return b.active == 0 })
	list := make([]Status, len(p.all)+len(p.leaving))
	for i, b := range slices.Concat(p.all, p.leaving) {
		list[i] = Status{
			Backend: b, State: b.state(), Reason: b.reason, Since: b.since, Active: b.active, Max: b.max,
			Learns: b.learned != nil, Weight: b.effectiveWeight(now, p.opts.SlowStart), Admin: b.admin, Totals: b.totals,
		}
	}
	return list
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
