package learn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// settled is the stated time: so long after the start, or a change of capacity, the limit is within 20 %.
// It is 1000 times as long as an answer takes: 50 s for 50 ms.
func settled(service time.Duration) time.Duration { return 1000 * service }

// newWorld has more demand than any backend can serve, and a spread as of real queries.
func newWorld(s server, service time.Duration, seed uint64) *world {
	return &world{
		limit:   New(Options{Min: 1, Max: 1000, Recheck: settled(service)}),
		server:  s,
		random:  rand.New(rand.NewPCG(seed, 1)),
		service: service,
		noise:   0.5,
		demand:  2000,
	}
}

func servers() map[string]func() server {
	return map[string]func() server{
		"fifo":    func() server { return &fifo{capacity: 1} },
		"sharing": func() server { return &sharing{capacity: 1} },
	}
}

// wantNear lets w settle, and then for as long again holds the limit to 20 % of capacity: its mean, and
// 90 % of the times that it is looked at. A probe lowers it on purpose.
func wantNear(t *testing.T, w *world, capacity int) {
	t.Helper()
	w.run(w.clock() + settled(w.service))
	looked, within, sum := 0, 0, 0
	w.watch = func(w *world) {
		if w.limit.probe.on {
			return
		}
		looked++
		sum += w.limit.Limit()
		if math.Abs(float64(w.limit.Limit()-capacity)) <= 0.2*float64(capacity) {
			within++
		}
	}
	w.run(w.clock() + settled(w.service))
	w.watch = nil
	mean, share := float64(sum)/float64(looked), float64(within)/float64(looked)
	if math.Abs(mean-float64(capacity)) > 0.2*float64(capacity) || share < 0.9 {
		t.Errorf("capacity %d: got a mean limit of %.1f, within 20 %% for %.1f %%, want 90 %%", capacity, mean, 100*share)
	}
}

// The capacity is found, and followed when it is halved and doubled.
func TestSettlesAtTheCapacityAndFollows(t *testing.T) {
	for name, make := range servers() {
		for _, service := range []time.Duration{2 * time.Millisecond, 50 * time.Millisecond} {
			for _, capacity := range []int{10, 50, 200} {
				t.Run(fmt.Sprintf("%s/%d/%v", name, capacity, service), func(t *testing.T) {
					w := newWorld(make(), service, uint64(capacity))
					for _, c := range []int{capacity, capacity / 2, capacity, 2 * capacity} {
						w.server.setCapacity(c, w.now)
						wantNear(t, w, c)
					}
				})
			}
		}
	}
}

// What spread the latencies have does not matter much: none, or one in a hundred takes 100 times as long.
func TestNoiseDoesNotCollapseTheLimit(t *testing.T) {
	for _, noise := range []float64{0, 0.2, 0.8} {
		for _, stray := range []float64{0, 0.01} {
			t.Run(fmt.Sprint(noise, stray), func(t *testing.T) {
				w := newWorld(&sharing{capacity: 50}, 10*time.Millisecond, 3)
				w.noise, w.stray = noise, stray
				wantNear(t, w, 50)
			})
		}
	}
}

// Below the knee nothing but noise is left to go by: the limit must stay up, at its upper bound.
func TestStaysAtMaxBelowTheCapacity(t *testing.T) {
	w := newWorld(&fifo{capacity: 500}, 10*time.Millisecond, 4)
	w.limit = New(Options{Min: 1, Max: 100, Recheck: time.Second})
	w.run(10 * time.Second)
	low := 0
	w.watch = func(w *world) {
		if !w.limit.probe.on && w.limit.Limit() < 80 {
			low++
		}
	}
	served := w.served
	w.run(40 * time.Second)
	if share := float64(low) / float64(w.served-served); share > 0.02 {
		t.Errorf("limit below 80 for %.1f %% of the samples, want 2 %%", 100*share)
	}
}

func TestDoesNotRunAwayWhenDemandIsLow(t *testing.T) {
	for _, demand := range []int{1, 5, 20} {
		w := newWorld(&fifo{capacity: 200}, 10*time.Millisecond, 5)
		w.demand = demand
		w.run(time.Minute)
		if got := w.settledLimit(); got < demand || got > 2*demand+1 {
			t.Errorf("demand %d: got limit %d", demand, got)
		}
	}
}

// A crowd that comes for a second in every ten teaches the same.
func TestBurstsTeachTheSame(t *testing.T) {
	for name, make := range servers() {
		w := newWorld(make(), 10*time.Millisecond, 6)
		w.server.setCapacity(50, 0)
		for range 30 {
			w.demand = 500
			w.run(w.clock() + time.Second)
			if w.now > 100 && math.Abs(float64(w.settledLimit()-50)) > 12 {
				t.Errorf("%s: at %v: got limit %d, want 50", name, w.clock(), w.settledLimit())
			}
			w.demand = 2
			w.run(w.clock() + 9*time.Second)
		}
	}
}

// Every answer takes longer from now on, however few there are: a slower network, or heavier queries. The
// floor follows, both ways, and the limit stays.
func TestFloorFollowsTheNetwork(t *testing.T) {
	for name, make := range servers() {
		w := newWorld(make(), 10*time.Millisecond, 7)
		w.server.setCapacity(50, 0)
		wantNear(t, w, 50)
		for _, service := range []time.Duration{40 * time.Millisecond, 5 * time.Millisecond} {
			w.service = service
			wantNear(t, w, 50)
			if got := w.limit.Floor(FirstByte); got < service*8/10 || got > service*12/10 {
				t.Errorf("%s: floor: got %v, want %v", name, got, service)
			}
		}
	}
}

// A floor that was learned under overload is too high; probes find that out.
func TestProbesFindAFloorThatIsTooHigh(t *testing.T) {
	w := newWorld(&sharing{capacity: 50}, 10*time.Millisecond, 8)
	w.limit = New(Options{Min: 1, Max: 1000, Start: 200, Recheck: settled(w.service) / 10})
	wantNear(t, w, 50)
}
