package backend

import "cmp"

// Lodger is the place of one session of another process in the queue of a pool. Its owner is who speaks with that
// process, and sets Wake. It is for one question.
type Lodger struct {
	Waiter
	of      Request
	class   string // the name of its class in the other process
	backend *Backend
}

// Lodge has a session of another process wait for a backend, at its place in the order of arrival, beside those of
// this one. It is woken when Told will tell something new: at once, if a backend is free.
func (p *Pool) Lodge(l *Lodger, a Ask) {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	l.lodger, l.class = l, a.Class
	l.of = Request{Now: now, seq: a.Seq, key: a.Key, class: p.queue.named(a.Class)}
	for _, id := range a.Tried {
		if b := p.members[id]; b != nil {
			l.of.Exclude(b)
		}
	}
	l.request, l.since = &l.of, now
	p.serve()
	full := p.full() || p.class(&l.of).full()
	if !full {
		if b, again := p.choose(&l.of); b != nil {
			l.again = again
			p.takeIn(l, b)
			p.wakes = append(p.wakes, l.Wake)
			return
		}
	}
	if !a.Waits {
		if l.err = p.queue.refusal(p.class(&l.of), p.why()); l.err != nil {
			p.wakes = append(p.wakes, l.Wake)
			return
		}
	}
	p.queue.add(&l.Waiter, p.class(&l.of).flow(l.of.key))
}

// takeIn counts the session of a lodger on b.
func (p *Pool) takeIn(l *Lodger, b *Backend) {
	l.backend = b
	p.occupy(b.id, 1)
	p.occupyClass(l.class, 1)
}

// Told returns what a lodger was granted, which is from now on counted by Occupy and OccupyClass: whoever asks is to
// take it back there. class is the name that its class has in the other process. [ErrQueued] says that it still
// waits, any other error that it waits no more and gets nothing.
func (p *Pool) Told(l *Lodger) (id ID, class string, again bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.flow != nil {
		return ID{}, "", false, ErrQueued
	}
	b := l.backend
	if b == nil {
		return ID{}, "", false, cmp.Or(l.err, ErrNoBackend)
	}
	l.backend = nil
	return b.id, l.class, l.again, nil
}

// Dislodge gives the place up, or what was granted and not told yet.
func (p *Pool) Dislodge(l *Lodger) {
	p.mu.Lock()
	defer p.unlock()
	if l.flow != nil {
		p.queue.remove(&l.Waiter)
	}
	if b := l.backend; b != nil {
		l.backend = nil
		p.occupy(b.id, -1)
		p.occupyClass(l.class, -1)
	}
}

// OccupyClass counts sessions of another process in the class of a name, by that many more, or fewer. As with those
// that wait, a name that there is not means the last class.
func (p *Pool) OccupyClass(name string, by int) {
	p.mu.Lock()
	defer p.unlock()
	p.occupyClass(name, by)
}

func (p *Pool) occupyClass(name string, by int) {
	p.queue.named(name).lodging += by
	if p.lodgers[name] += by; p.lodgers[name] == 0 {
		delete(p.lodgers, name)
	}
}

// countLodgers counts them anew, in other classes.
func (p *Pool) countLodgers() {
	for _, c := range p.queue.classes {
		c.lodging = 0
	}
	for name, n := range p.lodgers {
		p.queue.named(name).lodging += n
	}
}

// named returns the class of that name, or the last.
func (q *queue) named(name string) *class {
	for _, c := range q.classes {
		if c.name == name {
			return c
		}
	}
	return q.classes[len(q.classes)-1]
}

// Order returns the last number in the order of arrival that was given. Follow has the next ones come behind all that
// another process has given, or will: it knows of its last one.
func (p *Pool) Order() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.seq
}

// Follow is described with [Pool.Order].
func (p *Pool) Follow(order uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.seq = max(p.queue.seq, order+generation)
}

// generation is how many numbers in the order of arrival one process may still give when the next one begins.
const generation = 1 << 32
