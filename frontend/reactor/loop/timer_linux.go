package loop

import "time"

// Timer is one wait of one handler, part of the handler's own memory. The zero Timer is not armed.
type Timer struct {
	at         time.Duration // on the loop's clock
	queue      *Queue
	prev, next *Timer
	handler    Expirer
}

// Expirer is a handler with timers.
type Expirer interface {
	Handler
	// Expired is told that t, which is no longer armed, is due.
	Expired(t *Timer)
}

// Queue holds timers in the order in which they are due. Timers that are armed with the same duration
// come in that order by themselves, so a queue for each limit needs no wheel and no heap.
type Queue struct {
	loop        *Loop
	first, last *Timer
}

// NewQueue returns a queue for timers armed with one duration, or nearly so.
func (l *Loop) NewQueue() *Queue {
	q := l.SpareQueue()
	l.AddQueue(q)
	return q
}

// SpareQueue is NewQueue for any goroutine: nothing fires before AddQueue.
func (l *Loop) SpareQueue() *Queue { return &Queue{loop: l} }

// AddQueue has the loop look after a queue.
func (l *Loop) AddQueue(q *Queue) { l.timers = append(l.timers, q) }

// DropQueue takes an empty queue out of the loop.
func (l *Loop) DropQueue(q *Queue) {
	for i := range l.timers {
		if l.timers[i] == q {
			l.timers = append(l.timers[:i], l.timers[i+1:]...)
			return
		}
	}
}

// Arm has h.Expired(t) called after d, counted from the beginning of this turn; an armed timer is
// armed anew. It takes longer the more timers of the queue are due later.
func (q *Queue) Arm(t *Timer, h Expirer, d time.Duration) {
	t.Stop()
	t.at, t.handler, t.queue = q.loop.now+d, h, q
	after := q.last
	for after != nil && after.at > t.at {
		after = after.prev
	}
	q.insert(t, after)
	q.loop.nextDue = min(q.loop.nextDue, t.at)
}

func (q *Queue) insert(t, after *Timer) {
	t.prev = after
	if after == nil {
		t.next, q.first = q.first, t
	} else {
		t.next, after.next = after.next, t
	}
	if t.next == nil {
		q.last = t
	} else {
		t.next.prev = t
	}
}

// Stop disarms the timer, if it is armed.
func (t *Timer) Stop() {
	q := t.queue
	if q == nil {
		return
	}
	if t.prev == nil {
		q.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		q.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.queue, t.prev, t.next = nil, nil, nil
}

// Armed says whether the timer is armed.
func (t *Timer) Armed() bool { return t.queue != nil }

// expire fires what is due. nextDue may be early, when the timer it was for has been stopped.
func (l *Loop) expire() {
	if l.now < l.nextDue {
		return
	}
	l.nextDue = never
	for _, q := range l.timers {
		for t := q.first; t != nil && t.at <= l.now; t = q.first {
			t.Stop()
			l.fire(t)
		}
		if q.first != nil {
			l.nextDue = min(l.nextDue, q.first.at)
		}
	}
}

func (l *Loop) fire(t *Timer) {
	defer l.contain(t.handler)
	t.handler.Expired(t)
}
