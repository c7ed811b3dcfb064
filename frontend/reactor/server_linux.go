package reactor

import (
	"context"
	"net"
	"net/netip"
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
	addrs   []net.Addr
	ports   []*port // one for each core
	targets map[*backend.Backend][]byte
	early   []sockopt.Setting // of a socket towards a backend
	late    []sockopt.Setting
	done    sync.WaitGroup // sessions
	starved atomic.Int64   // when a descriptor was missing last, in Unix nanoseconds
}

// port is the part of a server that lives on one core, and belongs to its loop.
type port struct {
	*Server
	*core
	listeners []*listener
	sessions  *session // the first of a list
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

// Open opens every listener on every core, and accepts nobody yet. On an error nothing is left open.
func (r *Reactor) Open(_ context.Context, o frontend.Options) (*Server, error) {
	s := &Server{
		Frontend: frontend.New(o), reactor: r, targets: targets(o.Pool),
		early: append(o.Dialer.Socket().Early(), sockopt.QuickAck(0)), late: o.Dialer.Socket().Late(),
	}
	for _, c := range r.cores {
		s.ports = append(s.ports, newPort(s, c))
	}
	for i, b := range o.Bind {
		if err := s.listen(i); err != nil {
			s.Close()
			return nil, s.ListenError(b, err)
		}
	}
	return s, nil
}

func newPort(s *Server, c *core) *port {
	p := &port{Server: s, core: c}
	for _, q := range p.queues() {
		*q = c.NewQueue()
	}
	return p
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

// targets holds the socket addresses of the backends that need no name resolved.
func targets(pool *backend.Pool) map[*backend.Backend][]byte {
	m := make(map[*backend.Backend][]byte)
	for _, b := range pool.Backends() {
		if b.Network() == "unix" {
			m[b] = unixSockaddr(b.Address())
		} else if ap, err := netip.ParseAddrPort(b.Address()); err == nil {
			m[b] = inetSockaddr(ap)
		}
	}
	return m
}

// Addrs returns the listening addresses, with the ports the kernel chose.
func (s *Server) Addrs() []net.Addr { return s.addrs }

// Serve accepts clients until ctx ends; then those that are in the accept queues already are accepted,
// and the listeners closed. Sessions go on: see Drain.
func (s *Server) Serve(ctx context.Context) error {
	for _, a := range s.addrs {
		s.LogListening(a)
	}
	background := context.Background()
	s.reactor.each(background, func(i int, _ *core) { s.ports[i].open() })
	<-ctx.Done()
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
	s.reactor.each(context.Background(), func(i int, c *core) {
		s.ports[i].closeResting()
		for _, q := range s.ports[i].queues() {
			c.DropQueue(*q)
		}
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
	for _, p := range s.ports {
		p.closeListeners()
		for _, q := range p.queues() {
			p.DropQueue(*q)
		}
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
