package reactor

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"weir/backend/contain"
	"weir/frontend/reactor/loop"
	"weir/frontend/relay"
)

// Supported says that this system has a reactor.
const Supported = true

// Reactor is the loops of a process.
type Reactor struct {
	cores   []*core
	cpus    atomic.Pointer[[]int] // that the cores are pinned to
	may     unix.CPUSet           // that the process may use
	running errgroup.Group
	over    chan struct{} // closed when no loop runs any more
}

// core is one loop and what its sessions share.
type core struct {
	*loop.Loop
	scratch []byte    // every read goes here first
	buffers []*buffer // free
	idle    []*session
	spare   []*attempt
	stock   *relay.Stock // of pipes
	ports   []*port      // of all servers
}

// bufferSize is how much one read takes, and the most that is kept for a peer that takes no more.
const bufferSize = 32 << 10

type buffer [bufferSize]byte

// What a core keeps for later use, at most.
const keptBuffers, keptAttempts = 64, 1024

// slab is how many sessions are made at a time, so that none pays for the allocator's rounding.
const slab = 32

// New makes n loops that do not run yet. Run them, then Close. guard keeps a panic from ending a loop; nil: nothing
// does, but for those of a session.
func New(n int, stock *relay.Stock, guard *contain.Guard) (*Reactor, error) {
	r := &Reactor{over: make(chan struct{})}
	var err error
	if r.may, err = affinity(); err != nil {
		return nil, err
	}
	for range n {
		l, err := loop.New()
		if err != nil {
			r.Close()
			return nil, err
		}
		l.Contain = func(f func()) { guard.Do("a loop of the reactor", f) }
		r.cores = append(r.cores, &core{Loop: l, scratch: make([]byte, bufferSize), stock: stock})
	}
	return r, nil
}

// lent is how many runtime processors there are for the loops, beside those that the process would have.
var lent struct {
	sync.Mutex
	n int
}

// lend changes how many there are.
func lend(n int) {
	lent.Lock()
	defer lent.Unlock()
	lent.n += n
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

// Loops is how many loops there should be: one for each core that the process may use, whether loops run or not.
func Loops() int {
	lent.Lock()
	defer lent.Unlock()
	return runtime.GOMAXPROCS(0) - lent.n
}

// Start runs the loops until Stop. While they wait unseen they hold runtime processors, so there are
// given to be as many more.
func (r *Reactor) Start() {
	lend(len(r.cores))
	for i := range r.cores {
		r.running.Go(func() error { r.run(i); return nil })
	}
}

// Stop ends the loops that Start started. The sessions must have ended.
func (r *Reactor) Stop() {
	for _, c := range r.cores {
		c.Post(c.Loop.Stop)
	}
	r.running.Wait()
	close(r.over)
	lend(-len(r.cores))
}

// Alive says whether every loop answers before ctx ends.
func (r *Reactor) Alive(ctx context.Context) bool {
	r.each(ctx, func(int, *core) {})
	return ctx.Err() == nil
}

// Close closes the loops, which do not run (any more).
func (r *Reactor) Close() {
	for _, c := range r.cores {
		c.Loop.Close()
	}
}

// each runs f on every core and waits until all have, or ctx ends. One that panics has.
func (r *Reactor) each(ctx context.Context, f func(i int, c *core)) {
	done := make(chan struct{}, len(r.cores))
	for i, c := range r.cores {
		c.Post(func() {
			defer func() { done <- struct{}{} }()
			f(i, c)
		})
	}
	for range r.cores {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

func (c *core) takeBuffer() *buffer {
	if n := len(c.buffers); n > 0 {
		b := c.buffers[n-1]
		c.buffers = c.buffers[:n-1]
		return b
	}
	return new(buffer)
}

func (c *core) putBuffer(b *buffer) {
	if len(c.buffers) < keptBuffers {
		c.buffers = append(c.buffers, b)
	}
}

func (c *core) takeSession() *session {
	if n := len(c.idle); n > 0 {
		s := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return s
	}
	sessions := new([slab]session)
	for i := range sessions[1:] {
		c.idle = append(c.idle, &sessions[i+1])
	}
	return &sessions[0]
}

func (c *core) putSession(s *session) { c.idle = append(c.idle, s) }

func (c *core) takeAttempt() *attempt {
	if n := len(c.spare); n > 0 {
		a := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return a
	}
	a := new(attempt)
	woken := func() { // made once: it allocates
		if s := a.session; s != nil && s.state == queued {
			defer loop.Contain(s)
			s.woken()
		}
	}
	a.OnWake(func() { c.Post(woken) })
	return a
}

func (c *core) putAttempt(a *attempt) {
	*a = attempt{Quest: a.Quest}
	if len(c.spare) < keptAttempts {
		c.spare = append(c.spare, a)
	}
}
