package backend

import (
	"math"
	"time"

	"weir/backend/learn"
)

// learners is the backends of a pool that have learned limits.
type learners struct {
	all []*Backend
	due time.Duration // no limit changes by time alone before
}

const neverDue = time.Duration(math.MaxInt64)

// latencyNoise is the latency below which a rise means nothing: to connect takes 0.02 to 0.2 ms within a host
// or a rack, and how busy this machine is doubles that. Taken as it is, it held the limit of a backend of 40
// places at 5, whose answers all came in the 20 ms that they need.
const latencyNoise = time.Millisecond

// limit gives b the limit that o says, or has it learned.
func (p *Pool) limit(b *Backend, o *Options) {
	if !o.Learn {
		b.max, b.learned = o.MaxConnections, nil
		return
	}
	limit := learn.New(learn.Options{Min: o.MinConnections, Max: o.MaxConnections})
	b.learned, b.max = &limit, limit.Limit()
}

// observe takes what a session has found out about b.
func (p *Pool) observe(b *Backend, s learn.Sample) {
	s.Latency = max(s.Latency, latencyNoise)
	changed := b.learned.Observe(s)
	if due := b.learned.Due(); due > 0 {
		p.learners.due = min(p.learners.due, due)
	}
	if changed {
		p.relearn(b, s.Now)
	}
}

func (p *Pool) relearn(b *Backend, now time.Duration) {
	b.max = b.learned.Limit()
	if !b.removed() {
		b.tier.tell(b, now, p.opts.SlowStart)
	}
}

// gatherLearners finds the backends that have learned limits.
func (p *Pool) gatherLearners() {
	l := &p.learners
	l.all, l.due = nil, neverDue
	for _, b := range p.all {
		if b.learned != nil {
			l.all = append(l.all, b)
			l.due = 0 // as soon as anybody looks
		}
	}
}

// settleLearned does what time alone has decided about the learned limits.
func (p *Pool) settleLearned(now time.Duration) {
	l := &p.learners
	l.due = neverDue
	for _, b := range l.all {
		if b.learned.Settle(now) {
			p.relearn(b, now)
		}
		if due := b.learned.Due(); due > 0 {
			l.due = min(l.due, due)
		}
	}
}

// FirstByte reports how long the backend took to answer: from when it had something to answer to the first
// byte. Only a pool that [Pool.Learns] wants to know.
func (l *Lease) FirstByte(took time.Duration) { l.answered(learn.Sample{Latency: took}) }

// Unanswered reports that the backend ended the session without having sent a byte.
func (l *Lease) Unanswered() { l.answered(learn.Sample{Failed: true}) }

func (l *Lease) answered(s learn.Sample) {
	p, b := l.pool, l.backend
	if p == nil || !l.watched {
		return
	}
	s.Kind, s.Active, s.Now = learn.FirstByte, int(l.active), p.Since()
	p.mu.Lock()
	defer p.unlock()
	if b.learned != nil {
		p.observe(b, s)
	}
}

// Learns says whether the pool finds out the limit of any backend, for which it wants to hear of first bytes.
func (p *Pool) Learns() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.learners.all) > 0
}
