package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tally is what one worker has counted in one phase.
type tally struct {
	started, done  int64
	late           int64 // were to begin and never did
	sent, received int64 // bytes
	lost           int64 // connections that ended while they were held
	latency        *hdrhistogram.Histogram
	errors         map[string]int64
	backends       map[string]*int64
}

// resolution and longest bound what the histogram tells apart: three digits, from 100 ns to an hour.
const (
	resolution = 100 * time.Nanosecond
	longest    = time.Hour
	digits     = 3
)

func newTally() *tally {
	return &tally{
		latency:  hdrhistogram.New(int64(resolution), int64(longest), digits),
		errors:   make(map[string]int64),
		backends: make(map[string]*int64),
	}
}

// finish counts one piece of work that went well.
func (t *tally) finish(took time.Duration) {
	t.done++
	t.latency.RecordValue(int64(min(max(took, 0), longest)))
}

// add puts another tally's counts to this one's.
func (t *tally) add(other *tally) {
	t.started += other.started
	t.done += other.done
	t.late += other.late
	t.sent += other.sent
	t.received += other.received
	t.lost += other.lost
	t.latency.Merge(other.latency)
	for kind, n := range other.errors {
		t.errors[kind] += n
	}
	for name, n := range other.backends {
		t.count([]byte(name), *n)
	}
}

// count counts connections that a backend served, without allocating when it is known already.
func (t *tally) count(backend []byte, n int64) {
	sum := t.backends[string(backend)]
	if sum == nil {
		sum = new(int64)
		t.backends[string(backend)] = sum
	}
	*sum += n
}

func (t *tally) failed() (n int64) {
	for _, k := range t.errors {
		n += k
	}
	return n
}

// tallies is a worker's, one for each phase.
type tallies []*tally

func newTallies(phases int) tallies {
	ts := make(tallies, max(phases, 1))
	for i := range ts {
		ts[i] = newTally()
	}
	return ts
}

func (ts tallies) add(other tallies) {
	for i, t := range other {
		ts[i].add(t)
	}
}

// sum returns all phases in one.
func (ts tallies) sum() *tally {
	s := newTally()
	for _, t := range ts {
		s.add(t)
	}
	return s
}
