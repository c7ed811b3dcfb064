package frontend

import (
	"cmp"
	"context"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Listener is a listening address as an engine serves it: with one socket, or one for each core. It belongs to a
// [Listening], which calls no two of its methods at the same time.
type Listener interface {
	Addr() net.Addr
	// Sockets returns the descriptors. They stay the listener's.
	Sockets() []uintptr
	// Listen calls listen(2), for the first time or with another length of the queue.
	Listen(rules *Rules) error
	// Follow gives the sockets what those that are accepted from them are to inherit.
	Follow(rules *Rules)
	// As says to which address of the configuration clients come here. It is called before Begin, and may be again.
	As(b Bind)
	// Begin accepts.
	Begin()
	// Shut accepts no more and closes, when those have been let in who are in the queue. Then it calls closed.
	Shut(closed func())
	// Release closes at once, for others accept from the same sockets.
	Release()
	// Close closes a listener that never began.
	Close()
}

// Opener is an engine, as its [Listening] knows it.
type Opener interface {
	// OpenListener binds an address, and listens. With beside it shares its port, and does not listen yet: see [Move].
	OpenListener(ctx context.Context, b Bind, rules *Rules, beside bool) (Listener, error)
	// AdoptListener makes a listener of copies of sockets that listen already. The files stay the caller's.
	AdoptListener(files []*os.File) (Listener, error)
	// Follow goes over to other rules. What it is to do with listeners is not its business.
	Follow(rules *Rules)
}

// Listening is the listening addresses of a frontend, for whichever engine.
type Listening struct {
	frontend *Frontend
	engine   Opener
	owner    owner
	why      string // it is this engine
	parked   *Inherited
	closing  *Closing

	mu      sync.Mutex
	served  []*Served
	serving bool
	leaving bool // the configuration has it no more
	over    bool // no longer serving
}

// Closing counts the listeners that are about to close, of all frontends: their addresses cannot be had before. A nil
// *Closing counts nothing.
type Closing struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0 again; nil: it is
}

func (c *Closing) add() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n == 1 {
		c.none = make(chan struct{})
	}
}

func (c *Closing) done() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		close(c.none)
		c.none = nil
	}
}

// Wait waits until none is about to close, or ctx ends.
func (c *Closing) Wait(ctx context.Context) error {
	c.mu.Lock()
	none := c.none
	c.mu.Unlock()
	if none == nil {
		return nil
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Served is one listening address of a frontend.
type Served struct {
	Listener
	of    *Listening
	bind  Bind // of the configuration
	reach reach
	own   bool   // opened by weir
	path  pathID // of a unix socket of weir's own
	// extra: bind takes more clients than this; another socket is there for those.
	extra bool
	// over: others take its place; it is there only for those who had begun to connect.
	over bool
	last *time.Timer // its last call, if over; nil: it has not begun
	// waits: the process before this one still accepts here, so the last call is not to begin.
	waits bool

	late  bool // does not listen yet
	fresh bool // opened here; false: adopted
	begun bool
	given bool // away: others accept from the same sockets
}

// NewListening returns the addresses of a frontend that listens nowhere yet.
func NewListening(f *Frontend, engine Opener, o *Options) *Listening {
	return &Listening{frontend: f, engine: engine, owner: owner{cmp.Or(o.Key, o.Name), o.Engine}, why: o.EngineWhy, parked: o.Parked, closing: o.Closing}
}

// Engine returns the name of the engine.
func (l *Listening) Engine() string { return l.owner.engine }

// Open makes the first addresses those of the options. Nobody is accepted yet.
func (l *Listening) Open(ctx context.Context, o *Options) (err error) {
	m := o.Move
	if m == nil {
		if m, err = moveTo(o); err != nil {
			return err
		}
	}
	commit, _, err := l.Prepare(ctx, m, &o.Rules)
	if err == nil {
		commit()
	}
	if o.Move == nil && err != nil {
		m.Abort()
	} else if o.Move == nil {
		m.Commit()
	}
	return err
}

// Prepare opens what is missing to listen where the move wants, with those rules. Nothing changes before commit is
// called; abort takes it back. One of them is to be called, after the move's own.
func (l *Listening) Prepare(ctx context.Context, m *Move, rules *Rules) (commit, abort func(), err error) {
	c := &change{l: l, move: m, rules: rules}
	for _, w := range m.owners[l.owner] {
		if err := c.want(ctx, w); err != nil {
			c.abort()
			return nil, nil, listenError(l.frontend.Name(), w.Bind, err)
		}
	}
	return c.commit, c.abort, nil
}

// change is a Listening on its way to other addresses and rules.
type change struct {
	l     *Listening
	move  *Move
	rules *Rules
	next  []place
	fresh []*Served // opened or adopted
	undo  []func()
}

// place is what a listener will be.
type place struct {
	served      *Served
	bind        Bind
	extra, over bool
}

// want sees to one address.
func (c *change) want(ctx context.Context, w *want) error {
	for _, h := range w.taken {
		if err := c.take(w, h, place{bind: w.Bind, extra: !w.exact || h != w.taken[0]}); err != nil {
			return err
		}
	}
	for _, h := range w.over {
		if err := c.take(w, h, place{bind: w.Bind, over: true}); err != nil {
			return err
		}
	}
	if w.exact {
		return nil
	}
	return c.move.beside(w, func(beside bool) error { return c.open(ctx, w, beside) })
}

// take uses a listener that is there: the frontend's own, or a copy of another's.
func (c *change) take(w *want, h *held, p place) (err error) {
	if h.served != nil && h.owner == w.owner() {
		p.served = h.served
		c.next = append(c.next, p)
		return c.permit(h.served)
	}
	files, err := h.copies()
	if err != nil {
		return err
	}
	defer closeAll(files)
	listener, err := c.l.engine.AdoptListener(files)
	if err != nil {
		return err
	}
	p.served = &Served{Listener: listener, of: c.l, reach: h.reach, own: h.own, path: h.path}
	p.served.waits = h.served == nil
	c.add(p)
	return nil
}

func (c *change) open(ctx context.Context, w *want, beside bool) error {
	listener, err := c.l.engine.OpenListener(ctx, w.Bind, c.rules, beside)
	if err != nil {
		return err
	}
	s := &Served{Listener: listener, of: c.l, own: true, late: beside, fresh: true}
	s.reach = reachOfSocket(listener.Addr(), isV6only(listener.Sockets()))
	s.path = pathOf(listener.Addr())
	c.add(place{served: s, bind: w.Bind})
	if beside {
		c.move.late = append(c.move.late, s)
	}
	return nil
}

func (c *change) add(p place) {
	c.fresh = append(c.fresh, p.served)
	c.next = append(c.next, p)
}

// permit gives the path of a unix socket that stays other permissions, if the rules have others.
func (c *change) permit(s *Served) error {
	was, is := c.l.frontend.Current().permission(s.bind), c.rules.permission(s.bind)
	if s.reach.path == "" || !s.own || was == is {
		return nil
	}
	undo, err := s.path.permit(s.reach.path, is.after(was))
	if err == nil {
		c.undo = append(c.undo, undo)
	}
	return err
}

func (c *change) abort() {
	for _, undo := range slices.Backward(c.undo) {
		undo()
	}
	for _, s := range c.fresh {
		if s.fresh {
			s.removePath()
		}
		s.Listener.Close()
	}
}

func (c *change) commit() {
	l := c.l
	before := l.frontend.Current()
	l.frontend.SetRules(*c.rules)
	l.engine.Follow(c.rules)
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.served
	l.served = nil
	stays := make(map[*Served]bool)
	for _, p := range c.next {
		l.served = append(l.served, p.served)
		stays[p.served] = true
		p.served.become(p)
		p.served.follow(before, c.rules)
		if l.serving && !p.served.begun {
			p.served.begin(c.rules)
		}
	}
	for _, s := range was {
		if !stays[s] {
			s.drop()
		}
	}
}

// become makes it what it is from now on.
func (s *Served) become(p place) {
	s.bind, s.extra = p.bind, p.extra
	s.Listener.As(p.bind)
	switch {
	case s.over && !p.over:
		s.over = false
		if s.last != nil {
			s.last.Stop()
			s.last = nil
			dropSYN(s.Listener.Sockets(), false)
		}
	case p.over && !s.over:
		s.over = true
		if s.begun {
			s.callLast()
		}
	}
}

// lastHandshakes is how long a listener whose place others take waits for those who have begun to connect to it: as long
// as the kernel waits before it answers a SYN again.
const lastHandshakes = time.Second

// callLast closes a listener in whose place others listen. For a moment it goes on as before, for a SYN may be on its
// way to it on another core; then it takes only those who have begun.
func (s *Served) callLast() {
	step := func(what string, do func()) func() {
		return func() {
			s.of.frontend.Guard.Do(what, func() {
				s.of.mu.Lock()
				defer s.of.mu.Unlock()
				if s.over && !s.given && !s.of.over && slices.Contains(s.of.served, s) {
					do()
				}
			})
		}
	}
	shut := step("the last call of a listener", func() {
		s.of.served = slices.DeleteFunc(s.of.served, func(other *Served) bool { return other == s })
		s.drop()
	})
	s.last = time.AfterFunc(LastCall, step("the end of a listener", func() {
		dropSYN(s.Listener.Sockets(), true)
		s.last = time.AfterFunc(lastHandshakes, shut)
	}))
}

// follow goes by rules that are new.
func (s *Served) follow(before, rules *Rules) {
	if s.given || s.late || !s.begun && !s.fresh { // the last: see begin
		return
	}
	s.Listener.Follow(rules)
	if before.Backlog == rules.Backlog {
		return
	}
	if err := s.Listener.Listen(rules); err != nil {
		s.of.frontend.Log.Error().Str("frontend", s.of.frontend.Name()).Stringer("bind_on", s.Addr()).Err(err).Msg("the backlog stays as it was")
	}
}

// listen has one that is bound beside others listen.
func (s *Served) listen() error {
	if !s.late {
		return nil
	}
	s.late = false
	if err := s.Listener.Listen(s.of.frontend.Current()); err != nil {
		return listenError(s.of.frontend.Name(), s.bind, err)
	}
	return nil
}

// begin accepts. Not before it is the sockets given what is to hold for them: somebody else may have served with them
// until now, and could have gone on.
func (s *Served) begin(rules *Rules) {
	switch {
	case s.given:
		return
	case s.late:
		if err := s.listen(); err != nil {
			s.of.frontend.Log.Error().Err(err).Msg("nobody is accepted there")
		}
	case !s.fresh:
		s.welcome(rules)
	}
	if !s.extra && !s.over {
		s.of.frontend.LogListening(s.Addr(), s.of.owner.engine, s.of.why)
	}
	s.begun = true
	s.Listener.Begin()
	if s.over && !s.waits {
		s.callLast()
	}
}

// welcome makes sockets that were opened elsewhere like those that the frontend opens.
func (s *Served) welcome(rules *Rules) {
	s.Listener.Follow(rules)
	log := s.of.frontend.Log.With().Str("frontend", s.of.frontend.Name()).Stringer("bind_on", s.Addr()).Logger()
	if s.own || rules.Backlog > 0 { // or it is for systemd to say
		if err := s.Listener.Listen(rules); err != nil {
			log.Error().Err(err).Msg("the backlog stays as it was")
		}
	}
	if s.reach.path == "" {
		if !s.over {
			dropSYN(s.Listener.Sockets(), false) // of a last call of the process before
		}
		return
	}
	switch is := rules.permission(s.bind); {
	case is == Permission{}:
	case !s.own:
		log.Warn().Msg("mode, owner and group have no effect: the socket was opened by another program")
	default:
		if _, err := s.path.permit(s.reach.path, is); err != nil {
			log.Error().Err(err).Msg("the path keeps its mode, owner and group")
		}
	}
}

// drop accepts no more. A socket from elsewhere is kept, for it could not be opened again.
func (s *Served) drop() {
	if s.given {
		return
	}
	s.park()
	s.removePath()
	if s.begun {
		s.of.closing.add()
		s.Listener.Shut(s.of.closing.done)
	} else {
		s.Listener.Close()
	}
}

// park keeps copies of sockets that weir has not opened.
func (s *Served) park() {
	if s.own || s.of.parked == nil {
		return
	}
	var sockets []Socket
	for _, fd := range s.Sockets() {
		sockets = append(sockets, Socket{FD: fd})
	}
	if files, err := Copies(sockets); err == nil {
		s.of.parked.add(files, s.Addr(), s.reach)
	}
}

// removePath removes the path of a unix socket, if it is weir's own and nobody has taken its place.
func (s *Served) removePath() {
	if s.own && s.reach.path != "" && !s.given {
		s.path.remove(s.reach.path)
	}
}

// give lets go of the sockets, for others accept from them.
func (s *Served) give() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.giveUp()
}

func (s *Served) giveUp() {
	if s.given {
		return
	}
	s.given = true
	if s.begun {
		s.Listener.Release()
	} else {
		s.Listener.Close()
	}
}

// HandOver closes all listeners, for others accept from the same sockets: who waits there is theirs, and the path of a
// unix socket stays.
func (l *Listening) HandOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		s.giveUp()
	}
}

// Sockets returns the listening sockets.
func (l *Listening) Sockets() (sockets []Socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		if s.given {
			continue
		}
		for _, fd := range s.Listener.Sockets() {
			sockets = append(sockets, Socket{FD: fd, Own: s.own, path: s.path})
		}
	}
	return sockets
}

// held tells a move what there is. A unix socket whose path is gone cannot be reached any more: it is not.
func (l *Listening) held() (list []*held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		if s.given || s.own && s.reach.path != "" && !s.path.is(s.reach.path) {
			continue
		}
		list = append(list, &held{reach: s.reach, addr: s.Addr(), own: s.own, path: s.path, served: s, owner: l.owner, bind: s.bind})
	}
	return list
}

// Addrs returns the listening addresses, with the ports the kernel chose.
func (l *Listening) Addrs() (addrs []net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		if !s.extra && !s.over {
			addrs = append(addrs, s.Addr())
		}
	}
	return addrs
}

// More returns how many sockets there are beyond those that the configuration names.
func (l *Listening) More() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		if s.extra || s.over {
			n += len(s.Sockets())
		}
	}
	return n
}

// Begin accepts at all addresses.
func (l *Listening) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = true
	for _, s := range l.served {
		s.begin(l.frontend.Current())
	}
}

// Serving says whether clients are accepted.
func (l *Listening) Serving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serving
}

// Alone says that the process before this one does not go on: what only it needed may go.
func (l *Listening) Alone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		if s.waits && s.over && s.begun {
			s.callLast()
		}
		s.waits = false
	}
}

// Leave says that the configuration has the frontend no more: it is to End soon.
func (l *Listening) Leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = true
	l.closing.add()
	for _, s := range l.served {
		if !s.given {
			s.park()
		}
	}
}

// End is called when the engine has closed all listeners.
func (l *Listening) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.leaving {
		defer l.closing.done()
	}
	for _, s := range l.served {
		s.removePath()
		if s.last != nil {
			s.last.Stop()
		}
	}
}

// Close closes the listeners of a frontend that never served.
func (l *Listening) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.served {
		if s.given {
			continue
		}
		if s.fresh {
			s.removePath()
		}
		s.Listener.Close()
	}
	l.served = nil
}
