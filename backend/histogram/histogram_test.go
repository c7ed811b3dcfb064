package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"
)

// native is the number of the bucket that Prometheus puts a value in: the computation of client_golang
// (histogram.go, observe), for schemas above 0.
func native(seconds float64) int {
	fraction, power := math.Frexp(seconds)
	bounds := []float64{0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144}
	return sort.SearchFloat64s(bounds, fraction) + (power-1)*perOctave
}

// edges is every duration at which something changes, and its neighbours.
func edges() (list []time.Duration) {
	for i := range Size - 1 {
		at := time.Duration(limits[i])
		list = append(list, at-1, at, at+1)
	}
	for shift := range 62 {
		for part := range time.Duration(8) {
			at := (8 + part) << shift >> 3
			list = append(list, at-1, at, at+1)
		}
	}
	return list
}

// What is observed goes where Prometheus would put it.
func TestBucketsAreThoseOfPrometheus(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	list := edges()
	for range 100000 {
		list = append(list, time.Duration(math.Exp2(random.Float64()*60)))
	}
	for _, d := range list {
		if d <= 0 {
			continue
		}
		want := min(max(native(d.Seconds())-FirstIndex, 0), Size-1)
		if got := bucketOf(uint64(d)); got != want {
			t.Errorf("%d ns: bucket %d, want %d", d, got, want)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		bucket int
		want   float64
	}{
		{0, 1.0 / (1 << 20)}, {80, 1}, {84, 2}, {82, 2 * 0.7071067811865475}, {79, 0.8408964152537144}, {Size - 2, 1 << 23}, {Size - 1, math.Inf(1)},
	} {
		if got := Bound(c.bucket); got != c.want {
			t.Errorf("Bound(%d): got %v, want %v", c.bucket, got, c.want)
		}
	}
}

func TestWhatIsOutOfRange(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-5, 0, 7, 953, math.MaxInt64 - 970} {
		h.Observe(d)
	}
	s := h.Snapshot()
	if s.Buckets[0] != 4 || s.Buckets[Size-1] != 1 || s.Count != 5 || s.Zero() != 4 {
		t.Errorf("%d in the first, %d in the last, %d in all; want 4, 1, 5", s.Buckets[0], s.Buckets[Size-1], s.Count)
	}
	if want := time.Duration(math.MaxInt64 - 10); s.Sum != want {
		t.Errorf("sum %d, want %d", s.Sum, want)
	}
	if got := s.Native(); len(got) != 1 || got[23*4+1] != 1 {
		t.Errorf("native %v, want one at %d", got, 23*4+1)
	}
}

// Every classic bucket has exactly what is no longer than its bound.
func TestFoldIsExact(t *testing.T) {
	var h Histogram
	all := edges()
	for _, d := range all {
		h.Observe(d)
	}
	s := h.Snapshot()
	for _, c := range []struct{ first, last, step, buckets int }{
		{-20, 23, 1, 44}, {-10, 12, 2, 12}, {-100, 100, 4, 11}, {-21, 0, 2, 10}, {0, 0, 1, 1}, {5, 4, 1, 0},
	} {
		folded := s.Fold(c.first, c.last, c.step)
		if len(folded) != c.buckets {
			t.Errorf("%+v: %d buckets", c, len(folded))
		}
		for _, b := range folded {
			want := 0
			for _, d := range all {
				if d.Seconds() <= b.UpTo {
					want++
				}
			}
			if b.Count != uint64(want) {
				t.Errorf("%+v: le=%v: %d, want %d", c, b.UpTo, b.Count, want)
			}
		}
	}
}

func TestNativeAndQuantile(t *testing.T) {
	var h Histogram
	for range 99 {
		h.Observe(time.Millisecond)
	}
	h.Observe(time.Second)
	s := h.Snapshot()
	if got := s.Native(); len(got) != 2 || got[native(0.001)] != 99 || got[0] != 1 {
		t.Errorf("native %v, want 99 at %d and 1 at 0", got, native(0.001))
	}
	for _, c := range []struct {
		q           float64
		least, most time.Duration
	}{{0, time.Millisecond, 1190 * time.Microsecond}, {0.5, time.Millisecond, 1190 * time.Microsecond}, {1, time.Second, time.Second}} {
		if got := s.Quantile(c.q); got < c.least || got > c.most {
			t.Errorf("Quantile(%v): got %v, want %v to %v", c.q, got, c.least, c.most)
		}
	}
	if got := new(Snapshot).Quantile(0.5); got != 0 {
		t.Errorf("Quantile of nothing: %v", got)
	}
	if got := (&Snapshot{Count: 1, Buckets: [Size]uint64{Size - 1: 1}}).Quantile(1); got != 1<<23*time.Second {
		t.Errorf("Quantile of what is too long: %v", got)
	}
}

func TestAdd(t *testing.T) {
	var a, b Histogram
	a.Observe(time.Second)
	b.Observe(time.Second)
	b.Observe(time.Minute)
	x, y := a.Snapshot(), b.Snapshot()
	x.Add(&y)
	if x.Count != 3 || x.Sum != 62*time.Second || x.Buckets[80] != 2 {
		t.Errorf("%d, %v, %d in bucket 80; want 3, 62 s, 2", x.Count, x.Sum, x.Buckets[80])
	}
}

func TestConcurrentUse(t *testing.T) {
	const goroutines, each = 8, 10000
	var h Histogram
	var g sync.WaitGroup
	for i := range goroutines {
		g.Go(func() {
			for k := range each {
				h.Observe(time.Duration(i*each+k) * time.Microsecond)
				if k%1000 == 0 {
					h.Snapshot()
				}
			}
		})
	}
	g.Wait()
	s := h.Snapshot()
	const n = goroutines * each
	if s.Count != n || s.Sum != n*(n-1)/2*time.Microsecond {
		t.Errorf("%d and %v, want %d and %v", s.Count, s.Sum, n, n*(n-1)/2*time.Microsecond)
	}
}

func TestNoAllocation(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestEdgesAreMany(t *testing.T) { // or the tests above would test nothing
	if list := slices.Compact(slices.Sorted(slices.Values(edges()))); len(list) < 1000 {
		t.Errorf("%d edges", len(list))
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	d := time.Duration(1)
	for b.Loop() {
		d = d*5&(1<<35-1) | 1
		h.Observe(d)
	}
}

func BenchmarkObserveParallel(b *testing.B) {
	var h Histogram
	b.RunParallel(func(p *testing.PB) {
		d := time.Duration(1)
		for p.Next() {
			d = d*5&(1<<35-1) | 1
			h.Observe(d)
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	for b.Loop() {
		s := h.Snapshot()
		if s.Count != 0 {
			b.Fatal()
		}
	}
}
