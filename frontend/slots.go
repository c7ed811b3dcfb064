package frontend

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Slots bounds how many sessions there are at one time. A nil *Slots bounds nothing.
type Slots struct {
	free     *semaphore.Weighted
	lastFull atomic.Int64 // when somebody was last told that none is free, in Unix nanoseconds
}

// NewSlots returns n slots. 0: nil, no bound.
func NewSlots(n int) *Slots {
	if n == 0 {
		return nil
	}
	return &Slots{free: semaphore.NewWeighted(int64(n))}
}

// tellEvery is how often, at most, full is called: at the limit every client has to wait.
const tellEvery = time.Minute

// take waits for a slot, and fails only when ctx ends. It calls full before it waits.
func (s *Slots) take(ctx context.Context, full func()) error {
	if s == nil || s.free.TryAcquire(1) {
		return nil
	}
	now, last := time.Now().UnixNano(), s.lastFull.Load()
	if now-last > int64(tellEvery) && s.lastFull.CompareAndSwap(last, now) {
		full()
	}
	return s.free.Acquire(ctx, 1)
}

func (s *Slots) give() {
	if s != nil {
		s.free.Release(1)
	}
}
