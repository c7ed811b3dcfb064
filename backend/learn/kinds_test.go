package learn

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The kernel accepts at once whatever the program behind it does: with nothing else to go by, the upper
// bound is the limit.
func TestConnectAlone(t *testing.T) {
	w := newWorld(&fifo{capacity: 20}, 10*time.Millisecond, 11)
	w.limit = New(Options{Min: 5, Max: 100})
	w.connects, w.silent = 100*time.Microsecond, true
	w.run(30 * time.Second)
	if got := w.limit.Limit(); got != 100 {
		t.Errorf("limit: got %d, want 100", got)
	}
	if got := w.limit.Floor(FirstByte); got != 0 {
		t.Errorf("floor of first bytes: got %v, want 0", got)
	}
	if got := w.limit.Floor(Connect); got < 95*time.Microsecond || got > 115*time.Microsecond {
		t.Errorf("floor of connecting: got %v, want 100µs to 110µs", got)
	}
}

// Flat connect times must not talk the limit up against what first bytes say.
func TestConnectDoesNotOverruleFirstByte(t *testing.T) {
	w := newWorld(&fifo{capacity: 20}, 10*time.Millisecond, 12)
	w.connects = 100 * time.Microsecond
	wantNear(t, w, 20)
}

func TestFailuresLowerTheLimit(t *testing.T) {
	for _, c := range []struct {
		share    float64
		min, max int
	}{{0, 80, 100}, {0.01, 70, 100}, {0.5, 5, 10}} {
		l := New(Options{Min: 5, Max: 100, Start: 100})
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 20000 {
			now := time.Duration(i) * time.Millisecond
			l.Observe(Sample{FirstByte, 10 * time.Millisecond, l.Limit(), now, random.Float64() < c.share})
		}
		if got := l.Limit(); got < c.min || got > c.max {
			t.Errorf("share %v: got limit %d, want %d to %d", c.share, got, c.min, c.max)
		}
		if got := l.Floor(FirstByte); got < 9999*time.Microsecond || got > 10*time.Millisecond {
			t.Errorf("share %v: got floor %v, want 10ms", c.share, got)
		}
	}
}

func TestFailuresAloneLeadToMin(t *testing.T) {
	l := New(Options{Min: 5, Max: 100, Start: 100})
	for i := range 1000 {
		l.Observe(Sample{Connect, time.Microsecond, l.Limit(), time.Duration(i) * time.Millisecond, true})
	}
	if l.Limit() != 5 || l.Floor(Connect) != 0 {
		t.Errorf("got limit %d and floor %v, want 5 and 0", l.Limit(), l.Floor(Connect))
	}
}

// Whatever it is told, the limit stays within its bounds, is changed only when it says so, and a floor is
// never negative.
func TestNeverOutsideItsBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	for range 300 {
		o := Options{Min: random.IntN(50) - 5, Max: random.IntN(100) - 5, Start: random.IntN(200) - 10, Recheck: time.Duration(random.IntN(1e9))}
		l, low := New(o), max(o.Min, 1)
		high, before, now := max(o.Max, low), l.Limit(), time.Duration(0)
		for range 2000 {
			now += time.Duration(random.IntN(1e8)) - 1e7
			s := Sample{
				Kind:    Kind(random.IntN(int(numKinds))),
				Latency: time.Duration(math.Exp(float64(random.IntN(43))+random.Float64())) - 10,
				Active:  random.IntN(3*l.Limit()+1) - 1,
				Now:     now,
				Failed:  random.IntN(5) == 0,
			}
			changed := l.Observe(s)
			if random.IntN(10) == 0 {
				changed = l.Settle(now) || changed
			}
			got := l.Limit()
			if got < low || got > high || got != before && !changed || l.Floor(s.Kind) < 0 {
				t.Fatalf("%+v: got limit %d, before %d, changed %v, floor %v", o, got, before, changed, l.Floor(s.Kind))
			}
			before = got
		}
	}
}

// A few sessions decide nothing, however slow.
func TestFewSessionsDecideNothing(t *testing.T) {
	l := New(Options{Min: 1, Max: 100, Start: 50})
	for i := range minSamples - 1 {
		if l.Observe(Sample{FirstByte, time.Duration(i) * time.Second, 50, time.Duration(i) * time.Second, false}) {
			t.Errorf("sample %d changed the limit to %d", i, l.Limit())
		}
	}
}

// A probe that no session can begin in ends when it is due.
func TestSettleEndsAProbe(t *testing.T) {
	w := newWorld(&fifo{capacity: 50}, 10*time.Millisecond, 13)
	w.limit = New(Options{Min: 1, Max: 100, Recheck: time.Second})
	var lowered, before int
	for lowered == 0 && w.now < 60 {
		before = w.limit.Limit()
		w.run(w.clock() + time.Millisecond)
		if w.limit.Due() > 0 && w.limit.Limit() < before {
			lowered = w.limit.Limit()
		}
	}
	due := w.limit.Due()
	if lowered == 0 || due <= w.clock() {
		t.Fatalf("no probe within a minute: limit %d, due %v", w.limit.Limit(), due)
	}
	if w.limit.Settle(due-1) || w.limit.Limit() != lowered {
		t.Errorf("before it is due: got limit %d, want %d", w.limit.Limit(), lowered)
	}
	if !w.limit.Settle(due) || w.limit.Limit() <= lowered || w.limit.Due() != 0 {
		t.Errorf("when due: got limit %d, due %v, want more than %d, and 0", w.limit.Limit(), w.limit.Due(), lowered)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	list, l, i := samples(1<<10), New(Options{Min: 1, Max: 50}), 0
	got := testing.AllocsPerRun(10000, func() {
		s := list[i%len(list)]
		s.Now = time.Duration(i) * 400 * time.Microsecond
		l.Observe(s)
		i++
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
