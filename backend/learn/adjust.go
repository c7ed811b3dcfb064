package learn

import "math"

// These decide where a limit comes to rest; the package comment argues them.
const (
	headroom      = 0.05      // share of the limit added in each window
	minHeadroom   = 0.5       // sessions: what a limit below 10 adds
	firstHeadroom = 0.25      // the share as long as no rise was ever seen
	regrown       = 1.4       // share of the limit at the last rise, from which it grows fast again
	tolerance     = 0.035     // as a logarithm: the error of a floor
	maxShrink     = -math.Ln2 // as a logarithm: at most by half in a window (Netflix, Envoy)
	inUse         = 0.9       // share of the limit that must be taken for it to count as used
	greatStep     = 0.9       // below this share of the old limit the load needs time to follow
)

// rise is the fast growth: in the beginning, and whenever the limit has grown by 40 % without a rise of
// latency. Then it is far from the capacity: that has grown, or a stroke of noise has ended the growth.
type rise struct {
	on      bool
	doubted bool    // the last window showed a rise
	check   bool    // it has ended, and the next probe is to say whether rightly
	from    float64 // the limit when a window last did
}

// headroom is what a window adds, in sessions.
func (l *Limit) headroom() float64 {
	if l.rise.on {
		return max(firstHeadroom*l.limit, 1)
	}
	return max(headroom*l.limit, minHeadroom)
}

// tolerableError is how well a window must know its latency: so that twice the error is still less than
// what one headroom above the capacity does to it.
func (l *Limit) tolerableError() float64 {
	return min(max(l.headroom()/l.limit/3, minError), maxError)
}

// noRise is the excess that does not count as a rise: two errors during the fast growth, afterwards what
// does not lower the limit.
func (l *Limit) noRise() float64 {
	if l.rise.on {
		return 2 * l.tolerableError()
	}
	return tolerance + l.headroom()/l.limit
}

// adjust is the gradient step. The kind that allows least decides, and every kind must agree to growth.
func (l *Limit) adjust() {
	steady := l.climb()
	next, grow := math.Inf(1), steady
	for k := range l.kinds {
		t := &l.kinds[k]
		if t.busy.count() >= minSamples {
			next = min(next, l.allowed(t))
		}
		grow = grow && t.mayGrow()
	}
	most := l.limit
	if grow {
		most += l.headroom()
	}
	l.set(min(next, most))
}

// mayGrow says that sessions of the window found the limit in use.
func (t *track) mayGrow() bool {
	return !t.seen || t.busy.count() >= minSamples && t.busy.full*4 >= t.busy.count()
}

// climb lets the floors follow, and ends the fast growth with the second window in a row that shows a
// rise. It says whether this one may add to the limit.
func (l *Limit) climb() (steady bool) {
	rose := false
	for k := range l.kinds {
		if t := &l.kinds[k]; t.busy.count() >= minSamples {
			rose = l.rose(t) || rose
		}
	}
	switch again := rose && l.rise.doubted; {
	case l.rise.on && again:
		l.remeasure()
		l.rise = rise{from: l.limit, check: true}
		return true
	case !l.rise.on && rose:
		l.rise.from = l.limit
		return true
	}
	l.rise.on = l.rise.on || l.limit >= regrown*l.rise.from
	l.rise.doubted = rose && l.rise.on
	return !rose
}

// rose says that a window is clearly above the floor. During the fast growth the floor becomes the mean of
// those that are not, nearly: the first of them is short, and too few sessions.
func (l *Limit) rose(t *track) bool {
	if t.busy.n > 0 {
		l.correct(t, t.busy.level())
	}
	if t.busy.excess(t) > l.noRise() {
		return true
	}
	if l.rise.on && t.busy.n > 0 {
		t.windows++
		t.floor += (t.busy.level() - t.floor) / min(t.windows, 8)
	}
	return false
}

// allowed is the limit as t sees it.
func (l *Limit) allowed(t *track) float64 {
	next := l.step(t.busy.load(), t.busy.excess(t))
	if t.busy.n == 0 {
		return next
	}
	w := t.busy.point()
	if slow := l.step(w.load, w.level-t.floor) < l.limit; !t.compare(w, slow) {
		return next
	}
	l.remeasure()
	l.rise = rise{on: true} // how far the limit came down for nothing is not known
	l.limit = max(l.limit, min(t.top.load, l.max))
	return l.step(t.top.load, t.top.level-t.floor)
}

// correct lets the floor follow a latency that it cannot be above, and at the lower bound also one that
// it cannot be told from.
func (l *Limit) correct(t *track, level float64) {
	switch atMin := l.limit < l.min+1; {
	case atMin || !t.known:
		t.approach(level)
		l.measured = l.now
	case level < t.floor-clearly:
		t.approach(level)
		l.remeasure()
	}
}

// remeasure makes a probe due, and more of them soon.
func (l *Limit) remeasure() {
	l.wait = l.recheck / firstWait
	l.measured = l.now - l.wait
}

// step is the limit that follows from a load and what its latency exceeds the floor by, as a logarithm.
// Sessions above the limit are there when it has been lowered: the latency is theirs.
func (l *Limit) step(load, excess float64) float64 {
	gradient := math.Exp(min(max(tolerance-excess, maxShrink), 0))
	return max(load, l.limit)*gradient + l.headroom()
}

func (l *Limit) set(next float64) {
	next = min(max(next, l.min), l.max)
	if next < greatStep*l.limit {
		l.settling = settling{draining: true, ceiling: int(next)}
	}
	l.limit = next
}
