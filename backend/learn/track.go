package learn

import (
	"math"
	"time"
)

// clearly is a difference of latencies, as a logarithm, that is no error: three times minError.
const clearly = 0.1

// track is what is known of one kind of latency.
type track struct {
	seen       bool    // there was a sample
	known      bool    // there was a window, so the floor is more than the first sample
	floor      float64 // logarithm of ns
	windows    float64 // that went into the floor during the fast growth
	busy, idle tally   // samples with at least half the limit in use, and with less
	top        point   // the greatest load since it last fell by a fifth, with its latest latency
	origin     point   // the top before that one
	doubted    bool    // load has fallen from origin to top, and latency did not follow
	first      point   // the top before a probe
}

// point is a load and the latency that went with it.
type point struct {
	load  float64 // sessions
	level float64 // mean logarithm of ns
}

func logarithm(d time.Duration) float64 { return math.Log(float64(max(d, 1))) }

func span(level float64) time.Duration { return time.Duration(math.Exp(level)) }

// meet takes the first latency for the floor until there is a better one: samples are cut around it.
func (t *track) meet(s *Sample) {
	t.seen = true
	if !t.known && !s.Failed && t.busy.n+t.idle.n == 0 {
		t.floor = logarithm(s.Latency)
	}
}

// approach moves the floor half the way, so that no single window decides.
func (t *track) approach(level float64) {
	if !t.known {
		t.floor, t.known = level, true
		return
	}
	t.floor += (level - t.floor) / 2
}

// compare holds a window against the top, and says that the floor was wrong, and has been raised: the
// limit goes down, load has followed by a fifth, and latency has not; twice. Once may be a capacity that
// has just been lost, with a queue that still builds up.
func (t *track) compare(w point, shrinking bool) (raised bool) {
	switch {
	case w.load >= 0.9*t.top.load:
		t.top = point{max(w.load, t.top.load), w.level}
	case w.load > 0.8*t.top.load:
	case !shrinking || !t.flat(w):
		t.top, t.doubted = w, false
	case !t.doubted:
		t.origin, t.top, t.doubted = t.top, w, true
	default:
		t.floor, t.top, t.doubted = w.level, t.origin, false
		return true
	}
	return false
}

// flat says that latency has not followed the load down from the top: by less than half of what it would
// if the load made it. If it has gone up, something else has happened.
func (t *track) flat(w point) bool {
	relief := t.top.level - w.level
	return relief > -clearly && relief < math.Log(t.top.load/w.load)/2
}

// settling is the time after a great step down, until load and latency have followed.
type settling struct {
	draining bool
	ceiling  int           // a session that began above it began before the step
	until    time.Duration // when those that were there have ended, mostly
}

func (s *settling) ignores(sample *Sample, now time.Duration, t *track) bool {
	if s.draining {
		if sample.Active > s.ceiling {
			return true
		}
		s.draining = false
		s.until = now + 2*span(max(t.top.level, t.floor))
	}
	return now < s.until
}
