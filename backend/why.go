package backend

import (
	"fmt"
	"time"

	"weir/backend/strategy"
)

// Why is what would become of a session that asked now, and why.
type Why struct {
	// Backend is what it would get. nil: none.
	Backend *Backend
	// Err is nil if there is a backend, [ErrQueued] if the session would wait, and else why it would be refused.
	Err error
	// Reason says in words what Err says, or why it would be this backend.
	Reason string
	// Strategy is the name of what chooses.
	Strategy string
	// Active is how many sessions the pool serves, Max how many it may. 0: its backends' limits hold.
	Active, Max int
	// Queued is how many wait, QueueSize how many may. 0: none.
	Queued, QueueSize int
	// Class is the client's.
	Class WhyClass
	// Others holds every other backend, in the order of the file.
	Others []WhyNot
}

// WhyClass is the class of the client that Why is about.
type WhyClass struct {
	Name   string
	Weight int
	// Share is the part of the pool that it gets while all classes want theirs that have sessions now or wait.
	Share float64
	// Active of Max sessions are served, and Queued of MaxQueued wait. A limit of 0 is none.
	Active, Max, Queued, MaxQueued int
}

// Cause is why a session would not get a backend.
type Cause string

// The causes. A backend that is not [Up] has its state as the cause.
const (
	CauseFull     Cause = "full"     // at its limit
	CauseBackup   Cause = "backup"   // others serve
	CauseFailover Cause = "failover" // the backups have taken over, and keep new sessions
	CauseLimit    Cause = "limit"    // the pool, or the client's class, is at its limit
	CauseAnother  Cause = "another"  // the strategy chooses another
)

// WhyNot is why a session would not get one backend.
type WhyNot struct {
	Backend *Backend
	Cause   Cause
	// Detail says more, in words. It may be empty.
	Detail string
	// Since is when its state, if that is the cause, began; Until when it ends by itself, if that is known.
	// Else they are zero.
	Since, Until time.Time
}

// standingsTold bounds for how many backends it is told what the strategy goes by: each takes about a
// microsecond, with the pool's lock held.
const standingsTold = 256

// Why tells what Wait would do for a new session, without doing it: no turn of the strategy's is used up, and
// the next Acquire for the same client gets what is told here, if nothing changes meanwhile. What r has tried
// before does not count, nor does its Now. With 10,000 backends it holds the lock for 0.5 ms.
func (p *Pool) Why(r *Request) Why {
	now := p.Since()
	ask := Request{Now: now, Class: r.Class, key: r.key}
	p.mu.Lock()
	defer p.unlock()
	p.settle(now)
	p.serve()
	e := explainer{Pool: p, ask: &ask, class: p.class(&ask)}
	e.choose()
	return e.why()
}

// explainer finds out why.
type explainer struct {
	*Pool
	ask     *Request
	class   *class
	chosen  *Backend
	blocked string // by what limit that is no backend's; empty: none
	told    int    // standings
}

// choose does what acquire does, but for what acquire changes.
func (e *explainer) choose() {
	switch p := e.Pool; {
	case p.full():
		e.blocked = fmt.Sprintf("the pool is at its limit, %d of %d", p.active, p.max)
	case e.class.full():
		e.blocked = fmt.Sprintf("class %s is at its limit, %d of %d", e.class.name, e.class.active, e.class.max)
	default:
		e.chosen = p.next(e.ask)
	}
}

func (e *explainer) why() Why {
	p, c := e.Pool, e.class
	w := Why{
		Backend: e.chosen, Strategy: p.tiers[NoBackup].name, Active: p.active, Max: p.max,
		Queued: p.queue.length, QueueSize: p.queue.opts.Size,
		Class: WhyClass{
			Name: c.name, Weight: c.weight, Share: p.queue.share(c),
			Active: c.active, Max: c.max, Queued: c.queued, MaxQueued: c.maxQueued,
		},
		Others: make([]WhyNot, 0, len(p.all)),
	}
	w.Reason, w.Err = e.verdict()
	for _, b := range p.all {
		if b != e.chosen {
			w.Others = append(w.Others, e.whyNot(b))
		}
	}
	return w
}

// verdict says what becomes of the session, and why.
func (e *explainer) verdict() (reason string, err error) {
	if e.chosen != nil {
		return e.chosen.tier.name + ": " + e.standing(e.chosen), nil
	}
	why, q := e.Pool.why(), &e.queue
	reason = why.Error()
	if why == ErrFull && e.blocked != "" {
		reason = e.blocked
	}
	switch err = q.refusal(e.class, why); err {
	case nil:
		return fmt.Sprintf("%s; it would wait, with %d of its class and %d in all before it",
			reason, e.class.queued, q.length), ErrQueued
	case ErrQueueFull:
		return fmt.Sprintf("%s, and the queue is full: %s", reason, e.fullQueue()), err
	}
	return reason, err
}

func (e *explainer) fullQueue() string {
	if q := &e.queue; q.length >= q.opts.Size {
		return fmt.Sprintf("%d of %d", q.length, q.opts.Size)
	}
	return fmt.Sprintf("%d of %d for class %s", e.class.queued, e.class.maxQueued, e.class.name)
}

func (e *explainer) whyNot(b *Backend) WhyNot {
	n := WhyNot{Backend: b}
	switch state := b.state(); {
	case state != Up:
		n.Cause, n.Detail, n.Since = Cause(state), b.reason(), b.since
		if state == Ejected {
			n.Until = time.Now().Add(b.ejection.until - e.ask.Now)
		}
	case e.failed && b.tier == e.tiers[NoBackup]:
		n.Cause, n.Detail = CauseFailover, "the backups keep new sessions until 'weir failback'"
	case e.before(b) > 0:
		n.Cause, n.Detail = CauseBackup, fmt.Sprintf("a backup, and %s usable", areOthers(e.before(b)))
	case b.full():
		n.Cause, n.Detail = CauseFull, fmt.Sprintf("%d of %d", b.load(), b.max)
		if b.learned != nil {
			n.Detail += ", a limit that was learned"
		}
	case e.chosen == nil:
		n.Cause, n.Detail = CauseLimit, e.blocked
	default:
		n.Cause, n.Detail = CauseAnother, e.standing(b)
	}
	return n
}

// before returns how many backends are usable that keep b, a backup, from serving.
func (e *explainer) before(b *Backend) (n int) {
	for i := e.first(); i < b.opts.Backup; i++ {
		t := e.tiers[i]
		if t == b.tier || t.usable > 0 && b.opts.Backup == BackupWhenFull && t.strategy.Next(&strategy.Request{Key: e.ask.key, Now: e.ask.Now}) < 0 {
			continue // that are full
		}
		n += t.usable
	}
	return n
}

func areOthers(n int) string {
	if n == 1 {
		return "1 other is"
	}
	return fmt.Sprintf("%d others are", n)
}

// standing says what the strategy goes by, of an eligible backend.
func (e *explainer) standing(b *Backend) string {
	if e.told++; e.told > standingsTold {
		return ""
	}
	t := b.tier
	return t.strategy.Standing(&strategy.Request{Key: e.ask.key, Now: e.ask.Now}, b.index)
}

// next is pick for a new session, but takes no turn.
func (p *Pool) next(r *Request) *Backend {
	only := BackupWhenDown
	for i := p.first(); i <= only; i++ {
		if b := p.tiers[i].next(r); b != nil {
			return b
		}
		if p.tiers[i].usable > 0 {
			only = BackupWhenFull
		}
	}
	return nil
}

func (t *tier) next(r *Request) *Backend {
	i := t.strategy.Next(&strategy.Request{Key: r.key, Now: r.Now})
	if i < 0 {
		return nil
	}
	return t.members[i]
}

// share returns the part that c has of the weights of all classes that want something, itself included.
func (q *queue) share(c *class) float64 {
	sum := c.weight
	for _, other := range q.classes {
		if other != c && other.active+other.queued > 0 {
			sum += other.weight
		}
	}
	return float64(c.weight) / float64(sum)
}
