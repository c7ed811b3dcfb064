package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// strangersPart of the door's places, one in so many, are for strangers.
	strangersPart = 4
	// strangerIdle is how long a stranger may say nothing, or take to say it.
	strangerIdle = 5 * time.Second
	// settle is how long a newcomer surely has to say who it is. An attack of strangers who say nothing must open a
	// connection each settle/16, one in 2 ms, to keep a load balancer's question waiting; a burst of commands is not
	// taken for one.
	settle = 30 * time.Millisecond
)

// places bounds the door's connections, so that strangers cannot close it to operators, nor operators who only rest to
// one another. Each newcomer is a stranger until a request has shown that it may command weir; then it has a place among
// operators. Where all are taken, the one that is least in use goes, and nobody waits for the timeouts of others:
//
//   - of strangers, one of those from the address that has the most here, the longest silent one first;
//   - of operators, the longest silent one. One that is being answered never goes.
type places struct {
	mu                           sync.Mutex
	strangers, operators         []*guest
	mostStrangers, mostOperators int
	closed                       bool
	changed                      chan struct{} // holds one token when a stranger has left, or rests
}

func newPlaces(most int) *places {
	strangers := max(1, most/strangersPart)
	return &places{mostStrangers: strangers, mostOperators: max(1, most-strangers), changed: make(chan struct{}, 1)}
}

// guest is a connection to the door.
type guest struct {
	net.Conn
	places *places
	from   netip.Prefix // whom it counts for among strangers; zero: unix

	// Under the lock of places.
	operator bool
	resting  bool      // it has been answered, and has not asked again
	busy     bool      // an operator's request is being answered
	since    time.Time // when it came, asked, or was answered last
	gone     bool
	deadline time.Time // for reading, as the server would have it
}

// seated is a listener whose connections have places.
type seated struct {
	net.Listener
	places *places
}

// Accept waits for a place only while every stranger has just come.
func (l *seated) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: c, places: l.places, from: origin(c.RemoteAddr()), since: time.Now()}
	if !l.places.enter(g) {
		c.Close()
		return nil, net.ErrClosed
	}
	return g, nil
}

func (l *seated) Close() error {
	l.places.close()
	return l.Listener.Close()
}

// network64 is what one customer has of IPv6 (RFC 6177): as many addresses as it likes.
const network64 = 64

// origin says who a connection counts for.
func origin(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = network64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// enter gives a newcomer a place among strangers. It returns false when the door is closed.
func (p *places) enter(g *guest) bool {
	for {
		victim, wait := p.tryEnter(g)
		if victim != nil {
			victim.Conn.Close()
		}
		if wait <= 0 {
			return wait == 0
		}
		select {
		case <-p.changed:
		case <-time.After(wait):
		}
	}
}

// tryEnter seats g, in the place of a victim if there is one, or says how long to wait for one at most; with -1 the
// door is closed.
func (p *places) tryEnter(g *guest) (victim *guest, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, -1
	}
	if len(p.strangers) >= p.mostStrangers {
		if victim, wait = p.leastStranger(); victim == nil {
			return nil, wait
		}
		p.remove(victim)
	}
	p.strangers = append(p.strangers, g)
	return victim, 0
}

// leastStranger returns the stranger who goes first, or how long until there is one.
func (p *places) leastStranger() (least *guest, wait time.Duration) {
	now, count := time.Now(), map[netip.Prefix]int{}
	for _, g := range p.strangers {
		count[g.from]++
	}
	wait = settle
	for _, g := range p.strangers {
		if age := now.Sub(g.since); !g.resting && age < settle {
			wait = min(wait, settle-age)
			continue
		}
		if least == nil || count[g.from] > count[least.from] || count[g.from] == count[least.from] && g.since.Before(least.since) {
			least = g
		}
	}
	return least, wait
}

// promote gives a guest that has shown that it may command weir a place among operators, which with keep is its own until
// it has its answer. It returns false when there is none, or the guest had to go meanwhile.
func (p *places) promote(g *guest, keep bool) bool {
	victim, deadline, ok := p.tryPromote(g, keep)
	if victim != nil {
		victim.Conn.Close()
	}
	if !deadline.IsZero() { // it was shortened for a stranger
		_ = g.Conn.SetReadDeadline(deadline)
	}
	return ok
}

func (p *places) tryPromote(g *guest, keep bool) (victim *guest, deadline time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.gone {
		return nil, deadline, false
	}
	if !g.operator {
		if len(p.operators) >= p.mostOperators {
			if victim = p.leastOperator(); victim == nil {
				return nil, deadline, false
			}
			p.remove(victim)
		}
		p.strangers = without(p.strangers, g)
		p.operators = append(p.operators, g)
		g.operator, deadline = true, g.deadline
		p.tell()
	}
	g.busy = keep
	return victim, deadline, true
}

// leastOperator returns the one that has been silent the longest; nil: all are being answered.
func (p *places) leastOperator() (least *guest) {
	for _, g := range p.operators {
		if !g.busy && (least == nil || g.since.Before(least.since)) {
			least = g
		}
	}
	return least
}

// remove takes a guest's place away.
func (p *places) remove(g *guest) {
	if g.gone {
		return
	}
	g.gone = true
	if g.operator {
		p.operators = without(p.operators, g)
	} else {
		p.strangers = without(p.strangers, g)
		p.tell()
	}
}

func without(list []*guest, g *guest) []*guest {
	return slices.DeleteFunc(list, func(other *guest) bool { return other == g })
}

// tell wakes who waits in enter: the listener alone.
func (p *places) tell() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *places) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.tell()
}

// Close gives the place back, once.
func (g *guest) Close() error {
	g.places.mu.Lock()
	g.places.remove(g)
	g.places.mu.Unlock()
	return g.Conn.Close()
}

// SetReadDeadline sets a shorter one for a stranger.
func (g *guest) SetReadDeadline(t time.Time) error {
	g.places.mu.Lock()
	g.deadline = t
	if most := time.Now().Add(strangerIdle); !g.operator && t.After(most) {
		t = most
	}
	g.places.mu.Unlock()
	return g.Conn.SetReadDeadline(t)
}

// follow is told by the server what a connection does: [http.StateActive] when all of a header was read, and
// [http.StateIdle] when all of the answer was written. A header that is dribbled is none yet.
func follow(c net.Conn, state http.ConnState) {
	g := guestOf(c)
	g.places.mu.Lock()
	defer g.places.mu.Unlock()
	switch state {
	case http.StateActive:
		g.since, g.resting = time.Now(), false
	case http.StateIdle:
		g.since, g.resting, g.busy = time.Now(), true, false
		g.places.tell()
	}
}

// guestOf returns the guest behind what the server has.
func guestOf(c net.Conn) *guest {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return c.(*guest) // no other listener is served
}

type guestKey struct{}

// rememberGuest keeps who has connected for the requests of the connection.
func rememberGuest(ctx context.Context, c net.Conn) context.Context {
	g := guestOf(c)
	ctx = context.WithValue(ctx, guestKey{}, g)
	if u, ok := g.Conn.(*net.UnixConn); ok {
		return context.WithValue(ctx, peerKey{}, peerOf(u))
	}
	return ctx
}

// seat gives an operator who asks a place among operators, and says why it cannot. A question after weir's health needs
// none: it may come from strangers.
func (d *Door) seat(r *http.Request) *Problem {
	if !d.proven(r) {
		return nil
	}
	g := r.Context().Value(guestKey{}).(*guest)
	health := asksHealth(r) // whose answer is short: who does not read that may go
	if g.places.promote(g, !health) || health {
		return nil
	}
	return &Problem{Status: http.StatusServiceUnavailable, Detail: "all connections that there may be are waiting for answers: try again when one has got it"}
}

// proven says of a request to which there is no objection whether who asks may command weir.
func (d *Door) proven(r *http.Request) bool {
	switch {
	case d.unix, !asksHealth(r):
		return true
	case d.token.Load() != nil:
		return d.knowsToken(r)
	}
	return r.TLS != nil && len(r.TLS.VerifiedChains) > 0
}
