package load

import (
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// overloadEvery is how often the log may say that the server is overloaded.
const overloadEvery = time.Second

// guests are the connections of an echo server with a capacity, over all of its loops. One lock holds the
// count and its clock together: exact figures are what a capacity is for, speed is not. nil: there is no
// capacity, and nothing is counted.
type guests struct {
	log zerolog.Logger
	now func() time.Duration

	mu    sync.Mutex
	usage usage
	here  []*guest
	told  time.Duration // when the log last said so
}

// guest is one connection.
type guest struct {
	fd    int
	index int // in guests.here; -1: it has left

	// mu is held while the loop reads or sends, so that others find what was read either unread or owed.
	mu   sync.Mutex
	owed bool // an answer
}

// newGuests returns nil for a server without a capacity.
func newGuests(o *EchoOptions) *guests {
	if o.Capacity <= 0 {
		return nil
	}
	start := time.Now()
	return &guests{
		log:   o.Log,
		now:   func() time.Duration { return time.Since(start) },
		usage: usage{EchoStats: EchoStats{Capacity: o.Capacity}},
		told:  -overloadEvery,
	}
}

// enter takes in a connection. It reports false for one too many, which the caller resets.
func (g *guests) enter(fd int) (*guest, bool) {
	if g == nil {
		return nil, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	one := &guest{fd: fd, index: -1}
	if len(g.here) == g.usage.Capacity && !g.makeRoom(one) {
		return nil, false
	}
	now := g.now()
	if !g.usage.enter(now) {
		g.tell(now)
		return nil, false
	}
	one.index = len(g.here)
	g.here = append(g.here, one)
	return one, true
}

// makeRoom removes those that are gone. The kernel knows of an end before the loop that serves the
// connection has come to read it: a client that has gone and come back is not one too many because it met
// another loop. Nor is one that was gone before its loop took it in, of which it reports false.
func (g *guests) makeRoom(newcomer *guest) bool {
	for _, one := range gone(append(slices.Clone(g.here), newcomer)) {
		if one == newcomer {
			return false
		}
		g.remove(one)
	}
	return true
}

// tell says in the log that the server is overloaded.
func (g *guests) tell(now time.Duration) {
	if now-g.told < overloadEvery {
		return
	}
	g.told = now
	g.log.Warn().Int("capacity", g.usage.Capacity).Uint64("overloads", g.usage.Overloads).
		Msg("overloaded: a connection beyond the capacity was reset")
}

// leave is called before the descriptor is closed: a peer that sees the end finds the place free.
func (g *guests) leave(one *guest) {
	if g == nil || one == nil {
		return
	}
	g.mu.Lock()
	g.remove(one)
	g.mu.Unlock()
}

func (g *guests) remove(one *guest) {
	if one.index < 0 {
		return
	}
	g.usage.leave(g.now())
	last := g.here[len(g.here)-1]
	g.here[one.index], last.index = last, one.index
	g.here = g.here[:len(g.here)-1]
	one.index = -1
}

// stats returns the figures as they are now.
func (g *guests) stats() EchoStats {
	if g == nil {
		return EchoStats{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.usage.at(g.now())
}
