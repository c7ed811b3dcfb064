// Package contain keeps what only looks on from ending the process: a sweep, a probe, a timer, a question of the
// operator's. A panic there is a line in the log and a count, and everything else goes on.
//
// It is not for the way of a session: the engines end the one session that panicked. Start with [Guard.Do].
package contain

import (
	"runtime/debug"
	"sync/atomic"
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

// Count returns how many panics were contained.
func (g *Guard) Count() uint64 {
	if g == nil {
		return 0
	}
	return g.count.Load()
}

// caught takes nil for the end of a goroutine (runtime.Goexit), which is no panic.
func (g *Guard) caught(what string, value any) {
	if value == nil {
		return
	}
	g.count.Add(1)
	if g.report == nil {
		return
	}
	defer func() { _ = recover() }()
	g.report(Panic{What: what, Value: value, Stack: debug.Stack()})
}
