package backend

import (
	"time"

	"weir/backend/learn"
)

// failureLatency is what a failed attempt counts as for strategies that go by latency: as much as a
// connection that needed a second SYN (RFC 6298 §2).
const failureLatency = time.Second

// Lease is the right to use one slot of one backend. The session that acquired it owns it and
// releases it once; it is not safe for concurrent use.
type Lease struct {
	pool    *Pool
	backend *Backend
	flow    *flow
	active  int32 // sessions of the backend when it was given, this one included
	watched bool  // somebody wants to know how it goes; what the lock need not be taken for otherwise
}

// Backend returns the backend of the lease, or nil once it is released.
func (l *Lease) Backend() *Backend { return l.backend }

// Release gives the slot back. On a lease that was given back already, or never given, it does nothing.
func (l *Lease) Release() {
	if l.pool == nil {
		return
	}
	p := l.pool
	p.mu.Lock()
	defer p.unlock()
	p.release(l)
}

// release is Release with the lock held.
func (p *Pool) release(l *Lease) {
	b := p.giveBack(l)
	var now time.Duration
	if b.rampFrom > 0 { // only then does the time matter
		now = p.Since()
	}
	b.tier.tell(b, now, p.opts.SlowStart)
}

// Connected reports how long the connection took to open.
func (l *Lease) Connected(took time.Duration) {
	p, b := l.pool, l.backend
	if !l.watched {
		return
	}
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	if b.tier.observer != nil {
		b.tier.observer.Observe(b.index, took, now)
	}
	if b.learned != nil {
		p.observe(b, learn.Sample{Kind: learn.Connect, Latency: took, Active: int(l.active), Now: now})
	}
}

// Failed reports that the connection could not be opened and gives the slot back. What the backend is
// not to blame for (see [Failure]) is counted, but never ejects it.
func (l *Lease) Failed(f Failure) {
	p, active := l.pool, int(l.active)
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	b := p.giveBack(l)
	b.totals.Failed[f]++
	if f.blamesBackend() {
		if b.tier.observer != nil { // a refusal comes fast, which is no virtue
			b.tier.observer.Observe(b.index, failureLatency, now)
		}
		if b.learned != nil {
			p.observe(b, learn.Sample{Kind: learn.Connect, Active: active, Now: now, Failed: true})
		}
		if b.failures.Fail(now) {
			p.eject(b, f, now)
		}
	}
	b.tier.tell(b, now, p.opts.SlowStart)
}
