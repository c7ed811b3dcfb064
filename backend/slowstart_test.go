package backend

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/backend/strategy"
)

// B35: the weight grows linearly, in steps of a hundredth of the time, as sessions ask.
func TestSlowStartWeights(t *testing.T) {
	s := set(t, PoolOptions{SlowStart: 10 * time.Second}, "a weight=4", "b")
	r := s.record()
	s.now = 5 * time.Second
	s.step("a", "down")
	s.step("a", "up")
	for _, at := range []time.Duration{0, 1, 50, 51, 100, 1000, 2500, 5000, 9999, 10098, 10099, 20000} { // ms
		s.now = 5*time.Second + at*time.Millisecond
		l := s.take("a")
		l.Release()
		r.note(at)
	}
	// It is told every 100 ms at most, so the whole weight as much late at the worst.
	want(t, "weights of a", r.seen, "0:1 100:4 1000:40 2500:100 5000:200 9999:399 10099:400")
}

// recorder notes what a strategy is told of its first member.
type recorder struct {
	strategy.Strategy
	weight int
	last   int
	seen   string
}

func (s *stage) record() *recorder {
	r := &recorder{Strategy: s.tiers[NoBackup].strategy}
	s.tiers[NoBackup].strategy = r
	return r
}

func (r *recorder) Update(i int, l strategy.Load) {
	if i == 0 {
		r.weight = l.Weight
	}
	r.Strategy.Update(i, l)
}

func (r *recorder) note(at time.Duration) {
	if r.weight != r.last {
		r.seen = strings.TrimPrefix(fmt.Sprintf("%s %d:%d", r.seen, at, r.weight), " ")
	}
	r.last = r.weight
}

// The share of the sessions follows the weight.
func TestSlowStartShare(t *testing.T) {
	s := set(t, PoolOptions{SlowStart: 10 * time.Second}, "a", "b")
	s.step("", "1")
	s.step("a", "down")
	s.step("a", "up")
	for tenth := range 12 {
		n := 0
		for range 2000 {
			s.now += 500 * time.Microsecond
			if s.picks(1) == "a" {
				n++
			}
		}
		w := min(1, (float64(tenth)+0.5)/10)
		if fair := 2000 * w / (1 + w); float64(n) < fair-15 || float64(n) > fair+15 {
			t.Errorf("tenth %d: got %d of 2000 sessions, want %.0f ± 15", tenth, n, fair)
		}
	}
}

func TestSlowStartWhen(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps string
		want  int // effective weight afterwards, of 100
	}{
		{"not at the start of the pool", "", 100},
		{"after a return", "down up 5", 50},
		{"from the last return", "down up 5 down 2 up 1", 10},
		{"after an ejection", "fail 30 5", 50},
		{"not twice", "down up 10 5", 100},
		{"over while it was down", "down up 5 down 20 up 2", 20},
	} {
		o := threeIn10
		o.Failures = 1
		s := set(t, PoolOptions{SlowStart: 10 * time.Second, Passive: o}, "a", "b")
		r := s.record()
		r.weight = 100
		s.step("", "1")
		for _, step := range strings.Fields(c.steps) {
			s.step("a", step)
		}
		if r.weight != c.want {
			t.Errorf("%s (%s): got weight %d, want %d", c.name, c.steps, r.weight, c.want)
		}
	}
}

// One that is alone gets everything, however slowly it starts.
func TestSlowStartAlone(t *testing.T) {
	for _, strategy := range strategies {
		s := set(t, PoolOptions{Strategy: strategy, SlowStart: time.Hour}, "a", "b down")
		s.step("a", "down")
		s.step("a", "up")
		want(t, strategy, s.picks(3), "a a a")
	}
}
