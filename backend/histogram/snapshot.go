package histogram

import "time"

// Snapshot is what a histogram had counted at one moment.
type Snapshot struct {
	Count uint64
	Sum   time.Duration
	// Buckets counts what is no longer than Bound(i), and longer than the bound before.
	Buckets [Size]uint64
}

// Snapshot reads the histogram. Count is the sum of Buckets; Sum may already have, or not yet have, what was
// observed meanwhile.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		s.Buckets[i] = h.buckets[i].Load()
		s.Count += s.Buckets[i]
	}
	return s
}

// Add counts all that o has counted as well.
func (s *Snapshot) Add(o *Snapshot) {
	s.Count += o.Count
	s.Sum += o.Sum
	for i, n := range o.Buckets {
		s.Buckets[i] += n
	}
}

// Classic is one bucket of a classic Prometheus histogram.
type Classic struct {
	// UpTo is its bound in seconds, le; Count is how many were no longer than that, shorter ones included.
	UpTo  float64
	Count uint64
}

// Fold returns classic buckets whose bounds are the powers of two from 2^first to 2^last seconds, each 2^step
// times the one before. The counts are exact. What is beyond is in Count alone, as le="+Inf" wants it. Powers
// outside -20 to 23 are left out. Fold(-10, 12, 2) goes from 1 ms to 68 minutes in 12 buckets.
func (s *Snapshot) Fold(first, last, step int) []Classic {
	first, last = first+(max(0, firstPower-first)+step-1)/step*step, min(last, lastPower)
	list := make([]Classic, 0, max(0, (last-first)/step+1))
	counted, next := uint64(0), 0
	for power := first; power <= last; power += step {
		i := (power - firstPower) * perOctave
		for ; next <= i; next++ {
			counted += s.Buckets[next]
		}
		list = append(list, Classic{Bound(i), counted})
	}
	return list
}

// ZeroThreshold is the width in seconds of what a native histogram takes as zero: the first bucket.
func ZeroThreshold() float64 { return Bound(0) }

// Zero returns how many are in the zero bucket of a native histogram.
func (s *Snapshot) Zero() uint64 { return s.Buckets[0] }

// Native returns the buckets of a native histogram that are not empty, but for the zero bucket, by their
// number in [Schema]. What is longer than the last bound is in the next bucket, although it may be longer than
// that one's bound.
func (s *Snapshot) Native() map[int]int64 {
	m := make(map[int]int64)
	for i, n := range s.Buckets[1:] {
		if n > 0 {
			m[FirstIndex+1+i] = int64(n)
		}
	}
	return m
}

// Quantile returns a duration that about the part q of all, from 0 to 1, is no longer than: the bound of the
// bucket, so it is up to 19 % too long. 0: there are none.
func (s *Snapshot) Quantile(q float64) time.Duration {
	rank, counted := uint64(q*float64(s.Count)), uint64(0)
	for i, n := range s.Buckets[:Size-1] {
		if counted += n; counted > 0 && counted >= max(rank, 1) {
			return time.Duration(limits[i])
		}
	}
	if s.Count == 0 {
		return 0
	}
	return time.Duration(limits[Size-2])
}
