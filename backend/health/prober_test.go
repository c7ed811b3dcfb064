package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/backend/contain"
)

var errSick = errors.New("sick")

// script is a probe that answers by rows: "+" good, "-" bad, "?" for want of descriptors, "h" hangs
// until its context ends, "z" hangs for good. It notes when it was asked, in units of a second.
type script struct {
	row   string
	asked []float64
	begun time.Time
	end   context.CancelFunc // called when the row is over
	awake chan struct{}      // closed to end what hangs for good
}

func (s *script) probe(ctx context.Context) error {
	s.asked = append(s.asked, time.Since(s.begun).Seconds())
	if s.row == "" {
		s.end()
		return nil
	}
	verdict := s.row[0]
	s.row = s.row[1:]
	switch verdict {
	case '-':
		return errSick
	case '?':
		return fmt.Errorf("dial: %w", syscall.EMFILE)
	case 'h':
		<-ctx.Done()
		return errors.New("i/o timeout")
	case 'z':
		<-s.awake
	}
	return nil
}

// play runs p with a probe that answers by row, in fake time, and returns when it was asked and what it
// reported.
func play(t *testing.T, p Prober, row string) (asked []float64, changes []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &script{row: row, begun: time.Now(), end: cancel, awake: make(chan struct{})}
		p.Run(ctx, s.probe, func(c Change) {
			at := time.Since(s.begun).Seconds()
			changes = append(changes, fmt.Sprintf("%.1f: up %v, %v, %s", at, c.Up, c.Reason, c.Streak))
		})
		asked = s.asked
		close(s.awake)
	})
	return asked, changes
}

func always(x float64) func() float64 { return func() float64 { return x } }

// plain probes every 10 s, with the second probe at 5 s.
func plain() Prober {
	return Prober{Interval: 10 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
		InitialUp: true, Random: always(0.5)}
}

func wantEqual[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func TestProberReportsChangesOnly(t *testing.T) {
	asked, changes := play(t, plain(), "++--+---++")
	wantEqual(t, "asked", asked, []float64{0, 5, 15, 25, 35, 45, 55, 65, 75, 85, 95})
	wantEqual(t, "changes", changes, []string{"65.0: up false, sick, 3 of 3", "85.0: up true, sick, 2 of 2"})
}

func TestProberBeginsDown(t *testing.T) {
	p := plain()
	p.InitialUp = false
	p.FastInterval = 2 * time.Second
	asked, changes := play(t, p, "++")
	wantEqual(t, "asked", asked, []float64{0, 1, 11})
	wantEqual(t, "changes", changes, []string{"1.0: up true, <nil>, 2 of 2"})
}

func TestProberIsFastWhileChanging(t *testing.T) {
	p := plain()
	p.FastInterval = time.Second
	asked, changes := play(t, p, "++---++")
	wantEqual(t, "asked", asked, []float64{0, 5, 15, 16, 17, 27, 28, 38})
	wantEqual(t, "changes", changes, []string{"17.0: up false, sick, 3 of 3", "28.0: up true, sick, 2 of 2"})
}

func TestProberJitter(t *testing.T) {
	for _, c := range []struct {
		jitter int
		random float64
		want   []float64
	}{
		{20, 0.25, []float64{0, 2.25, 11.25}}, // 10 s less a tenth, and of the first a quarter
		{20, 0.75, []float64{0, 8.25, 19.25}},
		{900, 0, []float64{0, 0, 5}},
		{-3, 0.25, []float64{0, 2.5, 12.5}},
	} {
		p := plain()
		p.Jitter, p.Random = c.jitter, always(c.random)
		asked, _ := play(t, p, "++")
		wantEqual(t, fmt.Sprintf("jitter %d, random %v", c.jitter, c.random), asked, c.want)
	}
}

func TestProberTimesOut(t *testing.T) {
	asked, changes := play(t, plain(), "+hhh++")
	wantEqual(t, "asked", asked, []float64{0, 5, 15, 25, 35, 45, 55})
	wantEqual(t, "changes", changes, []string{"27.0: up false, i/o timeout, 3 of 3", "45.0: up true, i/o timeout, 2 of 2"})
}

// A timeout longer than the interval: probes follow each other, never two at once.
func TestProberLongTimeout(t *testing.T) {
	p := plain()
	p.Timeout = 15 * time.Second
	asked, _ := play(t, p, "+hh+")
	wantEqual(t, "asked", asked, []float64{0, 5, 20, 35, 45})
}

// A probe that ignores its context gets bad verdicts in time, and no second one is started beside it.
func TestProberLeavesAHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{row: "z", begun: time.Now(), end: cancel, awake: make(chan struct{})}
		var at []float64
		p := plain()
		p.Seen = func(v Verdict) { at = append(at, time.Since(s.begun).Seconds()) }
		p.Run(ctx, s.probe, func(c Change) {
			if want := "probe hangs: timeout"; c.Reason.Error() != want {
				t.Errorf("got %v, want %s", c.Reason, want)
			}
			time.AfterFunc(time.Second, func() { close(s.awake) })
		})
		wantEqual(t, "verdicts", at, []float64{2.1, 7, 17})
		wantEqual(t, "asked", s.asked, []float64{0, 25})
	})
}

func TestProberInconclusiveIsNoVerdict(t *testing.T) {
	p := plain()
	var seen strings.Builder
	p.Seen = func(v Verdict) {
		switch {
		case v.Inconclusive:
			seen.WriteString("?")
		case v.Err != nil:
			seen.WriteString("-")
		default:
			seen.WriteString("+")
		}
	}
	_, changes := play(t, p, "????--??-")
	wantEqual(t, "changes", changes, []string{"75.0: up false, sick, 3 of 3"})
	if got, want := seen.String(), "????--??-"; got != want {
		t.Errorf("seen: got %s, want %s", got, want)
	}
}

func TestProberTook(t *testing.T) {
	p := plain()
	var took []time.Duration
	p.Seen = func(v Verdict) { took = append(took, v.Took) }
	play(t, p, "+h")
	wantEqual(t, "took", took, []time.Duration{0, 2 * time.Second})
}

// Cancelled at any moment, Run returns and the cancellation counts for nothing.
func TestProberEndsWithItsContext(t *testing.T) {
	for _, c := range []struct {
		row      string
		at, ends float64
	}{
		{"++++", 7, 7},             // between probes
		{"+h", 5.5, 5.5},           // during one
		{"+z", 5.5, 5.6},           // during one that ignores it
		{"z", 2.05, 2.1},           // during the grace of one that timed out
		{"h", 0, 0},                // at once
		{"z", 6, 6},                // while waiting on for one that hangs
		{"+h", 7.000001, 7.000001}, // just after its timeout
	} {
		synctest.Test(t, func(t *testing.T) {
			seconds := func(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
			ctx, cancel := context.WithTimeout(t.Context(), seconds(c.at))
			defer cancel()
			s := &script{row: c.row, begun: time.Now(), end: cancel, awake: make(chan struct{})}
			p := plain()
			p.Fall = 1
			p.Seen = func(v Verdict) {
				if v.Err != nil && time.Since(s.begun) >= seconds(c.at) {
					t.Errorf("%s cancelled at %v: got verdict %v", c.row, c.at, v.Err)
				}
			}
			p.Run(ctx, s.probe, func(Change) {})
			if got := time.Since(s.begun); got != seconds(c.ends) {
				t.Errorf("%s cancelled at %v: ended after %v, want %v", c.row, c.at, got, c.ends)
			}
			close(s.awake)
		})
	}
}

func TestProberAlreadyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := errors.New("asked")
	Prober{Seen: func(Verdict) { t.Error(done) }}.Run(ctx, func(ctx context.Context) error { return ctx.Err() },
		func(Change) { t.Error("reported a change") })
}

func TestProberDefaults(t *testing.T) {
	asked, changes := play(t, Prober{Random: always(0.5), InitialUp: true}, "h+")
	wantEqual(t, "asked", asked, []float64{0, 2, 4})
	wantEqual(t, "changes", changes, []string{"2.0: up false, i/o timeout, 1 of 1", "2.0: up true, i/o timeout, 1 of 1"})
}

// A thousand that begin together are spread over the interval after the first probe.
func TestProberSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets = 1000
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		p := plain()
		p.Random, p.Jitter = nil, 10
		begun := time.Now()
		var inSecond [60]atomic.Int32
		var all sync.WaitGroup
		for range targets {
			all.Go(func() {
				p.Run(ctx, func(context.Context) error {
					inSecond[int(time.Since(begun).Seconds())].Add(1)
					return nil
				}, func(Change) {})
			})
		}
		all.Wait()
		for second := 1; second < 60; second++ {
			if n := inSecond[second].Load(); n < 50 || n > 200 {
				t.Errorf("second %d: got %d probes, want about %d", second, n, targets/10)
			}
		}
	})
}

// B72: a probe that panics has not found its backend well, and the next is made all the same. A panic of those who are
// told costs neither the verdict nor the change: that is told again.
func TestB72PanicOfAProbe(t *testing.T) {
	var verdicts []string
	told := 0
	guard := contain.New(nil)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		row := "++!!+"
		p := Prober{Interval: time.Second, Rise: 1, Fall: 2, InitialUp: true, Guard: guard, Seen: func(v Verdict) {
			verdicts = append(verdicts, fmt.Sprint(v.Err))
			if len(verdicts) == 1 {
				panic("Seen")
			}
		}}
		p.Run(ctx, func(context.Context) error {
			if row == "" {
				cancel()
				return nil
			}
			was := row[0]
			if row = row[1:]; was == '!' {
				panic("probe")
			}
			return nil
		}, func(c Change) {
			if told++; told == 1 {
				if c.Up || c.Reason == nil || c.Reason.Error() != "probe panicked" {
					t.Errorf("told %+v", c)
				}
				panic("report")
			}
			if !c.Up {
				t.Errorf("told %+v, want that it is up again", c)
			}
		})
	})
	if want := "<nil> <nil> probe panicked probe panicked <nil>"; strings.Join(verdicts, " ") != want {
		t.Errorf("verdicts %v, want %s", verdicts, want)
	}
	if told != 2 || guard.Count() != 4 {
		t.Errorf("told %d times, %d panics; want 2 and 4", told, guard.Count())
	}
}

// What could not be told is told with the next verdict, though that changes nothing.
func TestReportThatPanickedIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := 0
		p := Prober{Interval: time.Second, Fall: 1, InitialUp: true}
		p.Run(ctx, func(context.Context) error { return errSick }, func(c Change) {
			if told++; told == 2 {
				cancel()
				return
			}
			panic("report")
		})
		if told != 2 {
			t.Errorf("told %d times, want 2", told)
		}
	})
}
