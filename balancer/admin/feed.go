package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weir/backend/contain"
)

// feedBuffer is how many events wait for one reader: more than a reload of a large pool makes at once, and
// under 64 KiB.
const feedBuffer = 256

// Feed hands events to whoever reads them, for an [Operator] to offer. The zero Feed is ready, and has no
// readers. A slow reader stops nobody: what does not fit its buffer is dropped, and an event of kind
// "dropped" in their place tells it how many.
type Feed struct {
	guard   *contain.Guard // nil: none
	mu      sync.Mutex
	readers map[*reader]struct{}
}

// reader is one who reads, under the feed's lock.
type reader struct {
	waiting []Event
	missed  int           // after those that wait
	more    chan struct{} // holds one token while something waits
}

// Publish hands e to all readers. It never blocks.
func (f *Feed) Publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		r.offer(e)
	}
}

// Read returns the events from now on, until ctx ends; then the channel is closed.
func (f *Feed) Read(ctx context.Context) <-chan Event {
	r := &reader{more: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == nil {
		f.readers = map[*reader]struct{}{}
	}
	f.readers[r] = struct{}{}
	out := make(chan Event)
	f.guard.Go("handing on events", func() { f.pass(ctx, r, out) })
	return out
}

func (r *reader) offer(e Event) {
	if r.missed > 0 || len(r.waiting) == feedBuffer {
		r.missed++
		return
	}
	r.waiting = append(r.waiting, e)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// pass gives a reader what waits for it, as fast as it reads.
func (f *Feed) pass(ctx context.Context, r *reader, out chan<- Event) {
	defer close(out)
	defer f.leave(r)
	for {
		select {
		case <-r.more:
		case <-ctx.Done():
			return
		}
		for _, e := range f.take(r) {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}
}

// take empties the buffer of a reader.
func (f *Feed) take(r *reader) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := r.waiting
	if r.missed > 0 {
		list = append(list, dropped(r.missed, time.Now()))
	}
	r.waiting, r.missed = nil, 0
	return list
}

func (f *Feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

func dropped(n int, at time.Time) Event {
	return Event{At: at, Kind: "dropped", Count: n, Message: fmt.Sprintf("%d events were dropped: they were read too slowly", n)}
}
