// Package contain keeps what only looks on from ending the process: a sweep, a probe, a timer, a question of the
// operator's. A panic there is a line in the log and a count, and everything else goes on.
//
// It is not for the way of a session: the engines end the one session that panicked. Start with [Guard.Do].
package contain

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Guard contains panics. A nil *Guard contains nothing: a panic goes on. It is safe for concurrent use.
type Guard struct {
	report func(Panic)
	count  atomic.Uint64
}

// Panic is one that was contained.
type Panic struct {
	// What panicked: "the sweep of frontend db".
	What  string
	Value any
	Stack []byte
}

// New returns a guard that tells report of each panic, in the goroutine that panicked. report may be nil. Should it
// panic itself, that is contained as well.
func New(report func(Panic)) *Guard { return &Guard{report: report} }

// Do calls f, and reports whether it returned. what names f for whoever reads the log.
func (g *Guard) Do(what string, f func()) (returned bool) {
	if g == nil {
		f()
		return true
	}
	defer func() {
		if !returned {
			g.caught(what, recover())
		}
	}()
	f()
	return true
}

// Go calls f in a goroutine of its own.
func (g *Guard) Go(what string, f func()) { go g.Do(what, f) }

// keepPause is how long Keep waits before it calls again what panicked: what does so at once costs a line a second.
const keepPause = time.Second

// Keep calls f, which is to work until ctx ends, and calls it again a second after it panicked, until it returns or
// ctx ends.
func (g *Guard) Keep(ctx context.Context, what string, f func(context.Context)) {
	for !g.Do(what, func() { f(ctx) }) {
		pause := time.NewTimer(keepPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// Caught counts and reports a panic that the caller has recovered, with the stack it had. A nil *Guard lets it go on.
func (g *Guard) Caught(what string, value any, stack []byte) {
	if g == nil {
		panic(value)
	}
	g.count.Add(1)
	g.tell(Panic{What: what, Value: value, Stack: stack})
}

// Count returns how many panics were contained.
func (g *Guard) Count() uint64 {
	if g == nil {
		return 0
	}
	return g.count.Load()
}

// caught takes nil for the end of a goroutine (runtime.Goexit), which is no panic.
func (g *Guard) caught(what string, value any) {
	if value != nil {
		g.Caught(what, value, debug.Stack())
	}
}

// tell reports a panic, and contains what the report does in its turn.
func (g *Guard) tell(p Panic) {
	if g.report == nil {
		return
	}
	defer func() { _ = recover() }()
	g.report(p)
}
