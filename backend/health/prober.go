package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"weir/backend/contain"
)

// Defaults of what a Prober leaves out.
const (
	// defaultInterval is HAProxy's: with fall 3 a dead backend is noticed in 4 to 6 s.
	defaultInterval = 2 * time.Second

	// maxJitter keeps a pause from shrinking to nothing.
	maxJitter = 50
)

// Prober says how one backend is probed. It is not changed by Run, so the same one may serve many
// backends.
type Prober struct {
	// Interval is the time from the start of one probe to the start of the next; a probe that takes
	// longer is followed by the next at once, never overtaken. 0 or less is 2 s. Half of it finds a
	// dead backend twice as soon and costs twice the probes.
	Interval time.Duration
	// FastInterval takes its place while the state is about to change, to be sure sooner. 0 or less
	// is Interval.
	FastInterval time.Duration
	// Timeout is what a probe may take. 0 or less is Interval.
	Timeout time.Duration
	// Rise is how many good verdicts in a row take a backend up, Fall how many bad ones take it
	// down. Below 1 is 1. Rise also holds for a backend that begins down.
	Rise, Fall int
	// Jitter makes every interval longer or shorter by up to so many percent, at random, so that
	// backends do not drift into step. 0 or less is none, more than 50 is 50.
	Jitter int
	// InitialUp is the state before the first verdict.
	InitialUp bool
	// Random returns a number in [0, 1), to all Runs at once. nil is math/rand.
	Random func() float64
	// Seen, if not nil, is called with every verdict, also an inconclusive one, before Run acts on it.
	// It must not block.
	Seen func(Verdict)
	// Guard contains a panic of the probe, which makes a bad verdict, and of Seen and report. nil: one that tells
	// nobody.
	Guard *contain.Guard
}

// Change is a change of state.
type Change struct {
	Up bool
	// Reason is the error of the last bad verdict: why a backend went down, or what it got over. It
	// is nil for one that goes up without ever having had one.
	Reason error
	// Streak is what it took, for the log: "3 of 3".
	Streak string
}

// Run probes until ctx ends, the first time at once. It calls report with each change of state, from
// its own goroutine; report must not block.
//
// The second probe comes after a random part of the interval, so that a thousand backends that begin
// together are soon spread evenly over it.
//
// A probe has its verdict, good or bad, by Timeout and 100 ms, even if it ignores its context. Then it
// is left to itself, and until it returns no other is started: each interval brings a bad verdict
// instead. When ctx ends, Run returns as soon as a probe under way does, after 100 ms at the latest, and
// takes no verdict from it.
func (p Prober) Run(ctx context.Context, probe Probe, report func(Change)) {
	p = p.withDefaults()
	t := target{Prober: p, probe: probe, report: report, machine: NewMachine(p.Rise, p.Fall, p.InitialUp)}
	for spread := p.Random(); ; spread = 1 {
		started := time.Now()
		v := t.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		t.take(v)
		pause := time.Duration(float64(t.interval()) * spread)
		if !sleep(ctx, pause-time.Since(started)) {
			return
		}
	}
}

func (p Prober) withDefaults() Prober {
	if p.Interval <= 0 {
		p.Interval = defaultInterval
	}
	if p.FastInterval <= 0 {
		p.FastInterval = p.Interval
	}
	if p.Timeout <= 0 {
		p.Timeout = p.Interval
	}
	if p.Random == nil {
		p.Random = rand.Float64
	}
	if p.Seen == nil {
		p.Seen = func(Verdict) {}
	}
	if p.Guard == nil {
		p.Guard = contain.New(nil)
	}
	p.Rise, p.Fall = max(p.Rise, 1), max(p.Fall, 1)
	p.Jitter = min(max(p.Jitter, 0), maxJitter)
	return p
}

// target is one backend while Run probes it.
type target struct {
	Prober
	probe   Probe
	report  func(Change)
	machine Machine
	hung    *attempt // a probe that outlived its time
	lastBad error
	untold  *Change // report panicked: it is told again with the next verdict
}

// errTimeout is what a probe's context ended with when nobody called Run off.
var errTimeout = errors.New("timeout")

// ask makes a probe and waits for its verdict.
func (t *target) ask(ctx context.Context) Verdict {
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, errTimeout)
	defer cancel()
	if t.stillHangs() {
		<-ctx.Done()
		return t.hung.judge(fmt.Errorf("probe hangs: %w", errTimeout))
	}
	a := begin(ctx, t.guarded)
	v, ended := a.verdict(ctx)
	if !ended {
		t.hung = a
	}
	return v
}

// errPanicked is a bad verdict: who cannot be probed is not known to be well.
var errPanicked = errors.New("probe panicked")

func (t *target) guarded(ctx context.Context) error {
	err := errPanicked
	t.Guard.Do("a probe", func() { err = t.probe(ctx) })
	return err
}

func (t *target) stillHangs() bool {
	if t.hung == nil {
		return false
	}
	select {
	case <-t.hung.result:
		t.hung = nil
	default:
	}
	return t.hung != nil
}

// take brings a verdict before the machine.
func (t *target) take(v Verdict) {
	t.Guard.Do("counting a verdict", func() { t.Seen(v) })
	if v.Inconclusive {
		return
	}
	if v.Err != nil {
		t.lastBad = v.Err
	}
	needed := t.machine.needed()
	if t.machine.Observe(v.Err == nil) {
		t.untold = &Change{
			Up:     t.machine.Up(),
			Reason: t.lastBad,
			Streak: fmt.Sprintf("%d of %d", needed, needed),
		}
	}
	if t.untold != nil && t.Guard.Do("telling what probes have found", func() { t.report(*t.untold) }) {
		t.untold = nil
	}
}

func (t *target) interval() time.Duration {
	interval := t.Interval
	if t.machine.Changing() {
		interval = t.FastInterval
	}
	swing := float64(t.Jitter) / 100 * (2*t.Random() - 1)
	return time.Duration(float64(interval) * (1 + swing))
}

// sleep waits for d and says whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
