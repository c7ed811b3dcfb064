package learn

import "math"

// These decide where a limit comes to rest; the package comment argues them.
const (
	headroom      = 0.05      // share of the limit added in each window
	minHeadroom   = 0.5       // sessions: with less a limit of 10 would stay at rest for two windows of three
	firstHeadroom = 0.25      // the share as long as no rise was ever seen
	tolerance     = 0.03      // as a logarithm: the error of a floor
	maxShrink     = -math.Ln2 // as a logarithm: at most by half in a window (Netflix, Envoy)
	inUse         = 0.9       // share of the limit that must be taken for it to count as used
	greatStep     = 0.9       // below this share of the old limit the load needs time to follow
)

// rise is the fast growth of the beginning.
type rise struct {
	on      bool
	doubted bool    // the last window showed a rise
	check   bool    // it has ended, and the next probe is to say whether rightly
	windows float64 // that went into the floor
}

// headroom is what a window adds, in sessions.
func (l *Limit) headroom() float64 {
	if l.rise.on {
		return max(firstHeadroom*l.limit, 1)
	}
	return max(headroom*l.limit, minHeadroom)
}

// tolerableError is how well a window must know its latency: so that twice the error is still less than
// what a headroom above the capacity does to it.
func (l *Limit) tolerableError() float64 {
	part := 2.0
	if l.rise.on { // a false end costs more there than a late one
		part = 3
	}
	return min(max(l.headroom()/l.limit/part, minError), maxError)
}

// adjust is the gradient step. The kind that allows least decides, and every kind must agree to growth.
func (l *Limit) adjust() {
	next, grow := math.Inf(1), true
	for k := range l.kinds {
		t := &l.kinds[k]
		if !t.seen {
			continue
		}
		if t.busy.count() < minSamples {
			grow = false
			continue
		}
		next = min(next, l.allowed(t))
		grow = grow && t.busy.full*4 >= t.busy.count()
	}
	most := l.limit
	if grow && !(l.rise.on && l.rise.doubted) {
		most += l.headroom()
	}
	l.set(min(next, most))
}

// allowed is the limit as t sees it.
func (l *Limit) allowed(t *track) float64 {
	if t.busy.n == 0 {
		return l.step(t.busy.load(), reach)
	}
	w := t.busy.point()
	l.correct(t, w)
	excess := t.busy.excess(t)
	l.climb(t, w, excess)
	next := l.step(w.load, excess)
	if !t.compare(w, next < l.limit) {
		return next
	}
	l.measured = l.now
	l.limit = max(l.limit, min(t.top.load, l.max))
	return l.step(t.top.load, t.top.level-t.floor)
}

// correct lets the floor follow a latency that it cannot be above, and at the lower bound also one that
// it cannot be told from.
func (l *Limit) correct(t *track, w point) {
	switch atMin := l.limit < l.min+1; {
	case atMin || !t.known:
		t.approach(w.level)
		l.measured = l.now
	case w.level < t.floor-clearly:
		t.approach(w.level)
	}
}

// climb ends the fast growth with the second window in a row that is clearly above the floor. Until then
// the floor becomes the mean of the windows, nearly: the first of them is short, and too few sessions.
func (l *Limit) climb(t *track, w point, excess float64) {
	if !l.rise.on {
		return
	}
	if excess <= 2*l.tolerableError() {
		l.rise.doubted = false
		l.rise.windows++
		t.floor += (w.level - t.floor) / min(l.rise.windows, 8)
		return
	}
	if l.rise.doubted {
		l.rise.on, l.rise.check = false, true
		l.measured = l.now - l.recheck // a probe is due
	}
	l.rise.doubted = true
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
