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
	"weir/backend/sockopt"
	"weir/frontend/relay"
)

// Options says where a frontend listens and what rules hold for its sessions.
type Options struct {
	Name string
	// Engine is "reactor" or "copy", and EngineWhy says why, for the log.
	Engine, EngineWhy string
	// Bind holds the listening addresses. At least one.
	Bind []Bind
	// Backlog is the length of each accept queue. 0: the system's most.
	Backlog int
	// Socket is what the clients' sockets get.
	Socket sockopt.Options
	// Pool chooses the backend.
	Pool *backend.Pool
	// Dialer says how backends are connected to.
	Dialer *backend.Dialer
	// Dial takes the place of Dialer.Dial in the copy engine. nil: it does not.
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
	// QueueTimeout is how long a session waits in the pool's queue.
	QueueTimeout time.Duration
	// LeaveOnEnd makes a client that has sent nothing, and ends its stream while it waits in the queue, one
	// that has left.
	LeaveOnEnd bool
	// OnNoBackend is how a client is let go when no backend is usable or can be reached, and OnRefuse when
	// all are busy.
	OnNoBackend, OnRefuse Refusal
	// Admission decides who gets that far.
	Admission
	// Slots bounds the sessions of all frontends together. nil: no bound.
	Slots *Slots
	// Stock lends pipes and buffers to all frontends.
	Stock *relay.Stock
	Log   zerolog.Logger
}

// Bind is one listening address, as net.Listen takes it.
type Bind struct{ Network, Address string }

// Frontend is the rules of a frontend and what it counts: what its engine works with.
type Frontend struct {
	Options
	own      *Slots // MaxSessions
	learns   bool   // the pool does
	counters Counters
	noAccept atomic.Int64 // when LogNoAccept last did, in Unix nanoseconds
}

// New returns a frontend that listens nowhere yet: that is its engine's part.
func New(o Options) *Frontend {
	return &Frontend{Options: o, own: NewSlots(o.MaxSessions), learns: o.Pool != nil && o.Pool.Learns()}
}

// Counters returns what the frontend counts. It goes on changing.
func (f *Frontend) Counters() *Counters { return &f.counters }
