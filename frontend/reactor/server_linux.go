package reactor

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend"
	"weir/frontend/reactor/loop"
)

// Server is a frontend run by a reactor.
type Server struct {
	*frontend.Frontend
	reactor *Reactor
	ports   []*port // one for each core
	options atomic.Pointer[options]

	mu       sync.Mutex
	bindings []*binding
	serving  bool

	done    sync.WaitGroup // sessions
	starved atomic.Int64   // when a descriptor was missing last, in Unix nanoseconds
}

// port is the part of a server that lives on one core, and belongs to its loop.
type port struct {
	*Server
	*core
	listeners []*listener
	suspended bool // nobody is to be accepted
	targets   map[*backend.Backend][]byte
	sessions  *session // the first of a list
	cursors   []*cursor
	resting   []*resting
	roused    []*resting // to be used again

	// One queue for each length of time, so that arming is at the end.
	queue, quiet, half, connect, settle, look, refusal, speech, linger, rest *loop.Queue
	retry                                                                    [retryQueues]*loop.Queue
	life                                                                     [lifeQueues]*loop.Queue
}

const (
	// lifeQueues is how many different lengths jitter gives to session_timeout.
	lifeQueues = 16
	// retryQueues is how often the pause before a retry doubles until it stays the same.
	retryQueues = 5
)

// options is what a socket towards a backend gets.
type options struct{ early, late []sockopt.Setting }

// binding is a listening address: a listener on each core.
type binding struct {
	bind      frontend.Bind
	addr      net.Addr
	listeners []*listener
	own       bool // opened by weir, which removes the path of a unix socket
	given     bool // away: others accept from the same sockets
}

// Open opens every listener on every core, and accepts nobody yet. On an error nothing is left open.
func (r *Reactor) Open(ctx context.Context, o frontend.Options) (*Server, error) {
	s := &Server{Frontend: frontend.New(o), reactor: r}
	for _, c := range r.cores {
		s.ports = append(s.ports, newPort(s, c))
	}
	commit, _, err := s.Prepare(ctx, o.Bind, &o.Rules, o.Inherited)
	if err != nil {
		s.Close()
		return nil, err
	}
	commit()
	return s, nil
}

// Prepare opens what is missing to listen on those addresses and no others, with those rules; what there holds is
// taken over instead. Nothing changes before commit is called; abort takes it back. One of them is to be called.
func (s *Server) Prepare(_ context.Context, binds []frontend.Bind, rules *frontend.Rules, there *frontend.Inherited) (commit, abort func(), err error) {
	var kept, opened []*binding
	abort = func() {
		for _, b := range opened {
			b.close()
		}
	}
	for _, bind := range binds {
		if b := s.binding(bind); b != nil {
			kept = append(kept, b)
			continue
		}
		b, err := s.listen(bind, rules, there)
		if err != nil {
			abort()
			return nil, nil, s.ListenError(bind, err)
		}
		opened = append(opened, b)
	}
	return func() { s.change(kept, opened, rules) }, abort, nil
}

func (s *Server) binding(bind frontend.Bind) *binding {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bindings {
		if b.bind == bind {
			return b
		}
	}
	return nil
}

// change goes over to other rules and other listeners.
func (s *Server) change(kept, opened []*binding, rules *frontend.Rules) {
	s.SetRules(*rules)
	socket := rules.Dialer.Socket()
	s.options.Store(&options{early: append(socket.Early(), sockopt.QuickAck(0)), late: socket.Late()})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bindings {
		if !slices.Contains(kept, b) {
			b.shut(s.serving)
		}
	}
	for _, b := range kept {
		b.inherit(rules)
	}
	s.bindings = append(kept, opened...)
	if s.serving {
		for _, b := range opened {
			s.begin(b)
		}
	}
}

// begin has every core accept.
func (s *Server) begin(b *binding) {
	if b.given {
		return
	}
	s.LogListening(b.addr)
	// Not before: somebody else may have served with these sockets, and have gone on.
	b.inherit(s.Current())
	s.reactor.steer(b)
	b.listeners[0].owner = b.own
	for _, l := range b.listeners {
		l.port.Post(func() { l.port.open(l) })
	}
}

// shut closes the listeners of an address, after those have been accepted that are in their queues.
func (b *binding) shut(serving bool) {
	if !serving || b.given {
		b.close()
		return
	}
	for _, l := range b.listeners {
		l.port.Post(func() {
			l.acceptAll()
			l.port.shut(l)
		})
	}
}

// close closes listeners that nobody accepts from.
func (b *binding) close() {
	if b.given {
		return
	}
	for _, l := range b.listeners {
		l.close()
	}
}

// inherit gives the listeners what the sockets they accept are to have.
func (b *binding) inherit(rules *frontend.Rules) {
	if _, ok := b.addr.(*net.TCPAddr); !ok {
		return
	}
	for _, l := range b.listeners {
		for _, o := range rules.Socket.ForListener() {
			unix.SetsockoptInt(l.fd, o.Level, o.Name, o.Value)
		}
	}
}

func newPort(s *Server, c *core) *port {
	p := &port{Server: s, core: c, targets: make(map[*backend.Backend][]byte)}
	for _, q := range p.queues() {
		*q = c.SpareQueue()
	}
	c.Post(p.addQueues) // the loop may be running already
	return p
}

func (p *port) addQueues() {
	for _, q := range p.queues() {
		p.AddQueue(*q)
	}
}

func (p *port) dropQueues() {
	for _, q := range p.queues() {
		p.DropQueue(*q)
	}
}

func (p *port) queues() []**loop.Queue {
	all := []**loop.Queue{&p.queue, &p.quiet, &p.half, &p.connect, &p.settle, &p.look, &p.refusal, &p.speech, &p.linger, &p.rest}
	for i := range p.retry {
		all = append(all, &p.retry[i])
	}
	for i := range p.life {
		all = append(all, &p.life[i])
	}
	return all
}

// target returns the socket address of a backend, or nil if its name has to be looked up.
func (p *port) target(b *backend.Backend) []byte {
	t, known := p.targets[b]
	if !known {
		t = targetOf(b)
		p.targets[b] = t
	}
	return t
}

func targetOf(b *backend.Backend) []byte {
	if b.Network() == "unix" {
		return unixSockaddr(b.Address())
	}
	if ap, err := netip.ParseAddrPort(b.Address()); err == nil {
		return inetSockaddr(ap)
	}
	return nil
}

// ForgetBackend lets go of what is known of a backend that is gone.
func (s *Server) ForgetBackend(b *backend.Backend) {
	for _, p := range s.ports {
		p.Post(func() { delete(p.targets, b) })
	}
}

// Sockets returns the listening sockets of those addresses, or with none of all.
func (s *Server) Sockets(of ...frontend.Bind) (sockets []frontend.Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bindings {
		if b.given || len(of) > 0 && !slices.Contains(of, b.bind) {
			continue
		}
		for _, l := range b.listeners {
			sockets = append(sockets, frontend.Socket{FD: uintptr(l.fd), Own: b.own})
		}
	}
	return sockets
}

// HandOver closes the listeners of those addresses, or with none all, for others accept from the same sockets:
// who waits there is theirs, and the path of a unix socket stays.
func (s *Server) HandOver(of ...frontend.Bind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bindings {
		if b.given || len(of) > 0 && !slices.Contains(of, b.bind) {
			continue
		}
		if !s.serving {
			b.listeners[0].owner = false
			b.close()
			b.given = true
			continue
		}
		b.given = true
		for _, l := range b.listeners {
			l.port.Post(func() {
				l.owner = false
				l.port.shut(l)
			})
		}
	}
}

// Suspend has nobody accepted any more until Resume; when it returns nobody is. Clients wait in the accept queue.
func (s *Server) Suspend(ctx context.Context) error {
	s.suspend(ctx, true)
	return ctx.Err()
}

// Resume ends Suspend.
func (s *Server) Resume() { s.suspend(context.Background(), false) }

func (s *Server) suspend(ctx context.Context, suspended bool) {
	s.reactor.each(ctx, func(i int, _ *core) {
		p := s.ports[i]
		p.suspended = suspended
		for _, l := range p.listeners {
			l.resume()
		}
	})
}

// Addrs returns the listening addresses, with the ports the kernel chose.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, len(s.bindings))
	for i, b := range s.bindings {
		addrs[i] = b.addr
	}
	return addrs
}

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see Drain.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	s.serving = true
	for _, b := range s.bindings {
		s.begin(b)
	}
	s.mu.Unlock()
	<-ctx.Done()
	background := context.Background()
	s.reactor.each(background, func(i int, _ *core) { s.ports[i].acceptAll() })
	last := time.NewTimer(frontend.LastCall)
	defer last.Stop()
	<-last.C
	s.reactor.each(background, func(i int, _ *core) { s.ports[i].acceptAll(); s.ports[i].closeListeners() })
	return nil
}

// Drain waits until every session has ended. When ctx ends first the rest is cut. Call it once, after
// Serve has returned.
func (s *Server) Drain(ctx context.Context) {
	idle := make(chan struct{})
	go func() { s.done.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		s.reactor.each(context.Background(), func(i int, _ *core) { s.ports[i].cutAll(nil, frontend.Shutdown) })
		<-idle
	}
	s.reactor.each(context.Background(), func(i int, _ *core) {
		s.ports[i].closeResting()
		s.ports[i].dropQueues()
	})
}

// Watch has nothing to do here: the loops keep the limits themselves.
func (s *Server) Watch(context.Context) {}

// CutBackend ends the sessions of a backend that went down.
func (s *Server) CutBackend(b *backend.Backend) {
	for _, p := range s.ports {
		p.Post(func() { p.cutAll(b, frontend.BackendDown) })
	}
}

// Close closes the listeners of a server that never served.
func (s *Server) Close() {
	for _, b := range s.bindings {
		b.close()
	}
	for _, p := range s.ports {
		p.Post(p.dropQueues)
	}
}

// cutAll ends the sessions that a backend serves, or with nil all.
func (p *port) cutAll(b *backend.Backend, why frontend.Outcome) {
	for s := p.sessions; s != nil; {
		next := s.next
		if b == nil || s.state == relaying && s.On(b) {
			s.cut(why)
		}
		s = next
	}
}

func (p *port) enter(s *session) {
	s.prev, s.next = nil, p.sessions
	if s.next != nil {
		s.next.prev = s
	}
	p.sessions = s
	p.done.Add(1)
}

func (p *port) leave(s *session) {
	p.pass(s)
	if s.prev == nil {
		p.sessions = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	p.done.Done()
}
