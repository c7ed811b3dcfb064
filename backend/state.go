package backend

import (
	"cmp"
	"time"
)

// unsettled is what the passing of time alone will change in a pool. Acquire settles it, so that the
// pool needs no goroutine and no timer of its own.
type unsettled struct {
	ejected  []*Backend    // in the order of their ejection
	returns  time.Duration // the first of them
	ramping  []*Backend
	nextRamp time.Duration
}

// rampSteps is in how many steps a slow start climbs; each re-tells the strategy one weight.
const rampSteps = 100

// change applies set to b, a member, and draws every conclusion: counts, the strategy's view, the event. cause is why
// set is applied, in words.
func (p *Pool) change(b *Backend, now time.Duration, cause string, set func()) {
	if b.removed() {
		return
	}
	from := b.state()
	if b.wanted() {
		p.total--
	}
	if from == Up {
		b.tier.usable--
	}
	set()
	to := b.state()
	if b.wanted() {
		p.total++
	}
	if to == Up {
		b.tier.usable++
		if from != Up {
			p.ramp(b, now)
		}
	} else {
		b.rampFrom = 0
	}
	b.tier.tell(b, now, p.opts.SlowStart)
	if from == to {
		return
	}
	p.failOver()
	p.tell(b, from, cause)
	if to == Up {
		p.canServe(b, now)
	}
	p.sendAwayIfDown()
}

// tell notes that the state of b is another than it was. The reason is that of the state; what has caused the change
// stands behind it, if it is something else.
func (p *Pool) tell(b *Backend, from State, cause string) {
	to := b.state()
	if to == Up {
		b.upReason = cmp.Or(cause, "its configuration was changed")
	}
	reason := b.reason()
	if cause != "" && cause != reason {
		reason += " (" + cause + ")"
	}
	b.since = time.Now()
	p.events = append(p.events, Event{
		Backend: b, From: from, To: to, Reason: reason, Active: b.active, Usable: p.usable(), Total: p.total,
		FailedOver: p.failed,
	})
}

// inform tells the strategy what is now true of b.
func (p *Pool) inform(b *Backend) {
	if b.removed() {
		return
	}
	var now time.Duration
	if b.rampFrom > 0 { // only then does the time matter
		now = p.Since()
	}
	b.tier.tell(b, now, p.opts.SlowStart)
}

// sendAwayIfDown ends the wait of everybody when there is nothing to wait for.
func (p *Pool) sendAwayIfDown() {
	if p.queue.length > 0 && p.tenancy == nil && p.usable() == 0 && !p.queue.opts.Hold {
		p.sendAway(ErrNoBackend)
	}
}

// failOver notes that only backups are usable: if they are to keep the new sessions, they do from now on.
func (p *Pool) failOver() {
	serving, backups := p.tiers[NoBackup].usable, p.backups()
	p.served = p.served || serving > 0
	switch {
	case serving == 0 && backups > 0: // not if those that serve were just not probed yet
		p.failed = p.opts.ManualFailback && p.served
	case serving > 0 && backups == 0, !p.opts.ManualFailback:
		p.failed = false
	}
}

// Failback has new sessions go to those again that are no backups. It reports false if they do already.
func (p *Pool) Failback() bool {
	p.mu.Lock()
	defer p.unlock()
	was := p.failed
	p.failed = false
	p.failOver()
	return was && !p.failed
}

// FailedOver says whether the backups keep the new sessions, until Failback.
func (p *Pool) FailedOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// RestoreFailedOver takes up that the backups have kept the new sessions in another process.
func (p *Pool) RestoreFailedOver() {
	p.mu.Lock()
	defer p.unlock()
	p.failed = p.opts.ManualFailback && p.backups() > 0
}

// settle does what time alone has decided by now.
func (p *Pool) settle(now time.Duration) {
	if len(p.ejected) > 0 && now >= p.returns {
		for _, b := range p.ejected {
			if now >= b.ejection.until {
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

// ramp lets b, which has come to be usable, start slowly if it should.
func (p *Pool) ramp(b *Backend, now time.Duration) {
	if p.opts.SlowStart == 0 {
		return
	}
	if !b.ramping {
		b.ramping = true
		p.ramping = append(p.ramping, b)
	}
	b.rampFrom = max(1, now)
	p.nextRamp = now
}

// endRamp gives b its whole weight, when it is usable.
func (p *Pool) endRamp(b *Backend) {
	if b.rampFrom > 0 {
		b.rampFrom = 0
		b.tier.tell(b, 0, p.opts.SlowStart)
	}
}

// climb tells the strategy of the weights that slow start has reached.
func (p *Pool) climb(now time.Duration) {
	kept := p.ramping[:0]
	for _, b := range p.ramping {
		switch {
		case b.rampFrom == 0: // ended, or removed
			b.ramping = false
			continue
		case now >= b.rampFrom+p.opts.SlowStart:
			b.rampFrom, b.ramping = 0, false
		default:
			kept = append(kept, b)
		}
		b.tier.tell(b, now, p.opts.SlowStart)
	}
	clear(p.ramping[len(kept):])
	p.ramping = kept
	p.nextRamp = now + p.opts.SlowStart/rampSteps
}
