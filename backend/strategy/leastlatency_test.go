package strategy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// measure has each member observed once, now.
func measure(h *house, times ...time.Duration) {
	for i, took := range times {
		h.Observe(i, took, h.now)
	}
}

func TestLeastLatencyTakesTheFastest(t *testing.T) {
	h := furnish(t, "least-latency", 1, 1, 1)
	measure(h, 20*ms, 10*ms, 30*ms)
	wantPicks(t, h, 1, 1, 1)
	if got := h.pick(1); got != 0 {
		t.Errorf("with 1 tried: got %d, want 0", got)
	}
}

func TestLeastLatencyCountsSessionsAndWeight(t *testing.T) {
	h := furnish(t, "least-latency", 1, 1, 2)
	measure(h, 10*ms, 20*ms, 40*ms)
	for range 700 {
		h.begin()
	}
	for i, want := range []int{350, 175, 175} {
		if got := h.loads[i].Active; got < want-1 || got > want+1 {
			t.Errorf("member %d: got %d sessions, want %d", i, got, want)
		}
	}
}

func TestLeastLatencyRisesAtOnceAndFallsSlowly(t *testing.T) {
	s := furnish(t, "least-latency", 1).Strategy.(*leastLatency)
	average := func(took, now time.Duration) float64 {
		s.Observe(0, took, now)
		return s.members[0].average / float64(ms)
	}
	for _, step := range []struct {
		took, now time.Duration
		want      float64
	}{
		{10 * ms, 0, 10},
		{100 * ms, 1 * time.Second, 100},
		{10 * ms, 1 * time.Second, 100},
		{10 * ms, 11 * time.Second, 10 + 90/math.E},
		{10 * ms, 10 * time.Second, 10 + 90/math.E}, // a clock that went back
		{200 * ms, 12 * time.Second, 200},
		{10 * ms, 1000 * time.Second, 10},
	} {
		if got := average(step.took, step.now); math.Abs(got-step.want) > 0.01 {
			t.Errorf("%v at %v: got %.2f ms, want %.2f", step.took, step.now, got, step.want)
		}
	}
}

// The promise of the type's comment: 100 times as slow is tried again after 46 s.
func TestLeastLatencyTriesTheSlowAgain(t *testing.T) {
	h := furnish(t, "least-latency", 1, 1)
	measure(h, 1*ms, 100*ms)
	for h.pick() == 0 {
		h.now += 100 * ms
		h.Observe(0, 1*ms, h.now)
		if h.now > time.Hour {
			t.Fatal("never tried again")
		}
	}
	if want := 46 * time.Second; h.now < want || h.now > want+time.Second {
		t.Errorf("tried again after %v, want %v", h.now, want)
	}
}

func TestLeastLatencyTriesTheUnknownOnceEach(t *testing.T) {
	h := furnish(t, "least-latency", 1, 1, 1, 1)
	measure(h, 1*ms, 2*ms)
	var got []int
	for range 6 {
		i := h.begin()
		got = append(got, i)
		h.active(i, 0) // its dial failed: nothing to observe
	}
	if want := []int{2, 3, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	h.Observe(2, ms/2, h.now)
	wantPicks(t, h, 2, 2)
}

// With nothing known sessions spread as with least-connections.
func TestLeastLatencySpreadsWhenNothingIsKnown(t *testing.T) {
	h := furnish(t, "least-latency", 1, 1, 1)
	for range 30 {
		h.begin()
	}
	for i, l := range h.loads {
		if l.Active != 10 {
			t.Errorf("member %d: got %d sessions, want 10", i, l.Active)
		}
	}
}

// The heap's order must be the order of the costs worked out anew at every moment.
func TestLeastLatencyIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	h := furnish(t, "least-latency", 1, 2, 3, 1, 5)
	measure(h, ms, ms, ms, ms, ms)
	s := h.Strategy.(*leastLatency)
	cost := func(i int) float64 {
		m := &s.members[i]
		fallen := m.average * math.Exp(-float64(h.now-m.seen)/float64(decay))
		return fallen * float64(m.load.Active+1) / float64(m.load.Weight)
	}
	for range 20000 {
		h.now += time.Duration(random.Int64N(int64(3 * time.Second)))
		h.Observe(random.IntN(5), time.Duration(random.Int64N(int64(100*ms))), h.now)
		h.active(random.IntN(5), random.IntN(20))
		got := h.pick()
		for i := range h.loads {
			if cost(i) < cost(got)*(1-1e-5) {
				t.Fatalf("at %v: got %d with cost %g, want %d with %g", h.now, got, cost(got), i, cost(i))
			}
		}
	}
}
