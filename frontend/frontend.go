// Package frontend accepts clients and sees each of their sessions through, from accept to the last
// close.
//
// What a session decides stands in session.go and connect.go; how it ended is an [Outcome]; who
// listens is in listen.go. It knows nothing of the file, and chooses no backend: its pool does. Start
// with Frontend.Serve, then Frontend.handle in session.go.
package frontend

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend/relay"
)

// Options says where a frontend listens and what rules hold for its sessions.
type Options struct {
	Name string
	// Bind holds the listening addresses. At least one.
	Bind []Bind
	// Backlog is the length of each accept queue. 0: the system's most.
	Backlog int
	// Socket is what the clients' sockets get.
	Socket sockopt.Options
	// Pool chooses the backend.
	Pool *backend.Pool
	// Dial opens a connection to a backend; see backend.Dialer.
	Dial func(context.Context, *backend.Backend) (net.Conn, error)
	// Retries is how many attempts to connect may follow the first. 0: none.
	Retries int
	// IdleTimeout, HalfCloseTimeout and SessionTimeout end a session: without a byte either way, with
	// one side finished and the other silent, and in any case. 0: never.
	IdleTimeout, HalfCloseTimeout, SessionTimeout time.Duration
	// SessionJitter shortens each session's SessionTimeout by up to this many percent.
	SessionJitter int
	// MaxSessions bounds the sessions at one time. 0: bounded by Slots alone.
	MaxSessions int
	// ResetRefused makes a client that gets no backend see a reset in place of an end.
	ResetRefused bool
	// Slots bounds the sessions of all frontends together. nil: no bound.
	Slots *Slots
	// Stock lends pipes and buffers to all frontends.
	Stock *relay.Stock
	Log   zerolog.Logger
}

// Bind is one listening address, as net.Listen takes it.
type Bind struct{ Network, Address string }

// Frontend is a set of listening addresses and the sessions that came through them.
type Frontend struct {
	opts      Options
	listeners []net.Listener // owned; closed by Close or StopAccepting
	own       *Slots         // MaxSessions
	counters  Counters
	roster    roster

	ctx    context.Context // ends when sessions must not go on connecting
	cancel context.CancelFunc
	done   sync.WaitGroup // sessions
}

// lastID numbers the sessions of a process.
var lastID atomic.Uint64

// Open opens every listener, and accepts nobody yet. On an error nothing is left open.
func Open(ctx context.Context, o Options) (*Frontend, error) {
	f := &Frontend{opts: o, own: NewSlots(o.MaxSessions)}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, b := range o.Bind {
		l, err := listen(ctx, b, &o)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.listeners = append(f.listeners, l)
	}
	return f, nil
}

// Name returns the frontend's name.
func (f *Frontend) Name() string { return f.opts.Name }

// Addrs returns the listening addresses, with the ports the kernel chose.
func (f *Frontend) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(f.listeners))
	for i, l := range f.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see [Frontend.Drain].
func (f *Frontend) Serve(ctx context.Context) error {
	var g errgroup.Group
	for _, l := range f.listeners {
		f.opts.Log.Info().Str("bind_on", l.Addr().String()).Msg("listening for connections")
		g.Go(func() error { f.accept(ctx, l); return nil })
	}
	return g.Wait()
}

// Drain waits until every session has ended. When ctx ends first the rest is cut. Call it once, after
// Serve has returned.
func (f *Frontend) Drain(ctx context.Context) {
	idle := make(chan struct{})
	go func() { f.done.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		f.roster.cutAll(func(*session) bool { return true }, shutdown)
		<-idle
	}
	f.cancel()
}

// Watch ends the sessions that are past their limits, until ctx ends.
func (f *Frontend) Watch(ctx context.Context) {
	every := f.sweepInterval()
	if every == 0 {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			f.roster.sweep(now)
		}
	}
}

// CutBackend ends the sessions of a backend that went down.
func (f *Frontend) CutBackend(b *backend.Backend) {
	f.roster.cutAll(func(s *session) bool { return s.chosen.Load() == b }, backendDown)
}

// Close closes the listeners of a frontend that never served.
func (f *Frontend) Close() {
	for _, l := range f.listeners {
		l.Close()
	}
	f.cancel()
}

// Counters returns what the frontend counts. It goes on changing.
func (f *Frontend) Counters() *Counters { return &f.counters }
