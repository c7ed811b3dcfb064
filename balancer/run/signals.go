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
var endSignals = []os.Signal{syscall.SIGTERM, os.Interrupt}

// Catch begins to catch signals, until Release or Pass. It is the first thing that main does.
//
// From then on none is lost: what comes before there is a balancer waits in its channel, so that SIGTERM ends weir
// in good order, SIGHUP reloads, and SIGUSR2 upgrades once it serves.
//
// Before that, from exec until Go has initialized the packages (some milliseconds), nothing in this process can keep
// SIGHUP, SIGINT or SIGTERM from ending it: the runtime's handlers, which are there before any Go code runs, do so with
// each that nobody has asked for. A signal mask that is inherited does not help, for the runtime takes these three out
// of it (blockableSig in runtime/signal_unix.go). What does, as execve(2) keeps it, is that whoever starts weir ignores
// SIGHUP and SIGINT, as nohup does with the former: they stay ignored until here, and are caught from here on. SIGUSR1
// and SIGUSR2 do nothing in that time.
//
// An upgrade cannot have its successor ignore them, for it would have to ignore them itself meanwhile. A successor that
// is ended in its first moments costs nothing but the upgrade: the process before it goes on.
func Catch() *Signals {
	s := &Signals{make(chan os.Signal, 2), make(chan os.Signal, 8), make(chan os.Signal, 1)}
	signal.Notify(s.reopen, balancer.SignalReopen) // without a log file too, to say so
	signal.Notify(s.end, endSignals...)
	if len(changeSignals) > 0 { // none would mean all
		signal.Notify(s.change, changeSignals...)
	}
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
