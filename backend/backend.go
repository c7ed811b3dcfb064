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

// ID is what a backend is known by. Whatever remembers backends goes by it: a backend that was removed and is put
// back under the same ID is the same one.
type ID struct {
	// Name stands in logs; unique in its pool.
	Name string
	// Network and Address are what net.Dial takes: "tcp" with host:port, or "unix" with a path.
	Network, Address string
}

// Options describes one backend.
type Options struct {
	// Name, Network and Address are its ID.
	Name             string
	Network, Address string
	// Weight is its share relative to the others. 0: drained, it gets no new sessions.
	Weight int
	// Backup says when it serves.
	Backup Backup
	// MaxConnections bounds its sessions at one time. 0: no limit.
	MaxConnections int
	// Learn has the pool find the limit that suits the backend, between MinConnections (at least 1) and
	// MaxConnections.
	Learn          bool
	MinConnections int
	// Disabled keeps it out altogether.
	Disabled bool
	// Up is its state before the first verdict of a probe, in a pool that is new. For one that joins a pool that
	// serves see [Pool.Reconfigure].
	Up bool
}

// ID returns what the backend is known by.
func (o *Options) ID() ID { return ID{o.Name, o.Network, o.Address} }

// Backup says when a backend serves.
type Backup uint8

// The choices.
const (
	NoBackup       Backup = iota // always
	BackupWhenFull               // while no other is usable, or all that are usable are at their limit
	BackupWhenDown               // only while no other is usable
	numBackups
)

// State is what a backend is good for.
type State string

// The states of a backend.
const (
	Up       State = "up"
	Down     State = "down"     // its probes say so, or it was not probed yet
	Ejected  State = "ejected"  // too many connections to it failed; for a time
	Drain    State = "drain"    // no new sessions: its weight is 0, or an operator says so
	Disabled State = "disabled" // kept out by the file
	Maint    State = "maint"    // an operator works on it
	Removed  State = "removed"  // the file does not have it any more
)

// Backend is one server. Its ID never changes; all else belongs to its pool, under the pool's lock.
type Backend struct {
	id   ID
	opts Options
	rank int // place in the order of the file

	tier     *tier // nil: removed
	index    int   // in tier
	incoming bool  // known to tier.incoming as well
	site     *site

	max      int          // 0: none
	learned  *learn.Limit // what max follows; nil: nothing
	admin    AdminNote
	health   Health
	ejection ejection
	failures health.Passive
	rampFrom time.Duration // slow start since; 0: none
	ramping  bool          // in Pool.ramping
	leaving  bool          // removed, and serves until others can

	upReason string    // why it came to be up
	since    time.Time // it is in its state

	active  int
	foreign int // sessions that other processes have there
	totals  Totals
}

// Totals counts what happened to a backend since the start.
type Totals struct {
	// Sessions is how many leases were given.
	Sessions uint64
	// Failed counts attempts to connect that failed, by why.
	Failed [numFailures]uint64
	// EarlyEnds counts sessions that the backend ended before it had sent a byte, to a client that had sent some.
	EarlyEnds uint64
}

// ID returns what the backend is known by.
func (b *Backend) ID() ID { return b.id }

// Name returns the backend's name, unique in its pool.
func (b *Backend) Name() string { return b.id.Name }

// Network returns "tcp" or "unix".
func (b *Backend) Network() string { return b.id.Network }

// Address returns what to dial: host:port, or the path of a unix socket.
func (b *Backend) Address() string { return b.id.Address }

func (b *Backend) removed() bool { return b.tier == nil }

func (b *Backend) state() State {
	switch {
	case b.removed():
		return Removed
	case b.opts.Disabled:
		return Disabled
	case b.admin.State == AdminMaint:
		return Maint
	case b.opts.Weight == 0 || b.admin.State == AdminDrain:
		return Drain
	case !b.health.Up:
		return Down
	case b.ejection.until > 0:
		return Ejected
	}
	return Up
}

// reason says why b is in its state.
func (b *Backend) reason() string {
	switch b.state() {
	case Removed:
		return "no longer in the configuration"
	case Disabled:
		return "disabled in the configuration"
	case Maint:
		return b.admin.Reason
	case Drain:
		if b.admin.State == AdminDrain {
			return b.admin.Reason
		}
		return "its weight is 0"
	case Down:
		return b.health.Reason
	case Ejected:
		return b.ejection.reason
	}
	return b.upReason
}

func (b *Backend) usable() bool { return b.state() == Up }

// wanted says whether the configuration wants it to serve.
func (b *Backend) wanted() bool { return b.tier != nil && !b.opts.Disabled && b.opts.Weight > 0 }

// load is how many sessions the server has from us, whoever counts them: a limit is a promise to the server, and
// not to what stands for it here.
func (b *Backend) load() int { return b.active + b.foreign + b.site.strangers }

func (b *Backend) full() bool { return b.max > 0 && b.load() >= b.max }
