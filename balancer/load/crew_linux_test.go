package load

import (
	"runtime"
	"testing"
	"time"
)

// mallocs returns how many objects a run of n pieces of work allocated, in the client and in the echo.
func mallocs(t *testing.T, o Options, n int64) uint64 {
	t.Helper()
	o.Count = n
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Generate(testContext(t), o)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	wantDone(t, r, n)
	return after.Mallocs - before.Mallocs
}

// The steady state allocates nothing: ten times the work needs no more than a tenth of it did.
func TestNothingIsAllocatedForEach(t *testing.T) {
	target := startEcho(t, EchoOptions{Name: "one", Loops: 1})
	for _, m := range []Mode{Connect, Pong} {
		for _, rate := range []float64{0, 20000} {
			o := Options{Mode: m, Target: target, Concurrency: 10, Greeting: true, Rate: rate}
			mallocs(t, o, 500) // fills what is kept for use again
			few, many := mallocs(t, o, 500), mallocs(t, o, 5000)
			if many > few+450 {
				t.Errorf("%s at rate %v: 500 took %d allocations and 5000 took %d", m, rate, few, many)
			}
		}
	}
}

func TestProcessorsAreRestored(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	target := startEcho(t, EchoOptions{})
	if _, err := Generate(testContext(t), Options{Mode: Connect, Target: target, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("GOMAXPROCS: got %d afterwards, want %d", after, before)
	}
}

func benchmarkMode(b *testing.B, m Mode) {
	e := startEcho(b, EchoOptions{Loops: EchoLoops()})
	b.ReportAllocs()
	o := Options{Mode: m, Target: e, Concurrency: 50, Count: int64(b.N)}
	r, err := Generate(b.Context(), o)
	if err != nil || r.Failed() > 0 {
		b.Fatal(r, err)
	}
	b.ReportMetric(r.Latency.P99, "p99-µs")
}

func BenchmarkConnect(b *testing.B) { benchmarkMode(b, Connect) }
func BenchmarkPong(b *testing.B)    { benchmarkMode(b, Pong) }

// BenchmarkRecord is what counting one answer costs.
func BenchmarkRecord(b *testing.B) {
	t := newTally()
	b.ReportAllocs()
	for b.Loop() {
		t.finish(42 * time.Microsecond)
	}
}

func BenchmarkVerify(b *testing.B) {
	p := newPattern()
	buf := append([]byte(nil), p.at(1234, chunk)...)
	b.ReportAllocs()
	b.SetBytes(chunk)
	for b.Loop() {
		if !p.match(1234, buf) {
			b.Fatal("no match")
		}
	}
}

func BenchmarkSchedule(b *testing.B) {
	s := newSchedule(&Options{Rate: 1e6})
	b.ReportAllocs()
	for b.Loop() {
		s.next()
	}
}
