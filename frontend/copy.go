package frontend

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend/relay"
)

// Copy is a frontend run with goroutines: one for each listener, and two for each session, each of
// which copies one way.
type Copy struct {
	*Frontend
	roster  roster
	changed chan struct{} // tells Watch of new limits
	letting string        // what let does, for the guard

	gate  sync.RWMutex  // held by who accepts and lets in; see Suspend
	hasty chan struct{} // closed when those are not to wait on who were accepted and not let in

	listening *Listening
	serving   context.Context // set by Serve

	opening sync.Mutex
	open    map[net.Listener]bool // that somebody accepts from

	accepting sync.WaitGroup
	ctx       context.Context // ends when sessions must not go on connecting
	cancel    context.CancelFunc
	done      sync.WaitGroup // sessions
}

// Open opens every listener, and accepts nobody yet. On an error nothing is left open.
func Open(ctx context.Context, o Options) (*Copy, error) {
	c := NewCopy(ctx, New(o), &o)
	if err := c.listening.Open(ctx, &o); err != nil {
		c.cancel()
		return nil, err
	}
	return c, nil
}

// NewCopy returns an engine for a frontend, which may have had another before. It listens nowhere yet: see Listening.
func NewCopy(ctx context.Context, f *Frontend, o *Options) *Copy {
	c := &Copy{Frontend: f, changed: make(chan struct{}, 1), hasty: make(chan struct{}), open: make(map[net.Listener]bool), letting: "letting in a client of frontend " + f.Name()}
	c.listening = NewListening(f, c, o)
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

// Listening returns the addresses that it listens on.
func (c *Copy) Listening() *Listening { return c.listening }

// Addrs returns the listening addresses, with the ports the kernel chose.
func (c *Copy) Addrs() []net.Addr { return c.listening.Addrs() }

// Follow is Opener's.
func (c *Copy) Follow(*Rules) {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Close closes the listeners of a frontend that never served.
func (c *Copy) Close() {
	c.listening.Close()
	c.cancel()
}

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see Drain.
func (c *Copy) Serve(ctx context.Context) error {
	c.serving = ctx
	c.listening.Begin()
	<-ctx.Done()
	c.accepting.Wait()
	c.listening.End()
	return nil
}

// Drain waits until every session has ended. When ctx ends first the rest is cut. Call it once, after
// Serve has returned.
func (c *Copy) Drain(ctx context.Context) {
	idle := make(chan struct{})
	go func() { c.done.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		close(c.hasty)
		c.roster.cutAll(func(*copySession) bool { return true }, Shutdown)
		<-idle
	}
	c.cancel()
}

const forever = time.Duration(math.MaxInt64)

// contains returns what keeps a panic of the frontend's sweep, or the like, from being more than that one's end. It
// reports whether there was none.
func (c *Copy) contains(what string) func(func()) bool {
	what += " of frontend " + c.Name()
	return func(f func()) bool { return c.Guard.Do(what, f) }
}

// CutBackend ends the sessions that a backend which went down still serves. One that only tries to
// reach it will find another by itself.
func (c *Copy) CutBackend(b *backend.Backend) {
	c.roster.cutAll(func(s *copySession) bool { return s.served.Load() && s.On(b) }, BackendDown)
}

// ForgetBackend has nothing to do here.
func (c *Copy) ForgetBackend(*backend.Backend) {}

const (
	// First and longest pause of an accept loop that the kernel gives no connection.
	firstPause, longestPause = 5 * time.Millisecond, time.Second
)

// accept gives every client of a listener a goroutine until ctx ends. No error ends it before.
func (c *Copy) accept(ctx context.Context, d *copyListener, l net.Listener) {
	defer l.Close()
	defer c.opens(l)()
	stop := context.AfterFunc(ctx, func() { setDeadline(l, time.Now().Add(LastCall)) })
	defer stop()
	var t trouble
	free := make(chan struct{}, 1)
	wake := func() {
		select {
		case free <- struct{}{}:
		default:
		}
	}
	for {
		client, err := c.acceptOne(d, l, wake)
		switch {
		case err == nil:
			t.over()
			if client != nil {
				c.waitSlot(ctx, client, d, free, wake)
			}
		case errors.Is(err, net.ErrClosed) || ctx.Err() != nil:
			c.acceptWaiting(d, l)
			return
		case !errors.Is(err, os.ErrDeadlineExceeded): // or Suspend has ended the wait
			t.pause(ctx, c.Frontend, err)
		}
	}
}

// acceptOne accepts a client and lets it in, or returns it if there may be no more.
func (c *Copy) acceptOne(d *copyListener, l net.Listener, wake func()) (relay.Conn, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	client, err := l.Accept()
	if err != nil {
		return nil, err
	}
	if !c.TakeSlot(wake) {
		return client.(relay.Conn), nil
	}
	return nil, c.let(client.(relay.Conn), d)
}

// acceptWaiting takes in those who are still in the queue of a listener whose last call is over, however
// long that takes on a busy machine: to close it would reset them. Who comes now comes too late.
func (c *Copy) acceptWaiting(d *copyListener, l net.Listener) {
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
		c.let(client.(relay.Conn), d)
	}
}

// errPanicked is why a client was not let in. The guard has logged more.
var errPanicked = errors.New("letting in a client panicked")

// let begins the session of a client. The net package gives those of an inherited listener options of its own, and
// elsewhere than on Linux those that the listener was opened with.
func (c *Copy) let(client relay.Conn, d *copyListener) error {
	letIn := c.Guard.Do(c.letting, func() {
		if t, ok := client.(*net.TCPConn); ok && d.sets.Load() {
			c.Current().Socket.Set(t)
		}
		c.start(client, *d.bind.Load())
	})
	if !letIn {
		c.turnOut(client)
		return errPanicked
	}
	return nil
}

// setDeadline makes Accept of l fail from then on. What is in the queue is accepted until then.
func setDeadline(l net.Listener, at time.Time) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(at)
	}
}

// waitSlot waits until there may be one more session. One client waits with it, and the others in the accept
// queue. When ctx ends that one is let in beyond the limit, for it cannot be put back.
//
// To take the slot before there is a client would keep it from other listeners.
func (c *Copy) waitSlot(ctx context.Context, client relay.Conn, d *copyListener, free <-chan struct{}, wake func()) {
	for !c.letWaiting(client, d, wake) {
		select {
		case <-free:
		case <-ctx.Done():
			c.ForceSlot()
			c.let(client, d)
			return
		}
	}
}

// letWaiting lets a client in that waits, or leaves it to whoever waits for the landlord's word.
func (c *Copy) letWaiting(client relay.Conn, d *copyListener, wake func()) (over bool) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.landlord.Load() != nil {
		c.done.Add(1)
		go c.letLater(client, d)
		return true
	}
	if !c.TakeSlot(wake) {
		return false
	}
	c.let(client, d)
	return true
}

// letLater lets a client in that was accepted before another process took the place of this one, when there may be
// one more of both.
func (c *Copy) letLater(client relay.Conn, d *copyListener) {
	defer c.done.Done()
	free := make(chan struct{}, 1)
	from := ClientAddress(client.RemoteAddr())
	for {
		answers, withdraw := c.askSlot(from.Addr(), free)
		select {
		case <-c.hasty:
			withdraw()
			client.Close()
			return
		case a := <-answers:
			if c.answer(a, client, d, from) {
				return
			}
		case <-free:
		}
	}
}

// askSlot asks the landlord whether a client may be let in, or, if there is none any more, takes a slot.
func (c *Copy) askSlot(client netip.Addr, free chan struct{}) (answers chan SlotAnswer, withdraw func()) {
	answers = make(chan SlotAnswer, 1)
	if l := c.landlord.Load(); l != nil {
		return answers, l.Ask(client, func(a SlotAnswer) { answers <- a })
	}
	wake := func() {
		select {
		case free <- struct{}{}:
		default:
		}
	}
	if c.TakeSlot(wake) {
		answers <- slotTaken
	}
	return answers, func() {}
}

// answer does what the answer says, and reports false if it is none.
func (c *Copy) answer(a SlotAnswer, client relay.Conn, d *copyListener, from netip.AddrPort) bool {
	switch a {
	case SlotLost:
		return false
	case slotTaken:
		c.let(client, d)
	case SlotGranted:
		c.own.lent()
		c.Slots.lent()
		now := time.Now()
		c.begin(client, from, c.admitLent(from, *d.bind.Load(), now), now)
	default:
		why := TooFast
		if a == SlotTooMany {
			why = TooMany
		}
		c.Frontend.turnAway(from, time.Now(), why)
		reset(client)
	}
	return true
}

// Suspend has nobody accepted any more until Resume; when it returns nobody is. Clients wait in the accept queue.
func (c *Copy) Suspend(context.Context) error {
	c.eachOpen(func(l net.Listener) { setDeadline(l, longAgo) })
	c.gate.Lock()
	return nil
}

// Resume ends Suspend.
func (c *Copy) Resume() {
	c.eachOpen(func(l net.Listener) { setDeadline(l, time.Time{}) })
	c.gate.Unlock()
}

// opens notes that somebody accepts from l, until closed is called.
func (c *Copy) opens(l net.Listener) (closed func()) {
	c.opening.Lock()
	defer c.opening.Unlock()
	c.open[l] = true
	return func() {
		c.opening.Lock()
		defer c.opening.Unlock()
		delete(c.open, l)
	}
}

func (c *Copy) eachOpen(do func(net.Listener)) {
	c.opening.Lock()
	defer c.opening.Unlock()
	for l := range c.open {
		do(l)
	}
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
