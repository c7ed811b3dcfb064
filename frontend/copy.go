package frontend

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
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
	gate    sync.RWMutex  // held by who accepts and lets in; see Suspend
	hasty   chan struct{} // closed when those are not to wait on who were accepted and not let in

	mu      sync.Mutex
	doors   []*door
	serving context.Context // nil before Serve

	accepting sync.WaitGroup
	ctx       context.Context // ends when sessions must not go on connecting
	cancel    context.CancelFunc
	done      sync.WaitGroup // sessions
}

// door is one listener.
type door struct {
	net.Listener // owned; closed by whoever accepts, or by Close
	bind         Bind
	close        context.CancelFunc // nil until somebody accepts
	inherited    bool
	own          bool // opened by weir, which removes the path of a unix socket
}

// Open opens every listener, and accepts nobody yet. On an error nothing is left open.
func Open(ctx context.Context, o Options) (*Copy, error) {
	c := &Copy{Frontend: New(o), changed: make(chan struct{}, 1), hasty: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	commit, _, err := c.Prepare(ctx, o.Bind, &o.Rules, o.Inherited)
	if err != nil {
		c.cancel()
		return nil, err
	}
	commit()
	return c, nil
}

// Prepare opens what is missing to listen on those addresses and no others, with those rules; what there holds is
// taken over instead. Nothing changes before commit is called; abort takes it back. One of them is to be called.
func (c *Copy) Prepare(ctx context.Context, binds []Bind, rules *Rules, there *Inherited) (commit, abort func(), err error) {
	var kept, opened []*door
	abort = func() {
		for _, d := range opened {
			d.Close()
		}
	}
	for _, b := range binds {
		if there := c.doorsOf(b); there != nil {
			kept = append(kept, there...)
			continue
		}
		fresh, err := c.open(ctx, b, rules, there)
		opened = append(opened, fresh...)
		if err != nil {
			abort()
			return nil, nil, err
		}
	}
	return func() { c.change(kept, opened, rules) }, abort, nil
}

// doorsOf returns the listeners of an address: more than one only if they were inherited.
func (c *Copy) doorsOf(b Bind) (there []*door) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.doors {
		if d.bind == b {
			there = append(there, d)
		}
	}
	return there
}

// open opens a listener, or takes over those that are there.
func (c *Copy) open(ctx context.Context, b Bind, rules *Rules, there *Inherited) (opened []*door, err error) {
	for _, f := range there.Take(b) {
		l, ferr := net.FileListener(f)
		f.Close()
		if ferr != nil {
			err = c.ListenError(b, ferr)
			continue
		}
		opened = append(opened, &door{Listener: l, bind: b, inherited: true, own: f.Name() == OwnSocket})
	}
	if len(opened) > 0 || err != nil {
		return opened, err
	}
	l, err := c.listen(ctx, b, rules)
	if err != nil {
		return nil, err
	}
	return []*door{{Listener: l, bind: b, own: true}}, nil
}

// Sockets returns the listening sockets of those addresses, or with none of all.
func (c *Copy) Sockets(of ...Bind) (sockets []Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.doors {
		s, ok := d.Listener.(syscall.Conn)
		if !ok || len(of) > 0 && !slices.Contains(of, d.bind) {
			continue
		}
		if rc, err := s.SyscallConn(); err == nil {
			rc.Control(func(fd uintptr) { sockets = append(sockets, Socket{fd, d.own}) })
		}
	}
	return sockets
}

// HandOver closes the listeners of those addresses, or with none all, for others accept from the same sockets:
// who waits there is theirs, and the path of a unix socket stays.
func (c *Copy) HandOver(of ...Bind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.doors {
		if len(of) == 0 || slices.Contains(of, d.bind) {
			d.unlinks(false)
			d.Listener.Close()
		}
	}
}

// unlinks says whether the path of a unix socket goes when the listener is closed.
func (d *door) unlinks(unlinks bool) {
	if u, ok := d.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(unlinks)
	}
}

// change goes over to other rules and other listeners.
func (c *Copy) change(kept, opened []*door, rules *Rules) {
	c.SetRules(*rules)
	select {
	case c.changed <- struct{}{}:
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.doors {
		if !slices.Contains(kept, d) {
			d.shut()
		}
	}
	c.doors = append(kept, opened...)
	for _, d := range opened {
		c.serve(d)
	}
}

// shut closes a listener, after those have been accepted that are in its queue.
func (d *door) shut() {
	if d.close == nil {
		d.Close()
		return
	}
	d.close()
}

// serve begins to accept, if the frontend does.
func (c *Copy) serve(d *door) {
	if c.serving == nil {
		return
	}
	ctx, cancel := context.WithCancel(c.serving)
	d.close = cancel
	d.unlinks(d.own) // from now on, for whoever it was inherited from
	c.LogListening(d.Addr())
	c.accepting.Go(func() { defer cancel(); c.accept(ctx, d) })
}

// Close closes the listeners of a frontend that never served.
func (c *Copy) Close() {
	for _, d := range c.doors {
		d.Close()
	}
	c.cancel()
}

// Addrs returns the listening addresses, with the ports the kernel chose.
func (c *Copy) Addrs() []net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	addrs := make([]net.Addr, len(c.doors))
	for i, d := range c.doors {
		addrs[i] = d.Addr()
	}
	return addrs
}

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see Drain.
func (c *Copy) Serve(ctx context.Context) error {
	c.mu.Lock()
	c.serving = ctx
	for _, d := range c.doors {
		c.serve(d)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.accepting.Wait()
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

// Watch ends the sessions that are past their limits, until ctx ends.
func (c *Copy) Watch(ctx context.Context) {
	for {
		every := c.sweepInterval()
		if every == 0 {
			every = forever
		}
		t := time.NewTimer(every)
		select {
		case <-t.C:
			c.roster.sweep(time.Now())
		case <-c.changed:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

const forever = time.Duration(math.MaxInt64)

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
func (c *Copy) accept(ctx context.Context, d *door) {
	l := d.Listener
	defer l.Close()
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
		client, err := c.acceptOne(d, wake)
		switch {
		case err == nil:
			t.over()
			if client != nil {
				c.waitSlot(ctx, client, d, free, wake)
			}
		case errors.Is(err, net.ErrClosed) || ctx.Err() != nil:
			c.acceptWaiting(d)
			return
		case !errors.Is(err, os.ErrDeadlineExceeded): // or Suspend has ended the wait
			t.pause(ctx, c.Frontend, err)
		}
	}
}

// acceptOne accepts a client and lets it in, or returns it if there may be no more.
func (c *Copy) acceptOne(d *door, wake func()) (relay.Conn, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	client, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !c.TakeSlot(wake) {
		return client.(relay.Conn), nil
	}
	c.let(client.(relay.Conn), d)
	return nil, nil
}

// acceptWaiting takes in those who are still in the queue of a listener whose last call is over, however
// long that takes on a busy machine: to close it would reset them. Who comes now comes too late.
func (c *Copy) acceptWaiting(d *door) {
	l := d.Listener
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

// let begins the session of a client. The net package gives those of an inherited listener options of its own.
func (c *Copy) let(client relay.Conn, d *door) {
	if t, ok := client.(*net.TCPConn); ok && d.inherited {
		c.Current().Socket.Set(t)
	}
	c.start(client, d.bind)
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
func (c *Copy) waitSlot(ctx context.Context, client relay.Conn, d *door, free <-chan struct{}, wake func()) {
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
func (c *Copy) letWaiting(client relay.Conn, d *door, wake func()) (over bool) {
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
func (c *Copy) letLater(client relay.Conn, d *door) {
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
func (c *Copy) answer(a SlotAnswer, client relay.Conn, d *door, from netip.AddrPort) bool {
	switch a {
	case SlotLost:
		return false
	case slotTaken:
		c.let(client, d)
	case SlotGranted:
		c.own.lent()
		c.Slots.lent()
		now := time.Now()
		c.begin(client, from, c.admitLent(from, d.bind, now), now)
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
	c.eachDoor(func(d *door) { setDeadline(d.Listener, longAgo) })
	c.gate.Lock()
	return nil
}

// Resume ends Suspend.
func (c *Copy) Resume() {
	c.eachDoor(func(d *door) { setDeadline(d.Listener, time.Time{}) })
	c.gate.Unlock()
}

func (c *Copy) eachDoor(do func(*door)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.doors {
		do(d)
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
