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
	early   bool  // an early end counts; not twice
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
func (p *Pool) release(l *Lease) { p.inform(p.giveBack(l)) }

// Connected reports how long the connection took to open.
func (l *Lease) Connected(took time.Duration) {
	p, b := l.pool, l.backend
	if !l.watched {
		return
	}
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	p.observeConnect(b, took, now)
	if b.learned != nil {
		p.observe(b, learn.Sample{Kind: learn.Connect, Latency: took, Active: int(l.active), Now: now})
	}
}

// observeConnect tells a strategy that goes by latency.
func (p *Pool) observeConnect(b *Backend, took, now time.Duration) {
	if !b.removed() && b.tier.observer != nil {
		b.tier.observer.Observe(b.index, took, now)
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
		p.observeConnect(b, failureLatency, now) // a refusal comes fast, which is no virtue
		if b.learned != nil {
			p.observe(b, learn.Sample{Kind: learn.Connect, Active: active, Now: now, Failed: true})
		}
		p.failedOn(b, f.String(), now)
	}
	p.inform(b)
}

// CountsEarlyEnd says whether EndedEarly is to be called: whoever has to find out first need not, else.
func (l *Lease) CountsEarlyEnd() bool { return l.early && l.pool != nil }

// EndedEarly reports that the backend has ended the session before it had sent a byte, although the client had sent
// some: a server that accepts and gives up at once is no better than one that refuses, and looks idle to strategies
// that go by the number of sessions. It is called before Release.
func (l *Lease) EndedEarly() {
	if !l.CountsEarlyEnd() {
		return
	}
	l.early = false
	p, b := l.pool, l.backend
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	b.totals.EarlyEnds++
	p.observeConnect(b, failureLatency, now)
	p.failedOn(b, "ended before it had sent a byte", now)
}
