// Package strategy chooses a backend for a session.
//
// A [Strategy] is pure: no I/O, no log, no clock and no lock of its own. The pool that owns it calls
// it under the pool's lock, tells it of every change with Update, and asks it with Pick. One
// strategy a file; start with cyclic.go.
package strategy

import (
	"fmt"
	"time"
)

// Member is one backend as a strategy knows it for good. Members are spoken of by their index in the
// list given to [New].
type Member struct {
	// ID names the backend and nothing else: source-hash places it by this name, so that a backend
	// keeps its clients when others come and go.
	ID string
	// Weight is the configured weight, at least 0.
	Weight int
}

// Load is the state of one member that changes.
type Load struct {
	// Eligible says that it may be picked: usable, and below its limit.
	Eligible bool
	// Weight is its effective weight now, in units of 1/WeightUnit of a configured 1 so that slow
	// start has steps to climb. An eligible member has at least 1.
	Weight int
	// Active is the number of sessions it serves.
	Active int
}

// WeightUnit is the effective weight of a member configured with weight 1.
const WeightUnit = 100

// Request is what a session brings to the choice.
type Request struct {
	// Key is a hash of what identifies the client (its address, without the port).
	Key uint64
	// Now is the time since an arbitrary start, from a monotonic clock.
	Now time.Duration
	// Tried holds members that are not to be picked again for this session. It is short.
	Tried []int
}

// Strategy chooses among the eligible members. It is not safe for concurrent use. Update and Pick do not
// allocate.
type Strategy interface {
	// Update says what is now true of member i. Before the first Update a member is not eligible.
	Update(i int, l Load)
	// Pick returns the member to use and takes its turn as used, or -1 when none is eligible but
	// those tried. The caller counts the session and says so with Update.
	Pick(r *Request) int
	// Next returns what Pick would return now, and takes no turn: see next.go.
	Next(r *Request) int
	// Standing says in words what the choice for r goes by, as far as it is about member i, which is
	// eligible: see standing.go. It allocates, and so may Next.
	Standing(r *Request, i int) string
}

// Observer is a strategy that goes by latency.
type Observer interface {
	// Observe tells how long a connection to member i took to open.
	Observe(i int, connect, now time.Duration)
}

// New returns the strategy of that name (a canonical name or an alias) over members, none of them
// eligible yet. random returns uniformly distributed bits.
func New(name string, members []Member, random func() uint64) (Strategy, error) {
	switch name {
	case "cyclic", "round-robin":
		return newCyclic(members), nil
	case "least-connections", "leastconn":
		return newLeastConnections(members), nil
	case "two-choices":
		return newTwoChoices(members, random), nil
	case "source-hash":
		return newSourceHash(members), nil
	case "first":
		return newFirst(members), nil
	case "least-latency":
		return newLeastLatency(members), nil
	}
	return nil, fmt.Errorf("unknown strategy %q", name)
}
