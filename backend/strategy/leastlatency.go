package strategy

import (
	"math"
	"time"
)

// leastLatency picks the member with the lowest cost: the recent time to connect, times the sessions it
// would then have, over its weight.
//
// The recent time is a peak-sensitive moving average, as in Finagle's peak EWMA: a greater time counts
// at once and in full, a lesser one slowly, and in silence it falls towards 0 with the time constant
// decay. So a slow member is avoided at once, and is tried again when its average has fallen below
// the others': one 100 times as slow about 46 s later, as e^(46/10) is 100.
//
// Since all averages fall by the same factor in the same time, the order of the costs does not change
// while time passes. A cost is therefore kept as if at time 0, where it is average · e^(seen/decay), and
// its logarithm is a key for the heap: the lowest of all members is found exactly, not by drawing a few.
//
// A member never tried goes first, once. Until its first time is known it counts as taking guess, so
// that neither a crowd nor every session after a failed dial goes to the one we know nothing of.
type leastLatency struct {
	heap    heap
	members []latency
}

type latency struct {
	average float64 // in nanoseconds, at the time seen
	seen    time.Duration
	state   knowledge
	load    Load
}

// knowledge says where a member's average comes from.
type knowledge uint8

const (
	untried knowledge = iota
	guessed
	measured
)

const (
	// decay is how long an average takes to fall to 1/e. Finagle's default: long enough to outlast a
	// garbage collection or a lost packet, short enough to come back in under a minute.
	decay = 10 * time.Second

	// guess is the time a member tried but never measured counts as. It is the first retransmission
	// of a SYN: the least that a lost one takes.
	guess = time.Second
)

func (s *leastLatency) Place(i int, _ Member) {
	s.heap.grow(i)
	s.members = grow(s.members, i, latency{})
}

// Remove leaves nothing of what was known of i to the next one there.
func (s *leastLatency) Remove(i int) {
	s.heap.remove(i)
	s.members[i] = latency{}
}

func (s *leastLatency) Pick(r *Request) int {
	i := s.heap.best(r.Tried)
	if i < 0 {
		return -1
	}
	if m := &s.members[i]; m.state == untried {
		m.state, m.average, m.seen = guessed, float64(guess), r.Now
		s.order(i)
	}
	return i
}

func (s *leastLatency) Update(i int, l Load) {
	m := &s.members[i]
	if l == m.load {
		return
	}
	m.load = l
	s.order(i)
}

// Observe takes a time below 1 ns for 1 ns, and a clock that went back for one that stood still.
func (s *leastLatency) Observe(i int, connect, now time.Duration) {
	m := &s.members[i]
	took := max(float64(connect), 1)
	if m.state == measured {
		now = max(now, m.seen)
		keep := math.Exp(-float64(now-m.seen) / float64(decay))
		took = max(took, m.average*keep+took*(1-keep))
	}
	m.state, m.average, m.seen = measured, took, now
	s.order(i)
}

func (s *leastLatency) order(i int) {
	m := &s.members[i]
	if !m.load.Eligible {
		s.heap.remove(i)
		return
	}
	s.heap.set(i, key{m.cost(), uint64(i)})
}

// cost is the binary logarithm of the cost as if at time 0, plus 64 to be positive, in units of 2^-32.
// The time adds 1 in 7 s, so there is room for 400 years.
func (m *latency) cost() uint64 {
	if m.state == untried {
		return 0
	}
	sessions := float64(m.load.Active+1) / float64(clampWeight(m.load.Weight))
	log := math.Log2(m.average*sessions) + float64(m.seen)/(float64(decay)*math.Ln2)
	return uint64((64 + log) * (1 << 32))
}
