package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// schedule tells when work is to begin in an open loop. It is computed, not kept: every loop has a
// schedule of its own and does each nth piece of it.
type schedule struct {
	phases []Phase
	seed   uint64
	left   int64 // pieces; below 0: no limit

	phase int
	base  time.Duration // the beginning of the phase
	at    float64       // nanoseconds since then
	owed  float64       // the part of a piece that has come up; the first is due at once
}

func newSchedule(o *Options) *schedule {
	s := &schedule{phases: o.phases(), seed: o.Seed, left: -1, owed: 1}
	if o.Count > 0 {
		s.left = o.Count
	}
	return s
}

// start is one piece of work that is to begin.
type start struct {
	at    time.Duration // since the run began
	phase int
}

// grain is how long a rate that changes is taken to stand still.
const grain = time.Millisecond

// next returns the next start. It reports false when there is none.
func (s *schedule) next() (start, bool) {
	for s.left != 0 && s.phase < len(s.phases) {
		p := &s.phases[s.phase]
		if s.at >= float64(p.Duration) {
			s.base += p.Duration
			s.phase, s.at = s.phase+1, 0
			continue
		}
		perNano := p.rateAt(s.at, s.seed, s.phase) / float64(time.Second)
		step := p.grain(s.at)
		// NaN and infinity, of a rate of 0, are not less.
		if need := (1 - s.owed) / perNano; need < step-1 { // what rounding leaves of a step is no start
			s.at += max(need, 0)
			s.owed = 0
			s.left = max(s.left-1, -1)
			return start{s.base + time.Duration(s.at), s.phase}, true
		}
		s.owed += perNano * step
		s.at += step
	}
	return start{}, false
}

// skip passes over n starts.
func (s *schedule) skip(n int) {
	for range n {
		if _, ok := s.next(); !ok {
			return
		}
	}
}

// grain returns how many nanoseconds the rate at a time of the phase holds.
func (p *Phase) grain(at float64) float64 {
	left := float64(p.Duration) - at
	switch p.Shape {
	case Constant:
		return left
	case Random:
		return min(left, float64(time.Second)-math.Mod(at, float64(time.Second)))
	}
	return min(left, float64(grain))
}

// rateAt returns how many pieces a second begin at a time of the phase.
func (p *Phase) rateAt(at float64, seed uint64, phase int) float64 {
	span := p.Max - p.Min
	part := at / float64(p.Duration)
	switch p.Shape {
	case Random:
		var dice rand.PCG
		dice.Seed(seed, uint64(phase)<<32|uint64(at/float64(time.Second)))
		return p.Min + span*float64(dice.Uint64()>>11)/(1<<53)
	case Sine:
		return p.Min + span*(1-math.Cos(2*math.Pi*part))/2
	case Ramp:
		return p.Min + span*part
	}
	return p.Min
}
