package backend

import (
	"fmt"
	"time"
)

// unsettled is what the passing of time alone will change in a pool. Acquire settles it, so that the
// pool needs no goroutine and no timer of its own.
type unsettled struct {
	ejected  []*Backend // in the order of their ejection, which is that of their return
	ramping  []*Backend
	nextRamp time.Duration
}

// rampSteps is in how many steps a slow start climbs; each re-tells the strategy one weight.
const rampSteps = 100

// SetUp records what the probes of b say. A verdict that changes nothing is ignored.
func (p *Pool) SetUp(b *Backend, up bool, reason string) {
	now := p.Since()
	p.mu.Lock()
	defer p.unlock()
	if b.up == up {
		return
	}
	p.settle(now)
	if b.usable() { // it goes; others take its place first, so that nobody is told of a gap
		p.keepEnough(now)
	}
	p.change(b, now, reason, func() {
		b.up = up
		if up {
			b.ejectedUntil = 0 // what the probes have seen end, no longer counts
			p.ramp(b, now)
		}
	})
	p.forgetRestored()
}

// ProbedUp returns what SetUp said of b last, or else its options.
func (p *Pool) ProbedUp(b *Backend) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.up
}

// change applies set to b and draws every conclusion: counts, the strategy's view, the event.
func (p *Pool) change(b *Backend, now time.Duration, reason string, set func()) {
	from := b.state()
	if from == Removed {
		return
	}
	set()
	to := b.state()
	if from == to {
		return
	}
	if from == Up {
		b.tier.usable--
	}
	if to == Up {
		b.tier.usable++
	}
	b.tier.tell(b, now, p.opts.SlowStart)
	p.tell(b, from, reason)
	p.sendAwayIfDown()
}

// tell notes that the state of b is another than it was.
func (p *Pool) tell(b *Backend, from State, reason string) {
	b.reason, b.since = reason, time.Now()
	p.events = append(p.events, Event{
		Backend: b, From: from, To: b.state(), Reason: reason, Usable: p.usable(), Total: p.total,
	})
}

// sendAwayIfDown ends the wait of everybody when there is nothing to wait for.
func (p *Pool) sendAwayIfDown() {
	if p.usable() == 0 && !p.queue.opts.Hold {
		p.sendAway(ErrNoBackend)
	}
}

// eject takes b out for a time, unless too much of the pool would then be out.
func (p *Pool) eject(b *Backend, why Failure, now time.Duration) {
	if !b.usable() || !p.mayLose(1) {
		return
	}
	o := p.opts.Passive
	reason := fmt.Sprintf("%d connections failed within %v, the last: %v", o.Failures, o.Window, why)
	p.change(b, now, reason, func() { b.ejectedUntil = now + o.EjectFor })
	p.ejected = append(p.ejected, b)
}

// mayLose is the panic rule: n more backends may go only while no more than MaxEjected percent of the
// pool are unusable for whatever reason. When every backend looks bad at once, it is rarely the
// backends (Envoy: panic threshold).
func (p *Pool) mayLose(n int) bool {
	total := p.total
	return (total-p.usable()+n)*100 <= p.opts.Passive.MaxEjected*total
}

// keepEnough brings ejected backends back, the longest ejected first, until the panic rule allows that
// a usable one goes.
func (p *Pool) keepEnough(now time.Duration) {
	for _, b := range p.ejected {
		if p.mayLose(1) {
			return
		}
		p.restore(b, now, "too few others are usable")
	}
}

// settle does what time alone has decided by now.
func (p *Pool) settle(now time.Duration) {
	if len(p.ejected) > 0 && now >= p.ejected[0].ejectedUntil {
		for _, b := range p.ejected {
			if now >= b.ejectedUntil {
				p.restore(b, now, "its time out is over")
			}
		}
		p.forgetRestored()
	}
	if len(p.ramping) > 0 && now >= p.nextRamp {
		p.climb(now)
	}
	if now >= p.learners.due {
		p.settleLearned(now)
	}
}

func (p *Pool) restore(b *Backend, now time.Duration, reason string) {
	p.change(b, now, reason, func() {
		b.ejectedUntil = 0
		if b.up {
			p.ramp(b, now)
		}
	})
}

func (p *Pool) forgetRestored() {
	kept := p.ejected[:0]
	for _, b := range p.ejected {
		if b.ejectedUntil > 0 {
			kept = append(kept, b)
		}
	}
	clear(p.ejected[len(kept):])
	p.ejected = kept
}

// ramp lets b, which has come back, start slowly if it should.
func (p *Pool) ramp(b *Backend, now time.Duration) {
	if p.opts.SlowStart == 0 {
		return
	}
	if b.rampFrom == 0 {
		p.ramping = append(p.ramping, b)
	}
	b.rampFrom = max(1, now)
	p.nextRamp = now
}

// climb tells the strategy of the weights that slow start has reached.
func (p *Pool) climb(now time.Duration) {
	kept := p.ramping[:0]
	for _, b := range p.ramping {
		if now >= b.rampFrom+p.opts.SlowStart {
			b.rampFrom = 0
		} else {
			kept = append(kept, b)
		}
		b.tier.tell(b, now, p.opts.SlowStart)
	}
	clear(p.ramping[len(kept):])
	p.ramping = kept
	p.nextRamp = now + p.opts.SlowStart/rampSteps
}
