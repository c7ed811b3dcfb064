package health

import "time"

// maxFailures bounds what a Passive remembers: 8 KB a backend.
const maxFailures = 1000

// Passive counts the failures of real connections to one backend, which a probe every few seconds may
// never meet, and says when they are too many.
//
// Failures count when they lie within the window, whatever succeeded in between (as with nginx's
// max_fails): a backend that refuses one connection in three is bad, and among a thousand connections
// a second it never fails three in a row.
//
// It is not safe for concurrent use. The zero value never ejects.
type Passive struct {
	failures int
	window   time.Duration
	times    []time.Duration // a ring of the last failures, made with the first one
	next     int
	count    int
}

// NewPassive returns a counter that ejects with the n-th failure within the window, both ends counted.
// With n below 1 it never does; n above 1000 counts as 1000. A window of 0 or less counts only failures
// of the same instant.
func NewPassive(n int, window time.Duration) Passive {
	return Passive{failures: min(n, maxFailures), window: max(window, 0)}
}

// Fail counts a failure at now, on a clock that does not go back, and says whether to eject the
// backend. Having said so it begins anew.
func (p *Passive) Fail(now time.Duration) (eject bool) {
	if p.failures < 1 {
		return false
	}
	p.remember(now)
	oldest := p.times[p.next]
	if p.count < p.failures || now-oldest > p.window {
		return false
	}
	p.next, p.count = 0, 0
	return true
}

// remember leaves next at the oldest of the times, once there are as many as count.
func (p *Passive) remember(now time.Duration) {
	if p.times == nil {
		p.times = make([]time.Duration, p.failures)
	}
	p.times[p.next] = now
	p.next = (p.next + 1) % p.failures
	p.count = min(p.count+1, p.failures)
}
