package frontend

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
)

// Move is the way of a process's listening sockets from one configuration to the next, of all frontends and both
// engines: which stay, which go from one frontend to another, which are opened, and which are closed, such that no client
// is refused who comes to an address that is served before and after.
//
// The kernel gives a client to the most specific socket that takes it, and lets sockets with overlapping addresses
// (127.0.0.1:80 and :80) be bound beside each other only if all have SO_REUSEPORT and are of one user
// (inet_csk_bind_conflict). So when an address grows (127.0.0.1:80 becomes :80) its old socket stays, as one more of the
// new address: to close it would lose who waits in its queue. When an address shrinks the new socket is opened beside the
// old one, which takes in those who had begun to connect, and is closed then.
//
// Make one with [NewMove], say what there is ([Move.Has], [Move.Inherits]), Settle it, have each frontend prepare
// ([Listening.Prepare]) and then commit: first the Move, then each. Or abort: each, and then the Move.
type Move struct {
	wants  []*want
	owners map[owner][]*want
	there  []*held
	from   []*Inherited

	shared []sharing
	late   []*Served // that are bound beside others and do not listen yet
}

// Wanted is a listening address of a configuration.
type Wanted struct {
	Frontend, Engine string
	Bind             Bind
}

// want is one address of the next configuration, and what there is for it.
type want struct {
	Wanted
	reach  reach
	taken  []*held // first the one that is just that address, if there is one
	exact  bool    // there is
	over   []*held // that overlap it, and that are to be closed
	beside []*held // all that overlap it
	near   []*held // among which those are
}

// held is a listening address that is there already.
type held struct {
	reach reach
	addr  net.Addr
	own   bool
	path  pathID

	served *Served // of a frontend of this process; nil: inherited
	owner  owner   // the frontend's
	bind   Bind    // likewise

	files []*os.File // of what is inherited; not owned

	to *want
}

// owner is who accepts at an address: a frontend with its engine.
type owner struct{ frontend, engine string }

func (w Wanted) owner() owner { return owner{w.Frontend, w.Engine} }

// NewMove begins a move to a configuration that wants those addresses.
func NewMove(wanted []Wanted) (*Move, error) {
	m := &Move{owners: make(map[owner][]*want)}
	for _, w := range wanted {
		r, err := reachOf(w.Bind)
		if err != nil {
			return nil, listenError(w.Frontend, w.Bind, err)
		}
		next := &want{Wanted: w, reach: r}
		m.wants = append(m.wants, next)
		m.owners[w.owner()] = append(m.owners[w.owner()], next)
	}
	return m, nil
}

// Has says that a frontend has the listeners of l.
func (m *Move) Has(l *Listening) { m.there = append(m.there, l.held()...) }

// Inherits says that those sockets are there. What is taken of them leaves in when the move is committed.
func (m *Move) Inherits(in *Inherited) {
	if in != nil {
		m.from = append(m.from, in)
		m.there = append(m.there, in.held()...)
	}
}

// Settle decides what is for whom, once all that is there was told of.
func (m *Move) Settle() {
	m.index()
	m.match(func(w *want, h *held) bool { return h.stays(w) && (w.reach.isFixed() || !w.exact) })
	m.match(func(w *want, h *held) bool { return w.reach == h.reach && w.reach.isFixed() })
	m.match(func(w *want, h *held) bool { return w.reach.covers(h.reach) })
	m.match(func(w *want, h *held) bool { return h.served != nil && h.bind == w.Bind && !w.exact })
	m.match(func(w *want, h *held) bool { return h.served == nil && w.likes(h) })
	for _, w := range m.wants {
		for _, h := range w.near {
			if !w.reach.overlaps(h.reach) || w.reach.path != "" {
				continue
			}
			w.beside = append(w.beside, h)
			if h.to == nil && h.own {
				h.to = w
				w.over = append(w.over, h)
			}
		}
	}
}

// index finds what is there that may be for an address, or overlap it: not all with all, for there may be thousands.
func (m *Move) index() {
	exact, byPort, wild := make(map[reach][]*held), make(map[uint16][]*held), make(map[uint16][]*held)
	byBind, byIP := make(map[Bind][]*held), make(map[reach][]*held)
	for _, h := range m.there {
		exact[h.reach] = append(exact[h.reach], h)
		byPort[h.reach.port] = append(byPort[h.reach.port], h)
		if !h.reach.ip.IsValid() {
			wild[h.reach.port] = append(wild[h.reach.port], h)
		}
		if h.served != nil {
			byBind[h.bind] = append(byBind[h.bind], h)
			continue
		}
		anyPort := h.reach
		anyPort.port = 0
		byIP[anyPort] = append(byIP[anyPort], h)
	}
	for _, w := range m.wants {
		switch {
		case w.reach.path != "":
			w.near = exact[w.reach]
		case w.reach.port == 0 && w.reach.ip.IsValid():
			w.near = slices.Concat(byBind[w.Bind], byIP[w.reach])
		case w.reach.port == 0: // all addresses: whoever opened it may have another notion of that
			w.near = slices.Concat(byBind[w.Bind], byIP[reach{v4: true}], byIP[reach{v6: true}], byIP[reach{v4: true, v6: true}])
		case w.reach.ip.IsValid():
			w.near = slices.Concat(exact[w.reach], wild[w.reach.port])
		default:
			w.near = byPort[w.reach.port]
		}
	}
}

// match gives what nobody has yet to those that it is for.
func (m *Move) match(is func(*want, *held) bool) {
	for _, w := range m.wants {
		for _, h := range w.near {
			if h.to == nil && is(w, h) {
				w.take(h)
			}
		}
	}
}

func (w *want) take(h *held) {
	h.to = w
	if w.reach.covers(h.reach) && !h.foreign(w) {
		w.taken = append(w.taken, h)
		return
	}
	w.exact = true
	w.taken = slices.Insert(w.taken, 0, h)
}

// stays says whether it is the frontend's already.
func (h *held) stays(w *want) bool {
	if h.served == nil || h.owner != w.owner() || h.bind != w.Bind {
		return false
	}
	return !h.served.over || h.reach == w.reach
}

// foreign says whether it was opened elsewhere, and will do as it is.
func (h *held) foreign(w *want) bool { return !h.own && w.reach.like(h.reach, w.Bind) }

// likes says whether an inherited socket will do, of all those with one port if the kernel is to choose it.
func (w *want) likes(h *held) bool {
	switch {
	case !w.reach.like(h.reach, w.Bind):
		return false
	case w.reach.port != 0:
		return !h.own
	}
	return !w.exact || w.taken[0].reach == h.reach
}

// Extra returns how many listening addresses there will be beyond those that are wanted.
func (m *Move) Extra() (n int) {
	for _, w := range m.wants {
		if n += len(w.taken); w.exact {
			n--
		}
	}
	return n
}

// Try says what of the move cannot be done, as far as that can be told without doing it.
func (m *Move) Try() error {
	defer m.unshare()
	for _, w := range m.wants {
		if w.exact {
			continue
		}
		err := w.tryPath()
		if w.reach.path == "" {
			err = m.beside(w, func(beside bool) error { return tryBind(w.Bind, beside) })
		}
		if err != nil {
			return listenError(w.Frontend, w.Bind, err)
		}
	}
	return nil
}

// tryPath says whether a unix socket could be made.
func (w *want) tryPath() error {
	if b := w.Bind; b.Network == "unix" && b.isPath() {
		return tryPath(b.Address)
	}
	return nil
}

// beside opens an address that overlaps others of this process, which share their port meanwhile, and only with
// each other: what is somebody else's is not to be shared.
func (m *Move) beside(w *want, open func(beside bool) error) error {
	if len(w.beside) == 0 || w.reach.path != "" {
		return open(false)
	}
	for _, h := range w.beside {
		if err := m.share(h); err != nil {
			return err
		}
	}
	err := open(true)
	if errors.Is(err, syscall.EADDRINUSE) {
		return w.whyNotBeside(err)
	}
	if err != nil {
		return err
	}
	return m.noStranger(w)
}

// whyNotBeside says what keeps an address from being bound beside one of this process.
func (w *want) whyNotBeside(err error) error {
	for _, h := range w.beside {
		if user, mine := h.user(); !mine {
			return fmt.Errorf("%w: weir listens on %s with a socket that user %d has opened, and the kernel binds addresses that "+
				"overlap only for one user: restart weir, and have whoever opens its sockets open this address", err, h.addr, user)
		}
	}
	return err
}

// errStranger is like what the kernel says without SO_REUSEPORT.
var errStranger = &os.SyscallError{Syscall: "bind", Err: syscall.EADDRINUSE}

// descriptors are those of its sockets.
func (h *held) descriptors() (fds []uintptr) {
	if h.served != nil {
		return h.served.Sockets()
	}
	for _, f := range h.files {
		if fd, ok := descriptor(f); ok {
			fds = append(fds, fd)
		}
	}
	return fds
}

// copies returns files with copies of its sockets, which are the caller's.
func (h *held) copies() (files []*os.File, err error) {
	var sockets []Socket
	for _, fd := range h.descriptors() {
		sockets = append(sockets, Socket{FD: fd, Own: h.own})
	}
	return Copies(sockets)
}

// Listen has what was bound beside others listen, before anything is closed that overlaps it. With an error the move is
// to be aborted.
func (m *Move) Listen() error {
	for _, s := range m.late {
		if err := s.listen(); err != nil {
			return err
		}
	}
	m.unshare()
	return nil
}

// Commit has what goes from one frontend to another let go by the first, and takes what was inherited. Each frontend
// is to commit then.
func (m *Move) Commit() {
	m.shared = nil // it may be closed now
	for _, h := range m.there {
		if h.served != nil && h.to != nil && h.owner != h.to.owner() {
			h.served.give()
		}
	}
	for _, in := range m.from {
		in.forget(m.there)
	}
}

// Abort takes back what was done for all frontends. Each is to take back its own then.
func (m *Move) Abort() { m.unshare() }

// moveTo is the move of one frontend that begins.
func moveTo(o *Options) (*Move, error) {
	var wanted []Wanted
	for _, b := range o.Bind {
		wanted = append(wanted, Wanted{cmp.Or(o.Key, o.Name), o.Engine, b})
	}
	m, err := NewMove(wanted)
	if err != nil {
		return nil, err
	}
	m.Inherits(o.Inherited)
	m.Settle()
	return m, nil
}
