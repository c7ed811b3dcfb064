// Package backend holds the servers that connections are forwarded to: the [Pool] a frontend chooses
// from, the [Lease] on one slot of one [Backend], and the dialling of it.
//
// It knows nothing of clients' sockets and nothing of the file. Start with Pool.Acquire.
package backend

import (
	"time"

	"weir/backend/health"
	"weir/backend/learn"
)

// Options describes one backend.
type Options struct {
	// Name stands in logs; unique in its pool.
	Name string
	// Network and Address are what net.Dial takes: "tcp" with host:port, or "unix" with a path.
	Network, Address string
	// Weight is its share relative to the others. 0: drained, it gets no new sessions.
	Weight int
	// Backup makes it serve only when no other is usable.
	Backup bool
	// MaxConnections bounds its sessions at one time. 0: no limit.
	MaxConnections int
	// Learn has the pool find the limit that suits the backend, between MinConnections (at least 1) and
	// MaxConnections.
	Learn          bool
	MinConnections int
	// Disabled keeps it out altogether.
	Disabled bool
	// Up is its state before the first verdict of a probe.
	Up bool
}

// State is what a backend is good for.
type State string

// The states of a backend.
const (
	Up       State = "up"
	Down     State = "down"     // its probes say so
	Ejected  State = "ejected"  // too many connections to it failed; for a time
	Drain    State = "drain"    // weight 0: no new sessions
	Disabled State = "disabled" // kept out by the file
	Maint    State = "maint"    // an operator works on it
	Removed  State = "removed"  // the file does not have it any more
)

// Backend is one server. Its name and address never change; all else belongs to its pool, under the
// pool's lock.
type Backend struct {
	name, network, address string

	tier     *tier
	index    int // in tier
	weight   int
	max      int          // 0: none
	learned  *learn.Limit // what max follows; nil: nothing
	disabled bool
	removed  bool
	admin    AdminState

	up           bool
	reason       string // of the last change
	since        time.Time
	ejectedUntil time.Duration // 0: not ejected
	rampFrom     time.Duration // slow start since; 0: none
	failures     health.Passive

	active int
	totals Totals
}

// Totals counts what happened to a backend since the start.
type Totals struct {
	// Sessions is how many leases were given.
	Sessions uint64
	// Failed counts attempts to connect that failed, by why.
	Failed [numFailures]uint64
}

// Name returns the backend's name, unique in its pool.
func (b *Backend) Name() string { return b.name }

// Network returns "tcp" or "unix".
func (b *Backend) Network() string { return b.network }

// Address returns what to dial: host:port, or the path of a unix socket.
func (b *Backend) Address() string { return b.address }

func (b *Backend) state() State {
	switch {
	case b.removed:
		return Removed
	case b.disabled:
		return Disabled
	case b.admin == AdminMaint:
		return Maint
	case b.weight == 0 || b.admin == AdminDrain:
		return Drain
	case !b.up:
		return Down
	case b.ejectedUntil > 0:
		return Ejected
	}
	return Up
}

func (b *Backend) usable() bool { return b.state() == Up }

func (b *Backend) full() bool { return b.max > 0 && b.active >= b.max }
