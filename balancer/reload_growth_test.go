//go:build linux

package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// What thousands of reloads may leave behind, of which each changes everything about 50 backends.
const (
	reloadsHeap       = 4 << 20
	reloadsGoroutines = 20
)

// A day's churn in short: reloads that add, remove, rename and move backends grow neither memory, goroutines nor
// descriptors.
func TestManyReloadsGrowNothing(t *testing.T) {
	reloads := 10_000
	if underRace {
		reloads /= 50
	}
	if testing.Short() {
		reloads /= 100
	}
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := mirror(t), mirror(t)
		r := rand.New(rand.NewPCG(7, 7))
		w := startWeirFile(t, churnFile(r, engine, 0, a, b))
		w.log.forget()
		c := w.dial()
		echoes(t, c)
		step := func(i int) {
			w.mustReload(churnFile(r, engine, i, a, b))
			if i%10 == 0 { // some removed backends have sessions for a while
				c.Close()
				c = w.dial()
			}
			if i%100 == 0 {
				w.log.forget()
			}
			echoes(t, c)
		}
		warm := reloads / 10
		for i := range warm {
			step(i)
		}
		before := w.size()
		for i := range reloads {
			step(i)
		}
		c.Close()
		w.log.forget()
		eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before.goroutines+reloadsGoroutines })
		eventually(t, "descriptors to return", func() bool { return openDescriptors() <= before.descriptors })
		after := w.size()
		t.Logf("%d reloads: heap %d to %d KiB, goroutines %d to %d, descriptors %d to %d", reloads,
			before.heap>>10, after.heap>>10, before.goroutines, after.goroutines, before.descriptors, after.descriptors)
		if after.heap > before.heap+reloadsHeap {
			t.Errorf("the heap grew from %d to %d KiB", before.heap>>10, after.heap>>10)
		}
	})
}

// size is what a process takes.
type size struct {
	heap                    uint64
	goroutines, descriptors int
}

func (w *weir) size() size {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return size{m.HeapAlloc, runtime.NumGoroutine(), openDescriptors()}
}

// forget drops the lines so far, which would count as weir's memory.
func (l *logbook) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.read = nil, map[string]int{}
}

// churnFile has 50 backends that are others each time: some in name, some in address, some in both.
func churnFile(r *rand.Rand, engine string, i int, a, b *server) string {
	strategies := []string{"cyclic", "least-connections", "two-choices", "source-hash", "first", "least-latency"}
	var f strings.Builder
	fmt.Fprintf(&f, "[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = [\"127.0.0.1:0\", \"127.0.0.%d:0\"]\nstrategy = %q\nidle_timeout = \"%ds\"\n",
		engine, 2+i%2, strategies[r.IntN(len(strategies))], 60+r.IntN(5))
	fmt.Fprintf(&f, "[frontend.queue]\nsize = %d\n[frontend.health]\ninterval = \"1h\"\n[shutdown]\ndrain = \"1h\"\n", 1+r.IntN(100))
	for k := range 50 {
		name, address := fmt.Sprintf("b%d", k), a.addr()
		if r.IntN(2) == 0 {
			name = fmt.Sprintf("b%d.%d", k, i)
		}
		if r.IntN(2) == 0 {
			address = b.addr()
		}
		f.WriteString(named(name, address, fmt.Sprintf("weight = %d\nmax_connections = %d", 1+r.IntN(3), r.IntN(2)*100)))
	}
	return f.String()
}
