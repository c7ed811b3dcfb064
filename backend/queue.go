package backend

import (
	"errors"
	"math/bits"
	"time"
)

// QueueOptions says who waits for a backend, how many of them, and in which order they are served.
type QueueOptions struct {
	// Size bounds how many sessions wait at one time. 0: none does.
	Size int
	// Hold lets sessions wait while no backend is usable, too.
	Hold bool
	// Classes are what Request.Class counts. None: there is one, of weight 1 and without limits.
	Classes []ClassOptions
	// FairByClient shares a class evenly between its clients. Otherwise first come is first served.
	FairByClient bool
}

// ClassOptions is one class of clients.
type ClassOptions struct {
	Name string
	// Weight is the share of the pool that it gets while others want theirs. At least 1.
	Weight int
	// MaxConnections bounds its sessions at one time. 0: as the pool's other limits do.
	MaxConnections int
	// MaxQueued bounds how many of it wait. 0: as Size does.
	MaxQueued int
}

// What [Pool.Wait] and [Pool.Claim] answer when there is no lease.
var (
	// ErrQueued: the session waits, and will be woken.
	ErrQueued = errors.New("queued")
	// ErrQueueFull: no more may wait.
	ErrQueueFull = errors.New("the queue is full")
)

// Waiter is the place of one session in the queue of its pool. Its owner is the session, which uses it for
// one wait after the other; the zero Waiter with Wake set is ready.
type Waiter struct {
	// Wake is called, from any goroutine, when Claim will tell something new. It must neither block nor call
	// the pool. It may come late, after Leave: Claim knows.
	Wake func()

	request    *Request
	flow       *flow
	prev, next *Waiter       // in flow
	since      time.Duration // waits
	lease      Lease         // granted, and not yet claimed
	lodger     *Lodger       // whose place it is; nil: that of a session of this process
	ticket     uint64        // of what another process was asked
	again      bool
	err        error
}

// Wait is Acquire for a session that can wait: with [ErrQueued] it has a place in the queue, from which it
// claims a lease once it is woken, or which it leaves. r belongs to the pool until then.
func (p *Pool) Wait(r *Request, w *Waiter) (l Lease, again bool, err error) {
	p.mu.Lock()
	defer p.unlock()
	p.settle(r.Now)
	if p.tenancy != nil {
		p.ask(r, w)
		return Lease{}, false, ErrQueued
	}
	if l, again, err = p.acquire(r); err == nil {
		return l, again, nil
	}
	return Lease{}, false, p.enqueue(r, w, err)
}

// Claim takes what a waiter was granted. [ErrQueued] says that it still waits, any other error that it
// waits no more and gets nothing.
func (p *Pool) Claim(w *Waiter) (l Lease, again bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.flow != nil {
		return Lease{}, false, ErrQueued
	}
	l, again, err = w.lease, w.again, w.err
	w.lease, w.err = Lease{}, nil
	return l, again, err
}

// Leave gives the place up, or what was granted. On a waiter that does not wait it does nothing.
func (p *Pool) Leave(w *Waiter) {
	p.mu.Lock()
	defer p.unlock()
	if w.flow != nil {
		p.queue.remove(w)
		p.withdraw(w)
	}
	if w.lease.pool != nil {
		p.release(&w.lease)
	}
	w.lease, w.err = Lease{}, nil
}

// enqueue gives a session a place, if one is to be had. why is what there is instead of a backend.
func (p *Pool) enqueue(r *Request, w *Waiter, why error) error {
	q, c := &p.queue, p.class(r)
	if err := q.refusal(c, why); err != nil {
		if err == ErrQueueFull {
			q.refused++
		}
		return err
	}
	w.request, w.since, w.lease, w.err = r, r.Now, Lease{}, nil
	q.add(w, c.flow(r.key))
	return ErrQueued
}

// refusal says why a session of c may not wait. nil: it may.
func (q *queue) refusal(c *class, why error) error {
	switch {
	case q.opts.Size == 0 || why == ErrNoBackend && !q.opts.Hold:
		return why
	case q.length >= q.opts.Size || c.maxQueued > 0 && c.queued >= c.maxQueued:
		return ErrQueueFull
	}
	return nil
}

// serve gives what is free to those who wait. The lock is held, and kept.
//
// A slot goes to the class that has the fewest sessions for its weight, among those that wait and are below
// their limit: weighted max-min fairness, with one slot as the unit (Bertsekas, Gallager: Data Networks,
// §6.5.2). Three classes of weight 1, 1 and 2 have 24, 25 and 50 of 100 slots when one is given back: the
// first has 24 for each weight and gets it, the others have 25. A class that wants less leaves the rest to
// the others, and one that comes late gets every slot that is freed until it has its share. In a class that
// is fair by client the same rule holds between clients, each of weight 1.
func (p *Pool) serve() {
	for p.queue.length > 0 {
		if p.full() || p.tenancy != nil {
			return
		}
		w := p.queue.next()
		if w == nil {
			return
		}
		now := p.Since()
		p.settle(now)
		w.request.Now = now
		b, again := p.choose(w.request)
		if b == nil {
			return
		}
		p.queue.remove(w)
		p.queue.count(now - w.since)
		if w.again = again; w.lodger != nil {
			p.takeIn(w.lodger, b)
		} else {
			w.lease = p.grant(b, w.request, now)
		}
		p.wakes = append(p.wakes, w.Wake)
	}
}

// setAlarm has the pool looked at when an ejected backend returns or a learned limit changes, if somebody
// waits for it: else whoever comes next does that.
func (p *Pool) setAlarm() {
	if p.queue.length == 0 {
		return
	}
	due := p.learners.due
	if len(p.ejected) > 0 {
		due = min(due, p.returns)
	}
	if due >= p.alarmAt {
		return
	}
	p.alarmAt = due
	p.after(due-p.Since(), p.alarm)
}

func (p *Pool) alarm() {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.alarmAt = neverDue
	p.settle(now)
}

// sendAway ends the wait of everybody.
func (p *Pool) sendAway(why error) {
	for {
		w := p.queue.any()
		if w == nil {
			return
		}
		p.queue.remove(w)
		w.err = why
		p.wakes = append(p.wakes, w.Wake)
	}
}

// class returns the class of a request: the one it had before, if the pool still has that. A pool without
// classes has but one.
func (p *Pool) class(r *Request) *class {
	if r.class == nil {
		r.class = p.queue.classes[min(r.Class, len(p.queue.classes)-1)]
	}
	for r.class.heir != nil {
		r.class = r.class.heir
	}
	return r.class
}

// waitBuckets is how many spans of waiting time are told apart: the first is up to a millisecond, each
// further one up to twice as long, and the last is all that is longer than half a minute.
const waitBuckets = 17

// queue holds who waits, by class.
type queue struct {
	opts    QueueOptions
	classes []*class
	length  int
	seq     uint64
	refused uint64
	waits   [waitBuckets]uint64
	waited  time.Duration // by all who were served
}

func newQueue(o QueueOptions) queue {
	if len(o.Classes) == 0 {
		o.Classes = []ClassOptions{{Weight: 1}}
	}
	q := queue{opts: o}
	for _, c := range o.Classes {
		q.classes = append(q.classes, newClass(c, o.FairByClient))
	}
	return q
}

// add puts w where its request belongs: behind all that came before it. One that has been served once, in
// vain, keeps its place.
func (q *queue) add(w *Waiter, f *flow) {
	if w.request.seq == 0 {
		q.seq++
		w.request.seq = q.seq
	}
	f.add(w)
	f.class.queued++
	q.length++
}

func (q *queue) remove(w *Waiter) {
	f := w.flow
	f.remove(w)
	f.class.queued--
	q.length--
}

// next returns who is to be served first.
func (q *queue) next() *Waiter {
	var first *class
	for _, c := range q.classes {
		if c.queued > 0 && !c.full() && (first == nil || c.before(first)) {
			first = c
		}
	}
	if first == nil {
		return nil
	}
	return first.waiting[0].first
}

func (q *queue) any() *Waiter {
	for _, c := range q.classes {
		if c.queued > 0 {
			return c.waiting[0].first
		}
	}
	return nil
}

func (q *queue) count(wait time.Duration) {
	q.waited += wait
	q.waits[min(bits.Len64(uint64(max(0, wait-1)/time.Millisecond)), waitBuckets-1)]++
}
