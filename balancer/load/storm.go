package load

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// storm is workers that connect as fast as they can.
type storm struct {
	gate sync.RWMutex // held for reading by each connection in flight
	mu   sync.Mutex
	act  *act
	grew chan struct{} // has room for one notice that act grew
	quit context.CancelFunc
	over errgroup.Group
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
		s.gate.RLock()
		name, err := d.connect()
		s.gate.RUnlock()
		s.mu.Lock()
		s.act.count(name, err)
		s.mu.Unlock()
		select {
		case s.grew <- struct{}{}:
		default:
		}
	}
}

// between does something at a moment when no connection is in flight.
func (s *storm) between(do func()) {
	s.gate.Lock()
	defer s.gate.Unlock()
	do()
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

func (s *storm) end() act {
	s.quit()
	s.over.Wait()
	return *s.act
}
