package load

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// storm is workers that connect as fast as they can.
type storm struct {
	gate   sync.RWMutex // held for reading by each connection in flight
	mu     sync.Mutex
	before *act // the turn
	act    *act
	grew   chan struct{} // has room for one notice that act grew
	quit   context.CancelFunc
	over   errgroup.Group
}

func (d *demo) storm(title string) *storm {
	ctx, quit := context.WithCancel(d.ctx)
	s := &storm{act: d.begin(title), grew: make(chan struct{}, 1), quit: quit}
	for range demoWorkers {
		s.over.Go(func() error { s.rage(ctx, d); return nil })
	}
	return s
}

func (s *storm) rage(ctx context.Context, d *demo) {
	for ctx.Err() == nil {
		s.one(d)
		select {
		case s.grew <- struct{}{}:
		default:
		}
	}
}

// one makes one connection, and counts it before anybody can take a turn.
func (s *storm) one(d *demo) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	name, err := d.connect()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.act.count(name, err)
}

// turn does something at a moment when no connection is in flight, and counts anew from there.
func (s *storm) turn(title string, do func()) {
	s.gate.Lock()
	defer s.gate.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.act = s.act, &act{title: title, served: map[string]int{}}
}

// more waits for n further connections.
func (s *storm) more(ctx context.Context, n int) error {
	goal := s.total() + n
	for s.total() < goal {
		select {
		case <-s.grew:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *storm) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.act.total
}

// end returns what was counted before the turn, and after it.
func (s *storm) end() (before, after *act) {
	s.quit()
	s.over.Wait()
	return s.before, s.act
}
