package load

import (
	"math"
	"slices"
	"testing"
	"time"
)

func starts(s *schedule) (all []start) {
	for {
		next, ok := s.next()
		if !ok {
			return all
		}
		all = append(all, next)
	}
}

func phased(phases ...Phase) *Options { return &Options{Phases: phases} }

func TestConstantRate(t *testing.T) {
	for _, rate := range []float64{1, 3, 1000, 5000, 33333} {
		all := starts(newSchedule(&Options{Rate: rate, Duration: 3 * time.Second}))
		if got, want := len(all), int(3*rate); got != want {
			t.Errorf("%v/s: got %d starts in 3 s, want %d", rate, got, want)
		}
		for i, s := range all {
			want := time.Duration(float64(i) / rate * float64(time.Second))
			if d := s.at - want; d < -time.Microsecond || d > time.Microsecond {
				t.Fatalf("%v/s: start %d: got %v, want %v", rate, i, s.at, want)
			}
		}
	}
}

func TestScheduleCount(t *testing.T) {
	if got := len(starts(newSchedule(&Options{Rate: 10, Count: 7}))); got != 7 {
		t.Errorf("got %d starts, want 7", got)
	}
}

// The number of starts is the area under the rate.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		phase Phase
		want  float64
	}{
		{Phase{Duration: 10 * time.Second, Shape: Ramp, Min: 0, Max: 1000}, 5000},
		{Phase{Duration: 10 * time.Second, Shape: Ramp, Min: 500, Max: 1000}, 7500},
		{Phase{Duration: 10 * time.Second, Shape: Sine, Min: 0, Max: 1000}, 5000},
		{Phase{Duration: 10 * time.Second, Shape: Constant}, 0},
	} {
		got := float64(len(starts(newSchedule(phased(c.phase)))))
		if math.Abs(got-c.want) > 2 {
			t.Errorf("%s from %v to %v: got %v starts, want %v", c.phase.Shape, c.phase.Min, c.phase.Max, got, c.want)
		}
	}
}

func TestSineRisesAndFalls(t *testing.T) {
	counts := make([]int, 4)
	for _, s := range starts(newSchedule(phased(Phase{Duration: 4 * time.Second, Shape: Sine, Min: 10, Max: 1000}))) {
		counts[s.at/time.Second]++
	}
	if counts[1] < 3*counts[0] || counts[2] < 3*counts[3] {
		t.Errorf("got %v starts in each second, want most in the middle", counts)
	}
}

func TestRandomRates(t *testing.T) {
	p := Phase{Duration: 60 * time.Second, Shape: Random, Min: 50, Max: 150}
	with := func(seed uint64) []start {
		o := phased(p)
		o.Seed = seed
		return starts(newSchedule(o))
	}
	if !slices.Equal(with(1), with(1)) {
		t.Error("the same seed gave other starts")
	}
	if slices.Equal(with(1), with(2)) {
		t.Error("another seed gave the same starts")
	}
	seconds := make([]int, 60)
	for _, s := range with(1) {
		seconds[s.at/time.Second]++
	}
	if least, most := slices.Min(seconds), slices.Max(seconds); least < 49 || most > 151 || most-least < 50 {
		t.Errorf("got %d to %d starts a second, want most of 50 to 150", least, most)
	}
}

func TestPauseBetweenPhases(t *testing.T) {
	second := Phase{Duration: time.Second, Shape: Constant, Min: 100, Max: 100}
	all := starts(newSchedule(phased(second, Phase{Duration: time.Minute, Shape: Constant}, second)))
	if len(all) < 199 || len(all) > 201 {
		t.Fatalf("got %d starts, want 200", len(all))
	}
	for _, s := range all {
		if s.phase == 1 || s.phase == 2 && s.at < 61*time.Second {
			t.Errorf("start at %v in phase %d", s.at, s.phase)
		}
	}
}

// Each loop does its part, and together they do all.
func TestScheduleIsShared(t *testing.T) {
	o := phased(Phase{Duration: time.Second, Shape: Ramp, Min: 10, Max: 999})
	whole := starts(newSchedule(o))
	var parts []start
	const loops = 3
	for i := range loops {
		s := newSchedule(o)
		for s.skip(i); ; s.skip(loops - 1) {
			next, ok := s.next()
			if !ok {
				break
			}
			parts = append(parts, next)
		}
	}
	slices.SortFunc(parts, func(a, b start) int { return int(a.at - b.at) })
	if !slices.Equal(whole, parts) {
		t.Errorf("got %d starts in parts, want the same %d", len(parts), len(whole))
	}
}
