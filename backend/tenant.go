package backend

import (
	"cmp"
	"slices"
	"time"

	"weir/backend/health"
)

// Landlord decides for the pool of a process that another one has taken the place of, so that both hold every limit
// together: it counts what the pool has, and grants what the pool's sessions wait for. All is called with the lock of
// the pool, which it must not call; nor may it block.
type Landlord interface {
	// CountBackend and CountClass are told of slots of a backend, and of a class: how many the pool has at first, and
	// then each that it gives back, as -1. What is granted the landlord knows.
	CountBackend(id ID, by int)
	CountClass(name string, by int)
	// Ask asks for a slot. The answer is Granted or Refused with the ticket that it returns.
	Ask(a Ask) (ticket uint64)
	// Withdraw takes a question back. The answer may be on its way.
	Withdraw(ticket uint64)
}

// Ask is a session that wants a backend, as one process tells it another.
type Ask struct {
	// Seq is its place in the order of arrival.
	Seq uint64 `json:"seq"`
	// Waits says that it had a place in a queue before: it is not turned away because that of the other one is full.
	Waits bool `json:"waits,omitempty"`
	// Class is the name of its class, Key stands for its client.
	Class string `json:"class,omitempty"`
	Key   uint64 `json:"key"`
	// Tried is where it was in vain.
	Tried []ID `json:"tried,omitempty"`
}

// tenancy is that of a pool which does not decide by itself.
type tenancy struct {
	landlord Landlord
	asked    map[uint64]*Waiter
}

// vacated is told that a session has left b.
func (t *tenancy) vacated(b *Backend, c *class) {
	t.landlord.CountBackend(b.id, -1)
	if c.heir == nil { // or it counts in no class any more
		t.landlord.CountClass(c.name, -1)
	}
}

// Cede has the pool decide nothing more by itself: l is told what it has, and asked for whoever waits or comes, in the
// order of arrival. On a pool that has ceded already it does nothing.
func (p *Pool) Cede(l Landlord) {
	p.mu.Lock()
	defer p.unlock()
	if p.tenancy != nil {
		return
	}
	p.tenancy = &tenancy{l, make(map[uint64]*Waiter)}
	for _, list := range []map[ID]*Backend{p.members, p.gone} {
		for _, b := range list {
			if b.active > 0 {
				l.CountBackend(b.id, b.active)
			}
		}
	}
	for _, c := range p.queue.classes {
		if c.active > 0 {
			l.CountClass(c.name, c.active)
		}
	}
	for _, w := range p.queue.inOrder() {
		p.putQuestion(w, true)
	}
}

// inOrder returns who waits, those first who came first.
func (q *queue) inOrder() []*Waiter {
	var list []*Waiter
	for _, c := range q.classes {
		for _, f := range c.waiting {
			for w := f.first; w != nil; w = w.next {
				list = append(list, w)
			}
		}
	}
	slices.SortFunc(list, func(a, b *Waiter) int { return cmp.Compare(a.request.seq, b.request.seq) })
	return list
}

// Reclaim has the pool decide by itself again, for there is no other process to ask any more.
func (p *Pool) Reclaim() {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	if p.tenancy == nil {
		return
	}
	p.tenancy = nil
	p.settle(now)
	p.serve()
	if p.queue.opts.Size == 0 { // they have only waited for an answer
		p.sendAway(p.why())
	}
	p.sendAwayIfDown()
}

// ask has a session wait until the landlord has answered.
func (p *Pool) ask(r *Request, w *Waiter) {
	waits := r.seq != 0
	w.request, w.since, w.lease, w.err = r, r.Now, Lease{}, nil
	p.queue.add(w, p.class(r).flow(r.key))
	p.putQuestion(w, waits)
}

func (p *Pool) putQuestion(w *Waiter, waits bool) {
	r := w.request
	a := Ask{Seq: r.seq, Waits: waits, Class: p.class(r).name, Key: r.key}
	for _, b := range r.tried {
		a.Tried = append(a.Tried, b.id)
	}
	w.ticket = p.tenancy.landlord.Ask(a)
	p.tenancy.asked[w.ticket] = w
}

// withdraw takes back what was asked for w.
func (p *Pool) withdraw(w *Waiter) {
	if t := p.tenancy; t != nil {
		delete(t.asked, w.ticket)
		t.landlord.Withdraw(w.ticket)
	}
}

// answered returns who had that ticket, and waits no more. nil: it has left before.
func (p *Pool) answered(ticket uint64) *Waiter {
	w := p.tenancy.asked[ticket]
	if w == nil {
		return nil
	}
	delete(p.tenancy.asked, ticket)
	p.queue.remove(w)
	p.wakes = append(p.wakes, w.Wake)
	return w
}

// Granted gives whoever asked with that ticket a slot of a backend, of which the landlord alone has to know. again is
// that of Acquire. If the session has left, the slot goes back to the landlord.
func (p *Pool) Granted(ticket uint64, id ID, class string, again bool) {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	if p.tenancy == nil {
		return
	}
	w := p.answered(ticket)
	if w == nil {
		p.tenancy.landlord.CountBackend(id, -1)
		p.tenancy.landlord.CountClass(class, -1)
		return
	}
	p.queue.count(now - w.since)
	if w.again = again; again {
		w.request.startOver()
	}
	w.lease = p.grant(p.known(id), w.request, now)
}

// Refused tells whoever asked with that ticket that there is nothing for it.
func (p *Pool) Refused(ticket uint64, why error) {
	p.mu.Lock()
	defer p.unlock()
	if p.tenancy == nil {
		return
	}
	if w := p.answered(ticket); w != nil {
		w.err = why
	}
}

// known returns the backend of that ID. One that this process has never heard of is as one that was removed.
func (p *Pool) known(id ID) *Backend {
	b := p.members[id]
	if b == nil {
		b = p.gone[id]
	}
	if b == nil {
		b = &Backend{id: id, site: p.siteOf(id), failures: health.NewPassive(0, 0), since: time.Now()}
		p.gone[id] = b
	}
	return b
}
