package frontend

import "sync/atomic"

// Counters counts the sessions of a frontend since the start.
type Counters struct {
	// Opened and Closed count sessions; what is open now is the difference.
	Opened, Closed atomic.Uint64
	// BytesUp went to backends, BytesDown to clients. Sessions that run are not in them yet.
	BytesUp, BytesDown atomic.Uint64
	byOutcome          [numOutcomes]atomic.Uint64
}

// Of returns how many sessions ended that way.
func (c *Counters) Of(o Outcome) uint64 { return c.byOutcome[o].Load() }
