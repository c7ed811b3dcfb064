package run

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"weir/balancer"
)

// Signals are those that a weir obeys, caught from the first moment on: one that comes early is not to end it.
//
// What ends it has a channel of its own, so that neither a flood of the others nor a reload that takes its time keeps
// it waiting.
type Signals struct{ end, change, reopen chan os.Signal }

// endSignals end weir: gently the first time, at once the second.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// Catch begins to catch signals, until Release or Pass. It is the first thing that main does.
//
// From then on none is lost: what comes before there is a balancer waits in its channel, so that SIGTERM ends weir
// in good order, SIGHUP reloads, and SIGUSR2 upgrades once it serves. Before that, from exec until Go has
// initialized the packages (some milliseconds), a signal still does what it does to any process, and nothing in
// this process can change that: the runtime's handlers, which it installs before any Go code runs, end the process
// with every signal that nobody has asked for. What can is whoever starts weir, for what execve(2) keeps holds
// in that time, too: a signal that is blocked waits, for Go honours the mask that it was started with, and unblocks
// what it is asked to catch on a thread of its own; and SIGHUP or SIGINT that is ignored stays ignored until here.
// Other signals that are ignored are not, for the runtime installs its handlers for them all the same.
//
// An upgrade does not block any for its successor: the mask would stay with every thread of it, and go on to all that
// it starts. A successor that is killed in its first moments costs nothing but the upgrade, for the process before it
// goes on.
func Catch() *Signals {
	s := &Signals{make(chan os.Signal, 2), make(chan os.Signal, 8), make(chan os.Signal, 1)}
	signal.Notify(s.end, endSignals...)
	if len(changeSignals) > 0 { // none would mean all
		signal.Notify(s.change, changeSignals...)
	}
	signal.Notify(s.reopen, balancer.SignalReopen) // without a log file too, or it would end weir
	return s
}

// Release lets signals do again what they do to any process.
func (s *Signals) Release() {
	for _, c := range s.all() {
		signal.Stop(c)
	}
}

func (s *Signals) all() []chan os.Signal { return []chan os.Signal{s.end, s.change, s.reopen} }

// Pass is Release for a command that does not run a balancer, and wants of the signals only those: one of them that has
// come already goes to the channel, and any other does now what it does to any process.
func (s *Signals) Pass(to chan<- os.Signal, wanted ...os.Signal) {
	if s == nil {
		return
	}
	s.Release()
	for _, c := range s.all() {
		for len(c) > 0 {
			came := <-c
			if !slices.Contains(wanted, came) {
				raise(came)
				continue
			}
			select {
			case to <- came:
			default: // it has as many as it takes
			}
		}
	}
}

type signalsKey struct{}

// With hands signals on to whoever is given the context.
func (s *Signals) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, signalsKey{}, s)
}

// Caught returns what With has put into ctx, or nil.
func Caught(ctx context.Context) *Signals {
	s, _ := ctx.Value(signalsKey{}).(*Signals)
	return s
}
