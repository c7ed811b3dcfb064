package reactor

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

	letting   string // what let does, for the guard
	listening *frontend.Listening

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

	limits   *limits
	outdated []*limits // which some sessions may still go by
	rearming rearming
	vigilant bool // looks for peers that are gone
	vigil    vigil

	// One queue for each length of time, so that arming is at the end.
	connect, settle, look, refusal, speech, linger, rest *loop.Queue
	retry                                                [retryQueues]*loop.Queue
}

const (
	// retryQueues is how often the pause before a retry doubles until it stays the same.
	retryQueues = 5
)

// options is what a socket towards a backend gets.
type options struct{ early, late []sockopt.Setting }

// Open opens every listener on every core, and accepts nobody yet. On an error nothing is left open.
func (r *Reactor) Open(ctx context.Context, o frontend.Options) (*Server, error) {
	s := r.NewServer(frontend.New(o), &o)
	if err := s.listening.Open(ctx, &o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// NewServer returns an engine for a frontend, which may have had another before. It listens nowhere yet: see Listening.
func (r *Reactor) NewServer(f *frontend.Frontend, o *frontend.Options) *Server {
	s := &Server{Frontend: f, reactor: r, letting: "letting in a client of frontend " + f.Name()}
	s.listening = frontend.NewListening(f, s, o)
	for _, c := range r.cores {
		s.ports = append(s.ports, newPort(s, c))
	}
	return s
}

// Listening returns the addresses that it listens on.
func (s *Server) Listening() *frontend.Listening { return s.listening }

// Addrs returns the listening addresses, with the ports the kernel chose.
func (s *Server) Addrs() []net.Addr { return s.listening.Addrs() }

// Follow is Opener's.
func (s *Server) Follow(rules *frontend.Rules) {
	socket := rules.Dialer.Socket()
	held := s.Current()
	for _, p := range s.ports {
		p.Post(func() { p.adopt(held) })
	}
	s.options.Store(&options{early: append(socket.Early(), sockopt.QuickAck(0)), late: socket.Late()})
}

func newPort(s *Server, c *core) *port {
	p := &port{Server: s, core: c, targets: make(map[*backend.Backend][]byte)}
	p.limits = p.newLimits(new(frontend.Rules))
	p.rearming.port, p.vigil.port = p, p
	for _, q := range p.queues() {
		*q = c.SpareQueue()
	}
	c.Post(p.addQueues) // the loop may be running already
	return p
}

func (p *port) addQueues() {
	p.core.ports = append(p.core.ports, p)
	for _, q := range p.queues() {
		p.AddQueue(*q)
	}
	for _, q := range p.limits.queues() {
		p.AddQueue(q)
	}
}

func (p *port) dropQueues() {
	p.vigil.timer.Stop()
	for _, q := range p.queues() {
		p.DropQueue(*q)
	}
	for _, q := range p.limits.queues() {
		p.DropQueue(q)
	}
	p.dropOutdated()
	p.core.ports = slices.DeleteFunc(p.core.ports, func(other *port) bool { return other == p })
	p.core.setBeat()
}

func (p *port) queues() []**loop.Queue {
	all := []**loop.Queue{&p.connect, &p.settle, &p.look, &p.refusal, &p.speech, &p.linger, &p.rest, &p.vigil.queue}
	for i := range p.retry {
		all = append(all, &p.retry[i])
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

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see Drain.
func (s *Server) Serve(ctx context.Context) error {
	s.listening.Begin()
	<-ctx.Done()
	background := context.Background()
	s.reactor.each(background, func(i int, _ *core) { s.ports[i].acceptAll() })
	last := time.NewTimer(frontend.LastCall)
	defer last.Stop()
	<-last.C
	s.reactor.each(background, func(i int, _ *core) { s.ports[i].acceptAll(); s.ports[i].closeListeners() })
	s.listening.End()
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
	s.listening.Close()
	for _, p := range s.ports {
		p.Post(p.dropQueues)
	}
}

// cutAll ends the sessions that a backend serves, or with nil all.
func (p *port) cutAll(b *backend.Backend, why frontend.Outcome) {
	for s := p.sessions; s != nil; {
		next := s.next
		if b == nil || s.state == relaying && s.On(b) {
			s.cutAlone(why)
		}
		s = next
	}
}

// cutAlone cuts the session, and keeps a panic from the others.
func (s *session) cutAlone(why frontend.Outcome) {
	defer loop.Contain(s)
	s.cut(why)
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
