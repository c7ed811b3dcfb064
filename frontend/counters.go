package frontend

import (
	"sync/atomic"

	"weir/backend/histogram"
)

// Counters counts the sessions of a frontend since the start.
type Counters struct {
	// Opened and Closed count sessions; what is open now is the difference.
	Opened, Closed atomic.Uint64
	// BytesUp went to backends, BytesDown to clients. Sessions that run are not in them yet.
	BytesUp, BytesDown atomic.Uint64
	byOutcome          [numOutcomes]atomic.Uint64
	// Connect is how long the attempts to connect took that succeeded. QueueWait is how long sessions waited
	// in the queue that had to, those included that left it in vain. Length is from accept to the end, of
	// those that were let in.
	Connect, QueueWait, Length histogram.Histogram
}

// Of returns how many sessions ended that way.
func (c *Counters) Of(o Outcome) uint64 { return c.byOutcome[o].Load() }
