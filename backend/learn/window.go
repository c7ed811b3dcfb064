package learn

import "time"

const (
	minSamples = 16    // fewer decide nothing
	maxSamples = 1000  // more are not waited for: at a spread of e they are known within 3 %
	minError   = 0.025 // standard error of a mean logarithm that is good enough for anything
	maxError   = 0.15  // and one that is good for nothing
	minWindow  = 3     // floors: with less, the short ones of the first sessions would be too many
	reach      = 2.0   // samples count as at most e² = 7.4 floors, and at least a seventh
)

// maxWindow is how long a window waits for more than minSamples.
const maxWindow = 5 * time.Second

// tally sums up samples.
type tally struct {
	n, failed, full int // full: with the limit in use
	active          int
	sum, squares    float64 // of the logarithms of the n that did not fail
}

func (y *tally) add(t *track, s *Sample, full bool) {
	y.active += s.Active
	if full {
		y.full++
	}
	if s.Failed {
		y.failed++
		return
	}
	x := min(max(logarithm(s.Latency), t.floor-reach), t.floor+reach)
	y.n++
	y.sum += x
	y.squares += x * x
}

func (y *tally) count() int { return y.n + y.failed }

func (y *tally) load() float64 { return float64(y.active) / float64(y.count()) }

func (y *tally) level() float64 { return y.sum / float64(y.n) }

func (y *tally) point() point { return point{y.load(), y.level()} }

// excess is what the samples, the failed ones among them, are above the floor of t.
func (y *tally) excess(t *track) float64 {
	return (y.sum - float64(y.n)*t.floor + reach*float64(y.failed)) / float64(y.count())
}

// enough says that there are enough samples to know the level but for a standard error of e.
func (y *tally) enough(e float64) bool {
	if c := y.count(); c < minSamples || c >= maxSamples {
		return c >= maxSamples
	}
	n := float64(y.n)
	return y.squares*n-y.sum*y.sum <= e*e*n*n*n
}
