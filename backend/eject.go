package backend

import (
	"fmt"
	"time"
)

// ejection is what failures of sessions have done to a backend.
type ejection struct {
	until  time.Duration // 0: not ejected
	reason string
	row    int           // how many there were, the last included, without a rest between them
	ended  time.Duration // the last one
	passed int           // good probes in a row since
}

// failed counts a failure of a session on b, and ejects it when it is one too many. what is the failure in words.
func (p *Pool) failedOn(b *Backend, what string, now time.Duration) {
	if b.failures.Fail(now) {
		p.eject(b, what, now)
	}
}

// eject takes b out for a time, unless too much of the pool would then be out.
func (p *Pool) eject(b *Backend, what string, now time.Duration) {
	if !b.usable() || !p.mayLose(1) {
		return
	}
	o := &p.opts.Passive
	length := p.ejectFor(b, now)
	reason := fmt.Sprintf("%d connections failed within %v, the last: %s", o.Failures, o.Window, what)
	p.change(b, now, reason, func() {
		b.ejection.until, b.ejection.reason, b.ejection.passed = now+length, reason, 0
	})
	p.ejected = append(p.ejected, b)
	p.returns = p.nextReturn()
}

// ejectFor returns for how long b is ejected: twice as long each time. Every EjectFor in which it was not ejected
// takes one time back (as Envoy's base_ejection_time and its multiplier do).
func (p *Pool) ejectFor(b *Backend, now time.Duration) time.Duration {
	o, e := &p.opts.Passive, &b.ejection
	if o.EjectFor > 0 {
		e.row = max(0, e.row-int((now-e.ended)/o.EjectFor))
	}
	length := o.EjectFor
	for range e.row {
		if length *= 2; length >= o.EjectForMax {
			length = max(o.EjectFor, o.EjectForMax)
			break
		}
	}
	e.row++
	return length
}

// endEjection makes b one that is not ejected.
func (p *Pool) endEjection(b *Backend, now time.Duration) {
	if b.ejection.until > 0 {
		b.ejection.until, b.ejection.ended = 0, now
	}
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

func (p *Pool) restore(b *Backend, now time.Duration, reason string) {
	p.change(b, now, reason, func() { p.endEjection(b, now) })
}

// nextReturn returns when the first of the ejected comes back.
func (p *Pool) nextReturn() time.Duration {
	next := neverDue
	for _, b := range p.ejected {
		next = min(next, b.ejection.until)
	}
	return next
}

func (p *Pool) forgetRestored() {
	kept := p.ejected[:0]
	for _, b := range p.ejected {
		if b.ejection.until > 0 {
			kept = append(kept, b)
		}
	}
	clear(p.ejected[len(kept):])
	p.ejected = kept
	p.returns = p.nextReturn()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
