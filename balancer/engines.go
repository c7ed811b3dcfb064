package balancer

import (
	"context"
	"net"
	"slices"
	"sync"

	"weir/backend"
	"weir/frontend"
)

// engines is the engine that runs a frontend, and those that ran it before a reload has changed that, while they have
// sessions: new ones run on the new engine, and the old ones finish where they are. All have the same rules and counters.
//
// It is a server like each of them.
type engines struct {
	mu       sync.Mutex
	now      *running
	before   []*running
	serving  context.Context // nil before Serve
	watching context.Context // nil before Watch

	accepting, watchers, drains sync.WaitGroup
	cutting                     context.Context // ends when those of before are to be cut
	cut                         context.CancelFunc
}

// running is one engine.
type running struct {
	server
	stop    context.CancelFunc // accepting; nil before Serve
	served  chan struct{}      // closed when it accepts no more
	unwatch context.CancelFunc // nil before Watch
}

func newEngines(first server) *engines {
	e := &engines{now: &running{server: first}}
	e.cutting, e.cut = context.WithCancel(context.Background())
	return e
}

// Prepare is that of a Listening, and with next it also changes the engine, to one that listens nowhere yet.
func (e *engines) Prepare(ctx context.Context, m *frontend.Move, rules *frontend.Rules, next server) (commit, abort func(), err error) {
	leave, stay, err := e.Listening().Prepare(ctx, m, rules)
	if err != nil || next == nil {
		return func() { leave(); e.follow(rules) }, stay, err
	}
	enter, forget, err := next.Listening().Prepare(ctx, m, rules)
	if err != nil {
		stay()
		return nil, nil, err
	}
	commit = func() {
		leave()
		enter()
		e.change(next)
		e.follow(rules)
	}
	abort = func() {
		stay()
		forget()
		next.Close()
	}
	return commit, abort, nil
}

// follow has the engines of before go by the rules as well.
func (e *engines) follow(rules *frontend.Rules) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.before {
		r.Follow(rules)
	}
}

// change has another engine serve from now on.
func (e *engines) change(next server) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.now
	e.now = &running{server: next}
	if e.serving == nil { // it never served
		old.Close()
		return
	}
	e.before = append(e.before, old)
	e.serve(e.now)
	if e.watching != nil {
		e.watch(e.now)
	}
	old.stop()
	e.drains.Go(func() { e.leave(old) })
}

// leave waits until the sessions of an engine have ended.
func (e *engines) leave(old *running) {
	<-old.served
	old.Drain(e.cutting)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.before = slices.DeleteFunc(e.before, func(r *running) bool { return r == old })
	if old.unwatch != nil {
		old.unwatch()
	}
}

func (e *engines) serve(r *running) {
	ctx, stop := context.WithCancel(e.serving)
	r.stop, r.served = stop, make(chan struct{})
	e.accepting.Go(func() {
		defer close(r.served)
		defer stop()
		r.Serve(ctx)
	})
}

func (e *engines) watch(r *running) {
	ctx, stop := context.WithCancel(e.watching)
	r.unwatch = stop
	e.watchers.Go(func() { r.Watch(ctx) })
}

// all returns the engines, the present one first.
func (e *engines) all() []*running {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*running{e.now}, e.before...)
}

func (e *engines) current() server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now.server
}

// Base returns what the engines have in common.
func (e *engines) Base() *frontend.Frontend { return e.current().Base() }

// Listening is the present engine's.
func (e *engines) Listening() *frontend.Listening { return e.current().Listening() }

// Addrs are the listening addresses.
func (e *engines) Addrs() []net.Addr { return e.Listening().Addrs() }

// Counters are those of all engines.
func (e *engines) Counters() *frontend.Counters { return e.current().Counters() }

// Follow goes by other rules.
func (e *engines) Follow(rules *frontend.Rules) {
	for _, r := range e.all() {
		r.Follow(rules)
	}
}

// Serve accepts until ctx ends.
func (e *engines) Serve(ctx context.Context) error {
	e.mu.Lock()
	e.serving = ctx
	e.serve(e.now)
	e.mu.Unlock()
	<-ctx.Done()
	e.accepting.Wait()
	return nil
}

// Drain waits for the sessions of all engines.
func (e *engines) Drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, e.cut)
	defer stop()
	e.current().Drain(ctx)
	e.drains.Wait()
}

// Watch ends what is past its limits on all engines, until ctx ends.
func (e *engines) Watch(ctx context.Context) {
	e.mu.Lock()
	e.watching = ctx
	for _, r := range append([]*running{e.now}, e.before...) {
		e.watch(r)
	}
	e.mu.Unlock()
	<-ctx.Done()
	e.watchers.Wait()
}

// CutBackend ends the sessions of one backend.
func (e *engines) CutBackend(b *backend.Backend) {
	for _, r := range e.all() {
		r.CutBackend(b)
	}
}

// ForgetBackend lets go of what is known of a backend that is gone.
func (e *engines) ForgetBackend(b *backend.Backend) {
	for _, r := range e.all() {
		r.ForgetBackend(b)
	}
}

// Sessions visits those of the present engine first.
func (e *engines) Sessions(ctx context.Context, o frontend.Inspect, visit func(*frontend.Info) bool) error {
	more := true
	for _, r := range e.all() {
		err := r.Sessions(ctx, o, func(i *frontend.Info) bool { more = visit(i); return more })
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// Kill ends those that match on all engines.
func (e *engines) Kill(ctx context.Context, match func(*frontend.Info) bool, why frontend.Outcome) (n int, err error) {
	for _, r := range e.all() {
		killed, err := r.Kill(ctx, match, why)
		n += killed
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close closes the listeners of a frontend that never served.
func (e *engines) Close() { e.current().Close() }

// Suspend has nobody accepted until Resume.
func (e *engines) Suspend(ctx context.Context) error { return e.current().Suspend(ctx) }

// Resume ends Suspend.
func (e *engines) Resume() { e.current().Resume() }
