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

// Member is one backend as its pool describes it. A strategy speaks of it by its index: the slot that the
// pool gave it with Place.
type Member struct {
	// ID names the backend and nothing else: source-hash places it by this name, so that a backend
	// keeps its clients when others come and go. It does not change while the backend is a member.
	ID string
	// Weight is the configured weight, at least 0.
	Weight int
	// Rank is the place in the order of the file, from 0. Two members may have the same one while the pool
	// is half-way through a change: then the lower index goes first.
	Rank int
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
// allocate. Place, Remove and Update take O(log n), so that a pool of 10,000 members can be changed bit by
// bit between the sessions.
type Strategy interface {
	// Place makes i a member, or changes what is said of it: its weight, its rank. Indices are small, and
	// are used again after Remove. A new member is not eligible, and its turn begins when it is placed or
	// first eligible, whatever was at i before: it gets no burst for the time that it was not there. A
	// member that was there keeps its turn, its counts and its averages.
	Place(i int, m Member)
	// Remove ends the membership of i.
	Remove(i int)
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

// Tabled is a strategy that goes by a table of all members, which takes too long to make while the sessions
// of a pool wait for its lock.
type Tabled interface {
	// Rebuild returns nil when the table is up to date. Otherwise it notes who is a member, and returns
	// compute, which makes the table of these, is called without the lock, and returns install, which is
	// called with the lock and puts the table in place. Between the three the strategy may be used and
	// changed as ever: it goes by the table that it has, and what changes makes the new table out of date
	// at once. Of two that are made at the same time the one begun later stays.
	Rebuild() (compute func() (install func()))
}

// New returns the strategy of that name (a canonical name or an alias), without members. random returns
// uniformly distributed bits.
func New(name string, random func() uint64) (Strategy, error) {
	switch name {
	case "cyclic", "round-robin":
		return new(cyclic), nil
	case "least-connections", "leastconn":
		return new(leastConnections), nil
	case "two-choices":
		return &twoChoices{random: random}, nil
	case "source-hash":
		return new(sourceHash), nil
	case "first":
		return new(first), nil
	case "least-latency":
		return new(leastLatency), nil
	}
	return nil, fmt.Errorf("unknown strategy %q", name)
}

// grow makes list long enough to have an index i.
func grow[T any](list []T, i int, fill T) []T {
	for len(list) <= i {
		list = append(list, fill)
	}
	return list
}
