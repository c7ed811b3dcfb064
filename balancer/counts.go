package balancer

import (
	"sync"
	"sync/atomic"
	"time"

	"weir/backend"
	"weir/backend/contain"
	"weir/backend/health"
	"weir/backend/histogram"
)

// Probes counts the verdicts on the backends of a frontend since the start. A reload leaves them as they are.
type Probes struct {
	// Took is how long the probes took that passed.
	Took histogram.Histogram

	mu        sync.Mutex
	byBackend map[*backend.Backend]*verdicts
}

// verdicts counts the verdicts on one backend.
type verdicts struct {
	took                         *histogram.Histogram // of all
	passed, failed, inconclusive atomic.Uint64
}

// Verdicts is how often the probes of a backend have passed, failed, and told nothing of it.
type Verdicts struct{ Passed, Failed, Inconclusive uint64 }

// Of returns the verdicts on b so far. It is not ok for a backend that nobody has probed.
func (p *Probes) Of(b *backend.Backend) (v Verdicts, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.byBackend[b]
	if n == nil {
		return v, false
	}
	return Verdicts{n.passed.Load(), n.failed.Load(), n.inconclusive.Load()}, true
}

// of returns what counts the verdicts on b, for as long as it is kept.
func (p *Probes) of(b *backend.Backend) *verdicts {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byBackend == nil {
		p.byBackend = make(map[*backend.Backend]*verdicts)
	}
	if p.byBackend[b] == nil {
		p.byBackend[b] = &verdicts{took: &p.Took}
	}
	return p.byBackend[b]
}

// keep forgets all other backends.
func (p *Probes) keep(list []*backend.Backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make(map[*backend.Backend]bool, len(list))
	for _, b := range list {
		kept[b] = true
	}
	for b := range p.byBackend {
		if !kept[b] {
			delete(p.byBackend, b)
		}
	}
}

func (n *verdicts) count(v health.Verdict) {
	switch {
	case v.Inconclusive:
		n.inconclusive.Add(1)
	case v.Err != nil:
		n.failed.Add(1)
	default:
		n.passed.Add(1)
		n.took.Observe(v.Took)
	}
}

// Reloads is how often weir was to go over to another configuration while it ran: by a reload, or by an
// operator who changed something.
type Reloads struct {
	Succeeded, Failed uint64
	// Since is when the configuration that holds came to hold.
	Since time.Time
	// LastFailed says that somebody wanted another one after that, and did not get it.
	LastFailed bool
}

// reloads is what Reloads is read from.
type reloads struct {
	mu sync.Mutex
	n  Reloads
}

// count counts a try. The first is that of New.
func (r *reloads) count(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.n.LastFailed = err != nil; {
	case err != nil:
		r.n.Failed++
		return
	case !r.n.Since.IsZero():
		r.n.Succeeded++
	}
	r.n.Since = time.Now()
}

// Reloads tells of the reloads so far.
func (b *Balancer) Reloads() Reloads {
	b.reloads.mu.Lock()
	defer b.reloads.mu.Unlock()
	return b.reloads.n
}

// NotReloaded counts a reload that did not get as far as Reload, because the file is wrong.
func (b *Balancer) NotReloaded(why error) { b.reloads.count(why) }

// LinesDropped returns how many lines of sessions were not written, for they were more than the rate of the log.
func (b *Balancer) LinesDropped() uint64 { return b.sessions.Dropped() }

// LogTo says what writes the lines of the log, for LogLines and Panics to count. It is called before Run.
func (b *Balancer) LogTo(w *LogWriter) { b.writer = w }

// LogLines returns how many lines of the log were dropped, for it is read too slowly, and how many were lost, for they
// could not be written.
func (b *Balancer) LogLines() (dropped, lost uint64) {
	if b.writer == nil {
		return 0, 0
	}
	return b.writer.Dropped(), b.writer.Lost()
}

// Guard contains the panics of what looks on: see package contain.
func (b *Balancer) Guard() *contain.Guard { return b.guard }

// Panics returns how many panics were contained outside of sessions, those of the log's writer included.
func (b *Balancer) Panics() uint64 {
	n := b.guard.Count()
	if b.writer != nil {
		n += b.writer.guard.Count()
	}
	return n
}
