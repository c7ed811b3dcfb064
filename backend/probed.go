package backend

import (
	"time"

	"weir/backend/health"
)

// Health is what the probes of a backend say. It is apart from what an operator says (AdminNote), and from failures
// of sessions, which eject: State is what follows from all of them.
type Health struct {
	Up bool
	// Unproven says that it joined a pool that served, or left maintenance: the first good probe brings it up.
	Unproven bool
	// Reason and Since say why and since when it is up, or not.
	Reason string
	Since  time.Time
	// Last is the last probe. At is zero: there was none yet.
	Last Probe
}

// Probe is how one probe went.
type Probe struct {
	health.Verdict
	// At is when it ended.
	At time.Time
}

// SetUp records what the probes of b say after rise or fall of them. A verdict that changes nothing is ignored.
func (p *Pool) SetUp(b *Backend, up bool, reason string) {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	if b.removed() {
		return
	}
	if h := &b.health; h.Up == up {
		if h.Unproven { // it is certain now that it is down
			h.Unproven, h.Reason = false, reason
		}
		return
	}
	p.settle(now)
	if b.usable() { // it goes; others take its place first, so that nobody is told of a gap
		p.keepEnough(now)
	}
	p.setUp(b, up, reason, now)
}

func (p *Pool) setUp(b *Backend, up bool, reason string, now time.Duration) {
	p.change(b, now, reason, func() {
		h := &b.health
		h.Up, h.Unproven, h.Reason, h.Since = up, false, reason, time.Now()
		if up {
			p.endEjection(b, now) // what the probes have seen end, no longer counts
		}
	})
	p.forgetRestored()
}

// Probed records each probe of b, before SetUp draws the conclusion.
func (p *Pool) Probed(b *Backend, v health.Verdict) {
	p.mu.Lock()
	defer p.unlock()
	if b.removed() {
		return
	}
	b.health.Last = Probe{v, time.Now()}
	switch {
	case v.Inconclusive:
	case v.Err != nil:
		b.ejection.passed = 0
	default:
		p.passed(b)
	}
}

// passed draws the conclusions from a good probe that SetUp does not.
func (p *Pool) passed(b *Backend) {
	if b.health.Unproven {
		p.setUp(b, true, "its first probe passed", p.Since())
	}
	if b.health.Up && b.upReason == takenAsUp {
		b.upReason, b.health.Reason = "its probes pass", "its probes pass"
	}
	e := &b.ejection
	if e.until == 0 || p.opts.Passive.Rise < 1 {
		return
	}
	if e.passed++; e.passed >= p.opts.Passive.Rise {
		now := p.Since()
		p.restore(b, now, plural(e.passed, "probe")+" passed since it was ejected")
		p.forgetRestored()
	}
}

// Restore takes up what another process knew of the health of b. It is no return, after which b would start slowly.
func (p *Pool) Restore(b *Backend, h Health) {
	p.mu.Lock()
	defer p.unlock()
	if b.removed() {
		return
	}
	p.change(b, p.Since(), h.Reason, func() { b.health = h })
	p.endRamp(b)
}

// HealthOf returns what is known of the health of b.
func (p *Pool) HealthOf(b *Backend) Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.health
}
