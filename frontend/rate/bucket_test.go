package rate

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestBucket(t *testing.T) {
	type step struct {
		now  time.Duration
		want bool
	}
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		name  string
		rate  float64
		burst int
		steps []step
	}{
		{"as in the comment on limit", 10, 3, []step{
			{0, true}, {0, true}, {0, true}, {0, false}, {50 * ms, false}, {100 * ms, true}, {100 * ms, false}, {1000 * ms, true}}},
		{"no burst", 10, 0, []step{{0, true}, {0, false}, {100*ms - 1, false}, {100 * ms, true}, {199 * ms, false}, {200 * ms, true}}},
		{"a rest fills it up to the burst, no further", 10, 2, []step{{0, true}, {0, true}, {time.Hour, true}, {time.Hour, true}, {time.Hour, false}}},
		{"refusals cost nothing", 1, 1, []step{{0, true}, {1, false}, {2, false}, {500 * ms, false}, {999 * ms, false}, {1000 * ms, true}}},
		{"a fraction of a second", 0.5, 1, []step{{0, true}, {1999 * ms, false}, {2000 * ms, true}}},
		{"the time may begin anywhere", 10, 1, []step{{-year, true}, {-year, false}, {100*ms - year, true}}},
		{"late in the life of a process", 10, 2, []step{{70 * year, true}, {70 * year, true}, {70 * year, false}, {70*year + 100*ms, true}}},
		{"hardly ever", 1e-300, 1, []step{{70 * year, true}, {72 * year, false}}},
		{"hardly ever, with a burst of all", 1e-300, math.MaxInt, []step{{0, true}, {0, true}, {0, false}}},
		{"a burst of all", 1, math.MaxInt, []step{{0, true}, {0, true}, {0, true}}},
		{"faster than the clock", math.Inf(1), 1, []step{{0, true}, {0, false}, {1, true}}},
		{"no limit", 0, 1, []step{{0, true}, {0, true}}},
		{"a rate that is none", math.NaN(), 1, []step{{0, true}, {0, true}}},
		{"a rate below zero", -1, 1, []step{{0, true}, {0, true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := NewBucket(test.rate, test.burst)
			for i, s := range test.steps {
				if got := b.Take(s.now); got != s.want {
					t.Fatalf("step %d, at %v: got %v, want %v", i, s.now, got, s.want)
				}
			}
		})
	}
}

// tokens is the bucket that limit stands for, in units of a token's interval-th part: it has room for
// burst tokens and is filled by one unit a nanosecond.
type tokens struct{ interval, burst, has, last int64 }

func (b *tokens) take(now int64) bool {
	b.has, b.last = min(b.has+now-b.last, b.burst*b.interval), now
	if b.has < b.interval {
		return false
	}
	b.has -= b.interval
	return true
}

func TestBucketAsTokens(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		interval, burst := 1+r.Int64N(1000), 1+r.Int64N(5)
		b := NewBucket(1e9/float64(interval), int(burst))
		want := &tokens{interval: interval, burst: burst, has: burst * interval}
		var now int64
		for range 300 {
			now += r.Int64N(interval) * r.Int64N(3)
			if got, want := b.Take(time.Duration(now)), want.take(now); got != want {
				t.Fatalf("seed %d, at %d: got %v, want %v", seed, now, got, want)
			}
		}
	}
}

func TestBucketIsExactAmongGoroutines(t *testing.T) {
	const workers, each = 8, 100_000
	b := NewBucket(1, workers*each/2)
	var taken atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				if b.Take(0) {
					taken.Add(1)
				}
			}
		})
	}
	group.Wait()
	if got := taken.Load(); got != workers*each/2 {
		t.Errorf("got %d, want %d", got, workers*each/2)
	}
}

func BenchmarkBucket(b *testing.B) {
	for name, rate := range map[string]float64{"taken": 1e9, "refused": 1e-3} {
		b.Run(name, func(b *testing.B) {
			bucket := NewBucket(rate, 1)
			var now time.Duration
			b.ReportAllocs()
			for b.Loop() {
				now++
				bucket.Take(now)
			}
		})
	}
}
