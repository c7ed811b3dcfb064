// Package histogram counts durations in buckets that never change, so that whoever observes one needs no lock
// and whoever reads pays for it.
//
// Its buckets are those of a Prometheus native histogram (schema 2: four to each power of two, in seconds),
// with the same bounds and the same numbers. So it can be exported as one, and folded into classic buckets
// whose counts are exact. It knows nothing of metrics and exports nothing itself.
//
// Start with [Histogram.Observe].
package histogram

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Schema is the resolution, as Prometheus numbers it: each bound is 2^(2^-Schema) times the one before, which
// is 1.19 times. Read off a bucket, a duration is wrong by 9 % at most.
const Schema = 2

const (
	perOctave = 1 << Schema
	// The first bound is 2^firstPower seconds (0.95 µs), the last 2^lastPower seconds (97 days): a connection
	// that a client keeps in its pool lasts for weeks.
	firstPower, lastPower = -20, 23

	// FirstIndex is the number that Prometheus gives to the bucket whose upper bound is the first.
	FirstIndex = firstPower * perOctave

	// Size is how many buckets there are: one up to each bound, and one for what is longer than all.
	Size = (lastPower-firstPower)*perOctave + 2
)

// Histogram counts durations. The zero Histogram is empty and ready. It must not be copied; it has 1.4 KB.
type Histogram struct {
	sum     atomic.Int64
	buckets [Size]atomic.Uint64
}

// Observe counts d, from any goroutine. Less than 0 counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(0, d)
	h.sum.Add(int64(d))
	h.buckets[bucketOf(uint64(d))].Add(1)
}

// limits holds the bounds in nanoseconds: the longest duration that as a number of seconds is within the bound.
var limits = func() (l [Size - 1]uint64) {
	for i := range l {
		at := time.Duration(Bound(i)*1e9) + 2
		for at.Seconds() > Bound(i) { // the product was rounded
			at--
		}
		l[i] = uint64(at)
	}
	return l
}()

// Each power of two of nanoseconds is cut in as many parts of even length. In each lies one bound at most.
const partBits = 3

// from holds, for each part, the first bucket that any duration in it belongs to.
var from = func() (f [64 << partBits]uint8) {
	for part := range f {
		least := (1<<partBits + uint64(part&(1<<partBits-1))) << (part >> partBits)
		for int(f[part]) < len(limits) && limits[f[part]] < least {
			f[part]++
		}
	}
	return f
}()

// bucketOf returns the first bucket whose bound is no less than ns, of which there are less than 2^63.
func bucketOf(ns uint64) int {
	if ns < 1<<partBits {
		return 0
	}
	shift := bits.Len64(ns) - 1 - partBits
	i := int(from[shift<<partBits|int(ns>>shift)&(1<<partBits-1)])
	if i < len(limits) && ns > limits[i] {
		i++
	}
	return i
}

// Bound returns the greatest duration, in seconds, that bucket i counts. The last bucket has none: +Inf.
func Bound(i int) float64 {
	if i >= Size-1 {
		return math.Inf(1)
	}
	index := FirstIndex + i
	return math.Ldexp(fractions[index&(perOctave-1)], index>>Schema)
}

// fractions are 2^(0/4) to 2^(3/4), to the last digit as Prometheus's clients have their halves
// (nativeHistogramBounds of client_golang).
var fractions = [perOctave]float64{2 * 0.5, 2 * 0.5946035575013605, 2 * 0.7071067811865475, 2 * 0.8408964152537144}
