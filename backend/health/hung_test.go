package health

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A target that hangs gets its verdicts by its timeout, and the others are not late by an instant of
// (fake) time.
func TestB32HungProbeDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var all sync.WaitGroup
		defer all.Wait()
		awake := make(chan struct{})
		defer close(awake)
		for range 10 {
			hung := func(context.Context) error { <-awake; return nil }
			all.Go(func() { plain().Run(ctx, hung, func(Change) {}) })
		}
		others := make([]script, 50)
		var good sync.WaitGroup
		for i := range others {
			s := &others[i]
			*s = script{row: strings.Repeat("+", 1000), begun: time.Now()}
			good.Go(func() { plain().Run(ctx, s.probe, func(Change) { t.Error("a good target changed") }) })
		}
		good.Wait()
		for i := range others {
			wantEqual(t, "asked", others[i].asked, []float64{0, 5, 15, 25, 35, 45, 55, 65, 75, 85, 95})
		}
	})
}

// The same with the kernel: one listener that never accepts among many that do.
func TestB32HungProbeTarget(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := Prober{Interval: 50 * time.Millisecond, Timeout: 50 * time.Millisecond, Rise: 2, Fall: 3, InitialUp: true}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()

	down := make(chan Change, 1)
	hung := neverAccepts(t)
	all.Go(func() { p.Run(ctx, TCP("tcp", hung, nil), func(c Change) { down <- c }) })

	others := make([]atomic.Int32, 50)
	for i := range others {
		address := listen(t).Addr().String()
		q := p
		q.Timeout = 5 * time.Second
		q.Seen = func(v Verdict) { others[i].Add(1) }
		all.Go(func() {
			q.Run(ctx, TCP("tcp", address, nil), func(c Change) { t.Errorf("%s changed: %v", address, c.Reason) })
		})
	}

	select {
	case c := <-down:
		if c.Up || !strings.HasSuffix(c.Reason.Error(), ": i/o timeout") || c.Streak != "3 of 3" {
			t.Errorf("got %+v, want down by timeouts", c)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the hung target never went down")
	}
	// In the time of three timeouts everybody else has had two probes at least: at once, and within 50 ms.
	for i := range others {
		if n := others[i].Load(); n < 2 {
			t.Errorf("target %d: got %d verdicts, want 2 or more", i, n)
		}
	}
}
