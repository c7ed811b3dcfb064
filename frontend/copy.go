package frontend

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend/relay"
)

// Copy is a frontend run with goroutines: one for each listener, and two for each session, each of
// which copies one way.
type Copy struct {
	*Frontend
	listeners []net.Listener // owned; closed by Close or the end of Serve
	roster    roster

	ctx    context.Context // ends when sessions must not go on connecting
	cancel context.CancelFunc
	done   sync.WaitGroup // sessions
}

// Open opens every listener, and accepts nobody yet. On an error nothing is left open.
func Open(ctx context.Context, o Options) (*Copy, error) {
	if o.Dial == nil {
		o.Dial = o.Dialer.Dial
	}
	c := &Copy{Frontend: New(o)}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, b := range o.Bind {
		l, err := c.listen(ctx, b)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.listeners = append(c.listeners, l)
	}
	return c, nil
}

// Close closes the listeners of a frontend that never served.
func (c *Copy) Close() {
	for _, l := range c.listeners {
		l.Close()
	}
	c.cancel()
}

// Addrs returns the listening addresses, with the ports the kernel chose.
func (c *Copy) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(c.listeners))
	for i, l := range c.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see Drain.
func (c *Copy) Serve(ctx context.Context) error {
	var g errgroup.Group
	for i, l := range c.listeners {
		c.LogListening(l.Addr())
		g.Go(func() error { c.accept(ctx, l, i); return nil })
	}
	return g.Wait()
}

// Drain waits until every session has ended. When ctx ends first the rest is cut. Call it once, after
// Serve has returned.
func (c *Copy) Drain(ctx context.Context) {
	idle := make(chan struct{})
	go func() { c.done.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		c.roster.cutAll(func(*copySession) bool { return true }, Shutdown)
		<-idle
	}
	c.cancel()
}

// Watch ends the sessions that are past their limits, until ctx ends.
func (c *Copy) Watch(ctx context.Context) {
	every := c.sweepInterval()
	if every == 0 {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			c.roster.sweep(now)
		}
	}
}

// CutBackend ends the sessions that a backend which went down still serves. One that only tries to
// reach it will find another by itself.
func (c *Copy) CutBackend(b *backend.Backend) {
	c.roster.cutAll(func(s *copySession) bool { return s.served.Load() && s.On(b) }, BackendDown)
}

const (
	// First and longest pause of an accept loop that the kernel gives no connection.
	firstPause, longestPause = 5 * time.Millisecond, time.Second
)

// accept gives every client of l, the bind-th listener, a goroutine until ctx ends. No error ends it before.
func (c *Copy) accept(ctx context.Context, l net.Listener, bind int) {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { setDeadline(l, time.Now().Add(LastCall)) })
	defer stop()
	var t trouble
	for c.waitSlot(ctx) == nil {
		client, err := l.Accept()
		if err == nil {
			t.over()
			c.start(client.(relay.Conn), bind)
			continue
		}
		c.GiveSlot()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			c.acceptWaiting(l, bind)
			return
		}
		t.pause(ctx, c.Frontend, err)
	}
}

// acceptWaiting takes in those who are still in the queue of a listener whose last call is over, however
// long that takes on a busy machine: to close it would reset them. Who comes now comes too late.
func (c *Copy) acceptWaiting(l net.Listener, bind int) {
	setDeadline(l, time.Time{})
	for range sockopt.Waiting(l) {
		if !c.TakeSlot(func() {}) {
			return
		}
		client, err := l.Accept()
		if err != nil {
			c.GiveSlot()
			return
		}
		c.start(client.(relay.Conn), bind)
	}
}

// setDeadline makes Accept of l fail from then on. What is in the queue is accepted until then.
func setDeadline(l net.Listener, at time.Time) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(at)
	}
}

// waitSlot waits until there may be one more session. Clients wait in the accept queue meanwhile.
func (c *Copy) waitSlot(ctx context.Context) error {
	free := make(chan struct{}, 1)
	wake := func() {
		select {
		case free <- struct{}{}:
		default:
		}
	}
	for !c.TakeSlot(wake) {
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// trouble is an episode in which the kernel gives no connections: no descriptors or no memory, mostly.
type trouble struct{ next time.Duration }

func (t *trouble) over() { t.next = 0 }

// pause waits, longer each time, and logs the first of an episode.
func (t *trouble) pause(ctx context.Context, f *Frontend, err error) {
	if t.next == 0 {
		f.LogNoAccept(err)
		t.next = firstPause
	}
	wait := time.NewTimer(t.next)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	t.next = min(2*t.next, longestPause)
}
