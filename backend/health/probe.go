package health

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Probe asks one backend once whether it is well: nil is yes. It must end when ctx does, leave nothing
// open, and say in its error what it did ("dial 10.0.0.5:5432: connection refused").
type Probe func(ctx context.Context) error

// Verdict is the result of one probe.
type Verdict struct {
	// Err is what was wrong; nil is good.
	Err error
	// Took is the time from the start of the probe to its result.
	Took time.Duration
	// Inconclusive says that Err tells of a want of our own (descriptors, ports, memory) and nothing
	// of the backend. Such a verdict must not change a state: running out of descriptors would
	// otherwise take every backend down at once.
	Inconclusive bool
}

// wants are the errors of a machine that has nothing left to probe with.
var wants = []error{
	syscall.EMFILE,        // descriptors of this process
	syscall.ENFILE,        // descriptors of the machine
	syscall.ENOBUFS,       // buffers, or a full queue of the network card
	syscall.ENOMEM,        // memory
	syscall.EADDRNOTAVAIL, // local ports towards this address
}

func inconclusive(err error) bool {
	for _, want := range wants {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

// grace is how long after its end a probe may still bring its own, better error. It is far more than
// a probe that minds its context needs, and not so much that it would upset an interval.
const grace = 100 * time.Millisecond

// attempt is a probe under way.
type attempt struct {
	started time.Time
	result  chan error // holds one, so that a late probe need not wait for a reader
}

func begin(ctx context.Context, probe Probe) *attempt {
	a := &attempt{started: time.Now(), result: make(chan error, 1)}
	go a.run(ctx, probe)
	return a
}

func (a *attempt) run(ctx context.Context, probe Probe) { a.result <- probe(ctx) }

// verdict waits for the result: until ctx ends and grace is over. ended says that the probe returned;
// if not, it is still running.
func (a *attempt) verdict(ctx context.Context) (v Verdict, ended bool) {
	select {
	case err := <-a.result:
		return a.judge(err), true
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case err := <-a.result:
		return a.judge(err), true
	case <-late.C:
		return a.judge(fmt.Errorf("probe hangs: %w", context.Cause(ctx))), false
	}
}

func (a *attempt) judge(err error) Verdict {
	return Verdict{Err: err, Took: time.Since(a.started), Inconclusive: inconclusive(err)}
}
