package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Generate puts load on the target and says how it went. When ctx ends so does the run, with the results
// so far. The error is of what kept it from beginning: errors of connections are results.
func Generate(ctx context.Context, o Options) (*Result, error) { return generate(ctx, o, newCrew) }

func generate(ctx context.Context, o Options, hire func(*run) (crew, error)) (*Result, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &run{Options: o, pattern: newPattern(), clock: time.Now()}
	if o.Count > 0 {
		r.left.Store(o.Count)
	}
	c, err := hire(r)
	if err != nil {
		return nil, fmt.Errorf("generate load: %w", err)
	}
	defer c.close()
	return r.work(ctx, c), nil
}

// run is what all workers of a run share.
type run struct {
	Options
	pattern pattern
	clock   time.Time    // what times are counted from
	begun   atomic.Int64 // on that clock; nothing is measured before
	left    atomic.Int64 // of Count, in the closed loop
}

// crew is the workers of a run: event loops on Linux, goroutines elsewhere.
type crew interface {
	// prepare opens the connections that last, and returns when all are open or have failed.
	prepare(ctx context.Context)
	// begin lets the workers work, and returns a channel that is closed when there is no more to do.
	begin() (idle <-chan struct{})
	// counts returns what was counted so far. It may be called while the workers work.
	counts() tallies
	// finish lets what has begun end, begins no more, and returns when all is done.
	finish()
	// close releases everything.
	close()
}

func (r *run) work(ctx context.Context, c crew) *Result {
	c.prepare(ctx)
	r.begun.Store(int64(r.now()))
	if ctx.Err() == nil {
		if r.Begun != nil {
			r.Begun()
		}
		r.wait(ctx, c, c.begin())
	}
	took := r.now() - time.Duration(r.begun.Load())
	c.finish()
	return r.result(c.counts(), took)
}

// wait waits until the run is over, and tells about it meanwhile.
func (r *run) wait(ctx context.Context, c crew, idle <-chan struct{}) {
	var over <-chan time.Time
	if r.Duration > 0 {
		t := time.NewTimer(r.Duration)
		defer t.Stop()
		over = t.C
	}
	var tick <-chan time.Time
	if r.Progress != nil {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		tick = t.C
	}
	p := progress{run: r}
	defer p.end()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-idle:
			return
		case <-tick:
			p.tell(c.counts().sum())
		}
	}
}

// now returns the time on the run's clock.
func (r *run) now() time.Duration { return time.Since(r.clock) }

// take takes one piece of work of the closed loop.
func (r *run) take() bool { return r.Count == 0 || r.left.Add(-1) >= 0 }

// errorPause is how long a connection of the closed loop rests when it has failed, so that a target that
// refuses is not asked a hundred thousand times a second.
const errorPause = 10 * time.Millisecond
