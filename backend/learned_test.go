package backend

import (
	"testing"
	"time"

	"weir/backend/learn"
)

// A limit that is learned does not stay low because to connect takes 0.2 ms in place of 0.04 when this
// machine is busy: the answers say that there is room.
func TestLearnedLimitIgnoresTheNoiseOfConnecting(t *testing.T) {
	s := set(t, PoolOptions{Backends: []Options{
		{Name: "db", Network: "tcp", Address: "db:1", Weight: 1, Up: true, Learn: true, MinConnections: 1, MaxConnections: 100},
	}})
	s.crowd(20_000, 20*time.Millisecond)
	if got := s.named("db").max; got != 100 {
		t.Errorf("learned limit: got %d, want 100; floors: connect %v, first byte %v", got,
			s.named("db").learned.Floor(learn.Connect), s.named("db").learned.Floor(learn.FirstByte))
	}
}

// crowd begins n sessions, as many at one time as the pool takes. The more there are the longer they take to
// connect, and all are answered in the same time.
func (s *stage) crowd(n int, answer time.Duration) {
	type session struct {
		Lease
		until time.Duration
	}
	var running []session
	for range n {
		l, _, err := s.Acquire(s.request())
		for err != nil {
			oldest := running[0]
			s.now = max(s.now, oldest.until)
			oldest.FirstByte(answer)
			oldest.Release()
			running = running[1:]
			l, _, err = s.Acquire(s.request())
		}
		l.Connected(time.Duration(40+5*len(running)) * time.Microsecond)
		running = append(running, session{l, s.now + answer})
	}
}
