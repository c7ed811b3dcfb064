package load

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"weir/frontend/reactor/loop"
)

// loops is the crew of event loops: one goroutine each, and none for a connection.
type loops struct {
	workers []*worker
	running sync.WaitGroup
	idle    chan struct{} // closed when no worker has anything left to do
	restore func()
}

// newCrew starts the loops. They wait for work.
func newCrew(r *run) (crew, error) {
	ls := &loops{idle: make(chan struct{}), restore: func() {}}
	busy := new(atomic.Int32)
	busy.Store(int32(r.Loops))
	for i := range r.Loops {
		l, err := loop.New()
		if err != nil {
			ls.close()
			return nil, err
		}
		w := newWorker(r, l, i)
		w.exhausted = func() {
			if busy.Add(-1) == 0 {
				close(ls.idle)
			}
		}
		ls.workers = append(ls.workers, w)
	}
	ls.restore = moreProcessors(r.Loops)
	for _, w := range ls.workers {
		ls.running.Go(w.Run)
	}
	return ls, nil
}

func (ls *loops) prepare(ctx context.Context) {
	for _, w := range ls.workers {
		w.Post(w.prepare)
	}
	for _, w := range ls.workers {
		select {
		case <-w.prepared:
		case <-ctx.Done():
			return
		}
	}
}

func (ls *loops) begin() <-chan struct{} {
	for _, w := range ls.workers {
		w.Post(w.begin)
	}
	return ls.idle
}

func (ls *loops) counts() tallies {
	copies := make(chan tallies)
	for _, w := range ls.workers {
		w.Post(func() {
			t := newTallies(len(w.counts))
			t.add(w.counts)
			go func() { copies <- t }() // a loop never waits
		})
	}
	all := newTallies(len(ls.workers[0].counts))
	for range ls.workers {
		all.add(<-copies)
	}
	return all
}

func (ls *loops) finish() {
	for _, w := range ls.workers {
		w.Post(w.finish)
	}
	for _, w := range ls.workers {
		<-w.finished
	}
}

func (ls *loops) close() {
	for _, w := range ls.workers {
		w.Post(w.Stop)
	}
	ls.running.Wait()
	for _, w := range ls.workers {
		w.close()
	}
	ls.restore()
}

// processors guards the number of the runtime's processors, which is read and then written.
var processors sync.Mutex

// moreProcessors gives the runtime n more processors, which loops hold while they wait unseen, until
// restore is called.
func moreProcessors(n int) (restore func()) {
	add := func(n int) {
		processors.Lock()
		defer processors.Unlock()
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0)+n, 1))
	}
	add(n)
	return func() { add(-n) }
}
