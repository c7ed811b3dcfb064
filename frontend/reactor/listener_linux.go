package reactor

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend"
	"weir/frontend/reactor/loop"
)

const (
	// A listener brings in at most 1<<mostCrowd clients before the others' turn.
	mostCrowd = 4
	// First and longest pause of a listener that the kernel gives no connection.
	firstPause, longestPause = 5 * time.Millisecond, time.Second
)

// listener is one listening socket on one core.
type listener struct {
	port  *port
	fd    int      // owned
	key   loop.Key // 0: not registered (the loop's first key is its own)
	bind  frontend.Bind
	crowd int    // turns in a row in which somebody waited
	turn  uint64 // the last of them
	pause time.Duration
	timer loop.Timer
	sa    unix.RawSockaddrAny
	wake  func() // bound once: a method value allocates
}

func (p *port) newListener(fd int) *listener {
	l := &listener{port: p, fd: fd}
	l.wake = func() { p.Post(l.resume) }
	return l
}

// binding is a listening address: a listener on each core.
type binding struct {
	server    *Server
	addr      net.Addr
	listeners []*listener
	begun     bool
}

// OpenListener opens an address on every core. The first socket is bound without SO_REUSEPORT, so that an
// address in use by anybody else is an error and not a share; the others join it.
func (s *Server) OpenListener(ctx context.Context, bind frontend.Bind, rules *frontend.Rules, beside bool) (_ frontend.Listener, err error) {
	b := &binding{server: s}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if bind.Network == "unix" {
		return b, b.openUnix(ctx, bind, rules)
	}
	a, dual, err := frontend.ResolveBind(bind)
	if err != nil {
		return nil, err
	}
	o := opening{dual: dual, join: beside, rules: rules}
	for _, p := range s.ports {
		fd, err := o.bind(inetSockaddr(a.AddrPort()))
		if err != nil {
			return nil, err
		}
		b.listeners = append(b.listeners, p.newListener(fd))
		if !beside {
			if err := b.listen(fd, rules); err != nil {
				return nil, err
			}
		}
		if a, err = boundTo(fd, a.Zone); err != nil {
			return nil, err
		}
		b.addr, o.join = a, true
	}
	return b, nil
}

// boundTo returns the address of a TCP socket, with the port that the kernel chose.
func boundTo(fd int, zone string) (*net.TCPAddr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	return tcpAddr(sa, zone), nil
}

// openUnix opens a unix socket. It cannot be shared by SO_REUSEPORT: all cores accept from the same queue.
func (b *binding) openUnix(ctx context.Context, bind frontend.Bind, rules *frontend.Rules) error {
	u, err := frontend.ListenUnix(ctx, bind, rules)
	if err != nil {
		return err
	}
	defer u.Close()
	rc, err := u.SyscallConn()
	if err != nil {
		return err
	}
	b.addr = u.Addr()
	for _, p := range b.server.ports {
		if cerr := rc.Control(func(of uintptr) { err = b.duplicate(p, of) }); cerr != nil || err != nil {
			return errors.Join(cerr, err)
		}
	}
	return b.Listen(rules)
}

func (b *binding) duplicate(p *port, of uintptr) error {
	fd, err := unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	b.listeners = append(b.listeners, p.newListener(fd))
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// AdoptListener uses sockets that are there already: every one of them, for clients may wait in its queue; and on
// a core for which there is none, a copy of the first, which shares its queue.
func (s *Server) AdoptListener(files []*os.File) (_ frontend.Listener, err error) {
	b := &binding{server: s}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	for i := range max(len(files), len(s.ports)) {
		f := files[0]
		if i < len(files) {
			f = files[i]
		}
		c, err := f.SyscallConn() // f.Fd would make the socket, which others may be accepting from, block
		if err != nil {
			return nil, err
		}
		if cerr := c.Control(func(of uintptr) { err = b.duplicate(s.ports[i%len(s.ports)], of) }); cerr != nil || err != nil {
			return nil, errors.Join(cerr, err)
		}
	}
	sa, err := unix.Getsockname(b.listeners[0].fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch a := sa.(type) {
	case *unix.SockaddrUnix:
		b.addr = &net.UnixAddr{Name: a.Name, Net: "unix"}
	case *unix.SockaddrInet6:
		zone := ""
		if a.ZoneId != 0 {
			zone = zoneName(a.ZoneId)
		}
		b.addr = tcpAddr(sa, zone)
	default:
		b.addr = tcpAddr(sa, "")
	}
	return b, nil
}

// Addr is Listener's.
func (b *binding) Addr() net.Addr { return b.addr }

// Sockets is Listener's.
func (b *binding) Sockets() (fds []uintptr) {
	for _, l := range b.listeners {
		fds = append(fds, uintptr(l.fd))
	}
	return fds
}

// Listen is Listener's. The kernel numbers the sockets in this order: see steer.
func (b *binding) Listen(rules *frontend.Rules) error {
	for _, l := range b.listeners {
		if err := b.listen(l.fd, rules); err != nil {
			return err
		}
	}
	return nil
}

func (b *binding) listen(fd int, rules *frontend.Rules) error {
	return os.NewSyscallError("listen", unix.Listen(fd, backlog(rules)))
}

// Follow is Listener's.
func (b *binding) Follow(rules *frontend.Rules) {
	if _, ok := b.addr.(*net.TCPAddr); !ok {
		return
	}
	if b.begun {
		b.server.reactor.steer(b)
	}
	for _, l := range b.listeners {
		for _, o := range rules.Socket.ForListener() {
			unix.SetsockoptInt(l.fd, o.Level, o.Name, o.Value)
		}
	}
}

// As is Listener's.
func (b *binding) As(bind frontend.Bind) {
	for _, l := range b.listeners {
		if b.begun {
			l.port.Post(func() { l.bind = bind })
		} else {
			l.bind = bind
		}
	}
}

// Begin is Listener's.
func (b *binding) Begin() {
	b.begun = true
	b.server.reactor.steer(b)
	for _, l := range b.listeners {
		l.port.Post(func() { l.port.open(l) })
	}
}

// Shut is Listener's.
func (b *binding) Shut(closed func()) {
	var left atomic.Int64
	left.Store(int64(len(b.listeners)))
	shut := func(l *listener) {
		if l.port.listens(l) {
			l.acceptAll()
			l.port.shut(l)
		}
		if left.Add(-1) == 0 {
			closed()
		}
	}
	time.AfterFunc(frontend.LastCall, func() {
		for _, l := range b.listeners {
			l.port.Post(func() { shut(l) })
		}
	})
}

// Release is Listener's.
func (b *binding) Release() {
	for _, l := range b.listeners {
		l.port.Post(func() { l.port.shut(l) })
	}
}

// Close is Listener's.
func (b *binding) Close() {
	for _, l := range b.listeners {
		l.close()
	}
}

func tcpAddr(sa unix.Sockaddr, zone string) *net.TCPAddr {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port, Zone: zone}
	}
	return nil
}

// opening is how sockets are opened. join makes them share the port with those that are there.
type opening struct {
	dual, join bool
	rules      *frontend.Rules
}

// bind returns a TCP socket that does not listen yet, but others may be bound beside it then.
func (o *opening) bind(sockaddr []byte) (int, error) {
	fd, errno := loop.Socket(family(sockaddr))
	if errno != 0 {
		return -1, os.NewSyscallError("socket", errno)
	}
	if err := o.bindTo(fd, sockaddr); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (o *opening) bindTo(fd int, sockaddr []byte) error {
	set := func(what string, level, name, value int) error {
		return os.NewSyscallError("setsockopt "+what, unix.SetsockoptInt(fd, level, name, value))
	}
	if err := set("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family(sockaddr) == unix.AF_INET6 {
		only := 1
		if o.dual {
			only = 0
		}
		if err := set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	for _, option := range o.rules.Socket.ForListener() { // accepted sockets inherit them
		if err := set(option.What, option.Level, option.Name, option.Value); err != nil {
			return err
		}
	}
	if o.join {
		if err := set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	if errno := loop.Bind(fd, sockaddr); errno != 0 {
		return os.NewSyscallError("bind", errno)
	}
	return set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// backlog returns the length of the accept queue; the kernel caps it at net.core.somaxconn.
func backlog(rules *frontend.Rules) int {
	if rules.Backlog > 0 {
		return rules.Backlog
	}
	return 1 << 30
}

// open begins to accept. Level-triggered, so that a batch may leave clients for the next turn.
func (p *port) open(l *listener) {
	p.listeners = append(p.listeners, l)
	var errno loop.Errno
	if l.key, errno = p.Add(l.fd, unix.EPOLLIN, l); errno != 0 {
		p.LogNoAccept(os.NewSyscallError("epoll_ctl", errno))
	}
}

func (p *port) listens(l *listener) bool { return slices.Contains(p.listeners, l) }

// shut closes one listener.
func (p *port) shut(l *listener) {
	if i := slices.Index(p.listeners, l); i >= 0 {
		p.listeners = slices.Delete(p.listeners, i, i+1)
		l.close()
	}
}

func (p *port) closeListeners() {
	for _, l := range p.listeners {
		l.close()
	}
	p.listeners = nil
}

func (l *listener) close() {
	l.timer.Stop()
	if l.key != 0 {
		l.port.Remove(l.fd, l.key)
		l.key = 0
	}
	unix.Close(l.fd)
}

// acceptAll takes everybody who waits.
func (p *port) acceptAll() {
	for _, l := range p.listeners {
		l.acceptAll()
	}
}

func (l *listener) acceptAll() {
	defer loop.Contain(l)
	for l.accept() {
	}
}

// Ready takes in clients: one a turn at first, for to ask until there are none would cost a quiet listener
// a second system call for each client; and twice as many each turn once there is a crowd.
func (l *listener) Ready(uint32) {
	turn := l.port.Turn()
	if l.crowd++; turn != l.turn+1 {
		l.crowd = 0
	}
	l.turn = turn
	for range 1 << min(max(0, l.crowd-1), mostCrowd) {
		if !l.accept() {
			l.crowd = 0
			return
		}
	}
}

// accept takes in one client, and reports whether there may be more.
func (l *listener) accept() bool {
	p := l.port
	if p.suspended {
		return false
	}
	if !p.TakeSlot(l.wake) {
		p.closeResting() // descriptors are short
		l.listenFor(0)
		return false
	}
	fd, errno := loop.Accept(l.fd, &l.sa)
	switch errno {
	case 0:
		return l.let(fd)
	case unix.EAGAIN, unix.EINTR:
		p.GiveSlot()
		return false
	case unix.ECONNABORTED: // that one has left already
		p.GiveSlot()
		return true
	}
	p.GiveSlot()
	l.rest(os.NewSyscallError("accept4", errno))
	return false
}

// errLetIn is why a client was not let in. The guard has logged more.
var errLetIn = errors.New("letting in a client panicked")

// let begins the session of a client. If that panics, it has none, and the next have to wait a little.
func (l *listener) let(fd int) bool {
	p := l.port
	if p.Guard.Do(p.letting, func() { p.start(fd, peer(&l.sa), l.bind) }) {
		l.pause = 0
		return true
	}
	loop.ResetOnClose(fd)
	loop.Close(fd)
	p.GiveSlot()
	l.rest(errLetIn)
	return false
}

// rest waits, longer each time, while the kernel gives no connections, and logs the first of an episode.
func (l *listener) rest(err error) {
	if l.pause == 0 {
		l.port.LogNoAccept(err)
		l.pause = firstPause
	}
	l.port.starve()
	l.listenFor(0)
	l.port.look.Arm(&l.timer, l, l.pause)
	l.pause = min(2*l.pause, longestPause)
}

// resume goes on accepting when a session has ended somewhere.
func (l *listener) resume() {
	if l.key != 0 && !l.timer.Armed() {
		l.listenFor(unix.EPOLLIN)
	}
}

// Expired ends a rest.
func (l *listener) Expired(*loop.Timer) { l.listenFor(unix.EPOLLIN) }

func (l *listener) listenFor(events uint32) {
	if l.port.suspended {
		events = 0
	}
	if l.key != 0 {
		l.port.Change(l.fd, l.key, events)
	}
}

// Panicked reports what accepting should never do. The listener goes on, after a pause: it would be told of the same
// client at once.
func (l *listener) Panicked(value any, stack []byte) {
	l.port.Guard.Caught("accepting from "+l.bind.Address, value, stack)
	l.rest(errLetIn)
}
