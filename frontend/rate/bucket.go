package rate

import (
	"sync/atomic"
	"time"
)

// Bucket bounds how many sessions begin in a second. A nil *Bucket bounds nothing. It takes no lock.
type Bucket struct {
	limit limit
	tat   atomic.Int64
}

// NewBucket returns a bucket for rate sessions a second, with burst at once after a rest (less than 1 is
// 1). With a rate of 0 or less it returns nil, no bound.
func NewBucket(rate float64, burst int) *Bucket {
	l := newLimit(rate, burst)
	if l.interval == 0 {
		return nil
	}
	b := &Bucket{limit: l}
	b.tat.Store(full)
	return b
}

// Take says whether a session may begin now, and counts it if so.
func (b *Bucket) Take(now time.Duration) bool {
	if b == nil {
		return true
	}
	for {
		tat := b.tat.Load()
		next, ok := b.limit.take(tat, int64(now))
		if !ok || b.tat.CompareAndSwap(tat, next) {
			return ok
		}
	}
}
