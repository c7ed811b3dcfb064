// Package frontend accepts clients and sees each of their sessions through, from accept to the last
// close.
//
// Two engines run sessions: [Copy] in this package, with goroutines, and package reactor, with epoll
// loops. What a phase of a session decides is the same for both and stands in session.go; how it
// ended is an [Outcome]. The package knows nothing of the file, and chooses no backend: the pool does.
// Start with copySession.handle in copy_session.go, which reads aloud.
package frontend

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/backend/contain"
	"weir/backend/sockopt"
	"weir/frontend/relay"
)

// Options says where a frontend listens and what rules hold for its sessions.
type Options struct {
	// Name is that of the frontend at the start: see Frontend.Name.
	Name string
	// Key is what a Move knows it by: it never changes. Empty: Name.
	Key string
	// Engine is "reactor" or "copy", and EngineWhy says why, for the log.
	Engine, EngineWhy string
	// Bind holds the listening addresses at the start. At least one.
	Bind []Bind
	// Inherited holds listening sockets that are there already. nil: none.
	Inherited *Inherited
	// Move takes the place of Bind and Inherited where several frontends are opened together. nil: it does not.
	Move *Move
	// Parked takes the sockets that weir has not opened while nobody accepts from them. nil: they are closed.
	Parked *Inherited
	// Closing counts the listeners of all frontends that are about to close. nil: nobody does.
	Closing *Closing
	// Pool chooses the backend.
	Pool *backend.Pool
	// Dial takes the place of Rules.Dialer.Dial in the copy engine. nil: it does not.
	Dial func(context.Context, *backend.Backend) (net.Conn, error)
	// Slots bounds the sessions of all frontends together. nil: no bound.
	Slots *Slots
	// Stock lends pipes and buffers to all frontends.
	Stock *relay.Stock
	// Ended keeps the sessions of all frontends that ended last. nil: none are kept.
	Ended *Ended
	Log   zerolog.Logger
	// Sessions says which lines of sessions are written. nil: those that Log's level lets through.
	Sessions *SessionLog
	// Guard contains panics of what is no session's: sweeps, watchers, accepting. nil: one of the frontend's own,
	// which logs them.
	Guard *contain.Guard
	// Rules holds at the start: see Frontend.Current.
	Rules Rules
}

// Rules is what may change while a frontend serves. A running session goes by the rules that hold when it
// comes to the question.
type Rules struct {
	// Backlog is the length of each accept queue. 0: the system's most.
	Backlog int
	// Socket is what the clients' sockets get.
	Socket sockopt.Options
	// Dialer says how backends are connected to.
	Dialer *backend.Dialer
	// Retries is how many attempts to connect may follow the first. 0: none.
	Retries int
	// IdleTimeout, HalfCloseTimeout and SessionTimeout end a session: without a byte either way, with
	// one side finished and the other silent, and in any case. 0: never.
	IdleTimeout, HalfCloseTimeout, SessionTimeout time.Duration
	// SessionJitter shortens each session's SessionTimeout by up to this many percent.
	SessionJitter int
	// DeadPeerTimeout ends a session of which a peer leaves data unacknowledged for that long, and answers nothing
	// else either. 0: the kernel decides. Linux only.
	DeadPeerTimeout time.Duration
	// MaxSessions bounds the sessions at one time. 0: bounded by Slots alone.
	MaxSessions int
	// QueueTimeout is how long a session waits in the pool's queue.
	QueueTimeout time.Duration
	// LeaveOnEnd makes a client that has sent nothing, and ends its stream while it waits in the queue, one
	// that has left.
	LeaveOnEnd bool
	// OnNoBackend is how a client is let go when no backend is usable or can be reached, and OnRefuse when
	// all are busy.
	OnNoBackend, OnRefuse Refusal
	// Permissions says who may connect to unix sockets. Those that are not in it are as the umask makes them.
	Permissions map[Bind]Permission
	// Admission decides who gets that far.
	Admission Admission
}

// Bind is one listening address, as net.Listen takes it.
type Bind struct{ Network, Address string }

// Frontend is the rules of a frontend and what it counts: what its engine works with.
type Frontend struct {
	Options
	name     atomic.Pointer[string]
	rules    atomic.Pointer[Rules]
	own      *Slots // Rules.MaxSessions
	learns   atomic.Bool
	landlord atomic.Pointer[Landlord] // nil: the frontend lets clients in by itself
	counters Counters
	noAccept atomic.Int64 // when LogNoAccept last did, in Unix nanoseconds
}

// New returns a frontend that listens nowhere yet: that is its engine's part.
func New(o Options) *Frontend {
	if o.Guard == nil {
		o.Guard = NewGuard(o.Log)
	}
	f := &Frontend{Options: o, own: NewSlots(0)}
	f.Options.Rules = Rules{} // nobody is to go by these
	f.Rename(o.Name)
	f.SetRules(o.Rules)
	return f
}

// Name is what it is called now.
func (f *Frontend) Name() string { return *f.name.Load() }

// Rename calls it something else.
func (f *Frontend) Rename(name string) { f.name.Store(&name) }

// Current returns the rules that hold now. They are not to be changed.
func (f *Frontend) Current() *Rules { return f.rules.Load() }

// SetRules changes the rules. Its engine's Change calls it, which has more to do.
func (f *Frontend) SetRules(r Rules) {
	f.rules.Store(&r)
	f.own.SetTogether(r.MaxSessions)
	f.learns.Store(f.Pool != nil && f.Pool.Learns())
}

// Base returns the frontend itself, for another engine.
func (f *Frontend) Base() *Frontend { return f }

// Counters returns what the frontend counts. It goes on changing.
func (f *Frontend) Counters() *Counters { return &f.counters }
