//go:build linux

package balancer_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// strained is a backend that answers one byte with one byte. Up to its capacity that takes what its work
// takes, and beyond it the longer, the more there are.
type strained struct {
	*server
	capacity, now, peak atomic.Int64
}

// work is the time of one answer, long enough for the noise of a busy machine to be little of it.
const work = 50 * time.Millisecond

func newStrained(t *testing.T, capacity int) *strained {
	t.Helper()
	s := &strained{server: newServer(t)}
	s.capacity.Store(int64(capacity))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			n := s.now.Add(1)
			s.peak.Store(max(s.peak.Load(), n))
			serving.Go(func() { s.answer(c, n) })
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return s
}

func (s *strained) answer(c net.Conn, active int64) {
	defer c.Close()
	defer s.now.Add(-1)
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return
	}
	capacity := s.capacity.Load()
	<-time.After(work * time.Duration(max(active, capacity)) / time.Duration(capacity))
	io.WriteString(c, "k")
	io.Copy(io.Discard, c)
}

// A limit that learns grows while the answers take the same time, falls when they take longer, and stays within
// its bounds. How well it does so is tested in backend/learn.
func TestLearnedLimit(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const least, most, ample, scarce = 4, 24, 1000, 2
		s := newStrained(t, ample)
		w := startWeir(t, engine, "", noProbes+queueTable(1000)+
			to(s.addr(), `max_connections = "auto"`, fmt.Sprintf("min = %d\nmax = %d", least, most)))
		limit := func() int {
			got := w.b.Pool("f").Snapshot()[0].Max
			if got < least || got > most {
				t.Fatalf("the limit is %d, want %d to %d", got, least, most)
			}
			return got
		}
		if got := limit(); got != least {
			t.Errorf("the limit is %d before anything is known, want %d", got, least)
		}
		stop := w.demand(2 * most)
		defer stop()
		eventually(t, "the limit to grow", func() bool { return limit() >= 2*least })
		s.capacity.Store(scarce)
		eventually(t, "the limit to fall", func() bool { return limit() <= least+2 })
		if peak := s.peak.Load(); peak > most {
			t.Errorf("the backend saw %d connections at one time, want at most %d", peak, most)
		}
	})
}

// demand keeps that many clients coming, each as soon as it was served, until stop.
func (w *weir) demand(clients int) (stop func()) {
	var over atomic.Bool
	var coming sync.WaitGroup
	for range clients {
		coming.Go(func() {
			for !over.Load() {
				w.visitOnce()
			}
		})
	}
	return func() { over.Store(true); coming.Wait() }
}

func (w *weir) visitOnce() {
	c, err := quickDialer(patience).Dial("tcp", w.addr)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "x")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "k" || err != nil {
		w.t.Errorf("a client got %q, %v; want to be served", got, err)
	}
}
