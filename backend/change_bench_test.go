package backend

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// B65: however much changes, the lock is given to others after each batch.
func TestB65ManyChangesShareTheLock(t *testing.T) {
	const n = 10_000
	for _, strategy := range strategies {
		t.Run(strategy, func(t *testing.T) {
			o := PoolOptions{Strategy: strategy, Probed: true, Overlap: time.Second, Backends: options(n, "", 1)}
			var locked atomic.Int64 // each time the lock is taken for changes, the clock is read
			o.Clock = func() time.Duration { locked.Add(1); return 0 }
			o.After = func(time.Duration, func()) {}
			p, err := NewPool(o)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range bigChanges(n) {
				locked.Store(0)
				o.Backends = c.backends
				if _, _, err := p.Reconfigure(o); err != nil {
					t.Fatal(err)
				}
				if got := locked.Load(); got < int64(c.changed/batch) {
					t.Errorf("%s: the lock was taken %d times for %d changes, want once for %d", c.name, got, c.changed, batch)
				}
			}
		})
	}
}

// options is n backends.
func options(n int, prefix string, weight int) []Options {
	list := make([]Options, n)
	for i := range list {
		list[i] = Options{
			Name: fmt.Sprintf("%s%d", prefix, i), Network: "tcp", Address: fmt.Sprintf("%s%d:1", prefix, i), Weight: weight, Up: true,
		}
	}
	return list
}

type bigChange struct {
	name     string
	backends []Options
	changed  int
}

// bigChanges are to be made one after the other.
func bigChanges(n int) []bigChange {
	one := options(n, "", 1)
	one[n/2].Weight = 7
	more := slices.Insert(slices.Clone(one), 0, Options{Name: "first", Network: "tcp", Address: "first:1", Weight: 1})
	return []bigChange{
		{"one weight", one, 1},
		{"one more, at the front", more, 0},
		{"every weight", options(n, "", 3), n},
		{"every backend", options(n, "x", 1), 2 * n},
	}
}

// BenchmarkChange tells how long a session waits at the most for a change of 10,000 backends, and how long the change
// takes in all. The first change of each kind is the one that is told.
func BenchmarkChange(b *testing.B) {
	const n = 10_000
	for _, strategy := range strategies {
		for i, c := range bigChanges(n) {
			b.Run(strategy+"/"+c.name, func(b *testing.B) {
				var most time.Duration
				for b.Loop() {
					b.StopTimer()
					o := PoolOptions{Strategy: strategy, Backends: options(n, "", 1)}
					p, err := NewPool(o)
					if err != nil {
						b.Fatal(err)
					}
					for _, before := range bigChanges(n)[:i] {
						o.Backends = before.backends
						p.Reconfigure(o)
					}
					o.Backends = c.backends
					stop := sessions(p)
					b.StartTimer()
					p.Reconfigure(o)
					b.StopTimer()
					most = max(most, stop())
					b.StartTimer()
				}
				b.ReportMetric(float64(most.Microseconds()), "µs-longest-wait")
			})
		}
	}
}

// sessions has one come after the other, until stop is called, which tells how long the slowest had to wait.
func sessions(p *Pool) (stop func() time.Duration) {
	var ended atomic.Bool
	var most time.Duration
	var running sync.WaitGroup
	running.Go(func() {
		for !ended.Load() {
			r := NewRequest(someone)
			began := time.Now()
			l, _, err := p.Acquire(&r)
			if err == nil {
				l.Release()
			}
			most = max(most, time.Since(began))
		}
	})
	return func() time.Duration {
		ended.Store(true)
		running.Wait()
		return most
	}
}
