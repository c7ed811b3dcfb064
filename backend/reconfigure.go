package backend

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"time"

	"weir/backend/health"
	"weir/backend/strategy"
)

// batch is how many members are changed at a time, with the lock held: for 50 to 100 µs. Then whoever waits for the
// lock has it.
const batch = 64

// Reconfigure makes the pool what NewPool would make of o, while it serves. Clock, After, Random, Notify and Guard
// stay as they are. Few changes are made at once; of many, sessions see a part before the other, so that none waits
// for more than a part, however many backends there are.
//
// A backend is the same if its ID is: it keeps its sessions, its health, its counts, its turn, and what an operator
// said of its state; limit and weight become those of o. That goes for one that was removed as well, as long as it has
// sessions. One that is new at the address of one that goes, under another name, takes over the health of that.
// What an operator said stays with the name. Whoever waits goes on waiting, in the class of the same name, or in the
// last one.
//
// Of the backends that o leaves out, running sessions go on; they are returned as removed, and whoever probed them is
// to stop. They get no new sessions from now on; but if none of the others is usable yet, only when one is, or when
// the time for that is up (PoolOptions.Overlap).
func (p *Pool) Reconfigure(o PoolOptions) (added, removed []*Backend, err error) {
	if _, err := strategy.New(o.Strategy, p.random); err != nil {
		return nil, nil, fmt.Errorf("reconfigure pool: %w", err)
	}
	added, removed = p.configure(&o, false)
	return added, removed, nil
}

// reconfiguration is one change of the members.
type reconfiguration struct {
	*Pool
	o      *PoolOptions
	isNew  bool       // the pool
	next   []*Backend // in the order of the file
	steps  []step
	added  []*Backend
	doomed map[*Backend]bool
	now    time.Duration
	done   int // members changed since the lock was taken
}

// step is what is to be done about one backend that o has.
type step struct {
	backend *Backend // nil: it is no member
	o       *Options
	rank    int
}

func (p *Pool) configure(o *PoolOptions, isNew bool) (added, removed []*Backend) {
	p.configuring.Lock()
	defer p.configuring.Unlock()
	r := &reconfiguration{Pool: p, o: o, isNew: isNew}
	r.compare()
	removed = r.removed()
	r.lock()
	defer r.unlock()
	r.begin()
	for i := range r.steps {
		r.adopt(&r.steps[i])
		r.breathe()
	}
	r.unTable(removed)
	r.changeStrategy()
	r.makeTables()
	r.finish(removed)
	return r.added, removed
}

// compare finds what is to be done. Only configure changes the members, so no lock is needed.
func (r *reconfiguration) compare() {
	r.next = make([]*Backend, len(r.o.Backends))
	r.doomed = make(map[*Backend]bool, len(r.members))
	for _, b := range r.members {
		r.doomed[b] = true
	}
	all := r.opts.Passive != r.o.Passive
	for i := range r.o.Backends {
		o := &r.o.Backends[i]
		b := r.members[o.ID()]
		delete(r.doomed, b)
		r.next[i] = b
		if b == nil || all || b.opts != *o || b.rank != i {
			r.steps = append(r.steps, step{b, o, i})
		}
	}
}

// removed returns who is doomed, in the order in which they were added.
func (r *reconfiguration) removed() []*Backend {
	list := make([]*Backend, 0, len(r.doomed))
	for b := range r.doomed {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *Backend) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.id.Name, b.id.Name)) })
	return list
}

func (r *reconfiguration) lock() {
	r.mu.Lock()
	r.now, r.done = r.Since(), 0
	r.settle(r.now)
}

// breathe is called when a member was changed, and lets others have the lock now and then.
func (r *reconfiguration) breathe() {
	if r.done++; r.done == batch {
		r.unlock()
		runtime.Gosched() // or whoever was woken would find the lock taken again, for a millisecond each time
		r.lock()
	}
}

// begin goes over to the options of the pool itself. Those that were about to leave are members like any other.
func (r *reconfiguration) begin() {
	for _, b := range r.leaving {
		b.leaving = false
	}
	r.leaving = nil
	r.opts, r.max = *r.o, r.o.MaxConnections
	r.opts.Backends = nil
	if !r.isNew {
		r.queue.reconfigure(r.o.Queue)
		r.countLodgers()
	}
}

// adopt makes what o describes a member, or changes it.
func (r *reconfiguration) adopt(s *step) {
	if s.backend == nil {
		s.backend = r.welcome(s.o, s.rank)
		r.next[s.rank] = s.backend
		r.added = append(r.added, s.backend)
		return
	}
	b := s.backend
	r.change(b, r.now, "", func() {
		was := b.opts
		b.opts, b.rank = *s.o, s.rank
		if t := r.tiers[b.opts.Backup]; t != b.tier {
			b.tier.leave(b)
			t.join(b)
		} else {
			t.place(b, b.opts.Weight)
		}
		r.setUp(b, &was)
	})
}

// setUp gives b what follows from its options. was are those that it had; nil: none.
func (r *reconfiguration) setUp(b *Backend, was *Options) {
	if was == nil || !b.opts.Learn || *was != b.opts {
		r.limit(b, &b.opts)
	}
	b.failures = health.NewPassive(r.opts.Passive.Failures, r.opts.Passive.Window)
}

// welcome makes a new member, or an old one that was removed and still has sessions.
func (r *reconfiguration) welcome(o *Options, rank int) *Backend {
	id := o.ID()
	b, returns := r.gone[id]
	if !returns {
		b = &Backend{id: id}
	}
	b.opts, b.rank, b.rampFrom, b.ejection = *o, rank, 0, ejection{}
	b.health, b.upReason, b.since = r.firstHealth(b)
	b.admin = r.notes[id.Name]
	r.setUp(b, nil)
	r.enter(b)
	r.members[id] = b
	r.tiers[o.Backup].join(b)
	if b.wanted() {
		r.total++
	}
	if b.usable() {
		b.tier.usable++
		if !r.isNew {
			r.ramp(b, r.now)
		}
	}
	b.tier.tell(b, r.now, r.opts.SlowStart)
	if returns {
		r.tell(b, Removed, "back in the configuration")
	}
	if b.usable() {
		r.canServe(b, r.now)
	}
	return b
}

// firstHealth returns what is taken for the health of a backend that joins.
func (r *reconfiguration) firstHealth(b *Backend) (h Health, upReason string, since time.Time) {
	since = time.Now()
	if old := r.predecessor(b.id); old != nil {
		h, upReason = old.health, old.upReason
		r.retire(old, r.now)
		return h, upReason, since
	}
	h = Health{Up: b.opts.Up, Since: since, Reason: "not probed yet"}
	switch {
	case r.isNew:
	case r.opts.Probed:
		h.Up, h.Unproven = false, true
	default:
		h.Up = true
	}
	if h.Up && !r.opts.Probed {
		h.Reason = "not probed"
	}
	return h, takenAsUp, since
}

const takenAsUp = "taken as up"

// predecessor returns a backend that goes and is at the same address, of which more is known.
func (r *reconfiguration) predecessor(id ID) *Backend {
	s := r.sites[id.site()]
	if s == nil {
		return nil
	}
	for _, m := range s.members {
		if r.doomed[m] && !m.health.Unproven {
			return m
		}
	}
	return nil
}

// unTable has tables made without those that go.
func (r *reconfiguration) unTable(removed []*Backend) {
	if _, tabled := r.tiers[NoBackup].strategy.(strategy.Tabled); !tabled {
		return
	}
	for _, b := range removed {
		if !b.removed() {
			b.tier.place(b, 0)
		}
		r.breathe()
	}
}

// changeStrategy has another strategy take the place of each tier's, when it knows all members.
func (r *reconfiguration) changeStrategy() {
	for _, t := range r.tiers {
		if t.name == r.o.Strategy {
			continue
		}
		incoming, err := strategy.New(r.o.Strategy, r.random)
		if err != nil {
			return // it was made before
		}
		t.incoming = incoming
		for i := range t.members { // nobody joins meanwhile
			if b := t.members[i]; b != nil {
				t.introduce(b, r.now, r.opts.SlowStart)
				if r.doomed[b] {
					t.place(b, 0)
				}
			}
			r.breathe()
		}
		r.makeTable(incoming)
		t.change(r.o.Strategy)
	}
}

func (r *reconfiguration) makeTables() {
	for _, t := range r.tiers {
		r.makeTable(t.strategy)
	}
}

// makeTable has a strategy make its table anew, if it has one, without the lock.
func (r *reconfiguration) makeTable(s strategy.Strategy) {
	t, ok := s.(strategy.Tabled)
	if !ok {
		return
	}
	compute := t.Rebuild()
	if compute == nil {
		return
	}
	r.unlock()
	install := compute()
	r.lock()
	install()
}

// finish lets those go that are removed, or has them wait until others can serve.
func (r *reconfiguration) finish(removed []*Backend) {
	overlaps := r.overlaps(removed)
	for _, b := range removed {
		if !overlaps || b.removed() || !b.usable() {
			r.retire(b, r.now)
		} else {
			b.leaving = true
			r.leaving = append(r.leaving, b)
		}
		r.breathe()
	}
	r.all = r.next
	r.gatherLearners()
	r.failOver()
	r.sendAwayIfDown()
}

// overlaps says whether those that are removed go on serving for a while, as none of the others can.
func (r *reconfiguration) overlaps(removed []*Backend) bool {
	theirs := 0
	for _, b := range removed {
		if !b.removed() && b.usable() {
			theirs++
		}
	}
	if theirs == 0 || r.usable() > theirs || r.o.Overlap <= 0 {
		return false
	}
	r.overlap++
	mine := r.overlap
	r.after(r.o.Overlap, func() { r.endOverlap(mine) })
	return true
}

// endOverlap lets those go that serve until others can, whether those can or not. overlap says which time of that
// kind is over.
func (p *Pool) endOverlap(overlap uint64) {
	for more := true; more; {
		p.mu.Lock()
		if more = p.overlap == overlap && len(p.leaving) > 0; more {
			p.retireLeaving(p.Since())
			p.sendAwayIfDown()
		}
		p.unlock()
	}
}

// canServe is told that b is usable: those that have served in its place can go.
func (p *Pool) canServe(b *Backend, now time.Duration) {
	if len(p.leaving) == 0 || b.leaving {
		return
	}
	if p.retireLeaving(now); len(p.leaving) > 0 {
		mine := p.overlap
		p.after(0, func() { p.endOverlap(mine) })
	}
}

// retireLeaving lets a batch of those go.
func (p *Pool) retireLeaving(now time.Duration) {
	some := p.leaving[:min(batch, len(p.leaving))]
	p.leaving = p.leaving[len(some):]
	for _, b := range some {
		p.retire(b, now)
	}
}

// retire takes b out. Its leases stay good; what they report changes nothing but the count of sessions at its address.
func (p *Pool) retire(b *Backend, now time.Duration) {
	if b.removed() {
		return
	}
	from := b.state()
	if b.wanted() {
		p.total--
	}
	if from == Up {
		b.tier.usable--
	}
	b.tier.leave(b)
	b.leaving = false
	b.ejection.until, b.rampFrom = 0, 0
	delete(p.members, b.id)
	p.exit(b)
	for _, m := range b.site.members {
		p.inform(m)
	}
	p.tell(b, from, "")
}

// reconfigure changes classes and bounds. Who is in a class that is gone is in the last one from now on.
func (q *queue) reconfigure(o QueueOptions) {
	was := q.classes
	fresh := newQueue(o)
	q.opts = fresh.opts
	for i, c := range fresh.classes {
		at := slices.IndexFunc(was, func(w *class) bool { return w.name == c.name && (w.clients == nil) == (c.clients == nil) })
		if at >= 0 {
			w := was[at]
			w.weight, w.max, w.maxQueued = c.weight, c.max, c.maxQueued
			fresh.classes[i] = w
			was = slices.Delete(slices.Clone(was), at, at+1)
		}
	}
	q.classes = fresh.classes
	last := q.classes[len(q.classes)-1]
	for _, gone := range was {
		q.move(gone, last)
	}
}

// move puts everybody who waits in one class into another.
func (q *queue) move(from, to *class) {
	from.heir = to
	for from.queued > 0 {
		w := from.waiting[0].first
		q.remove(w)
		q.add(w, to.flow(w.request.key))
	}
}
