package reactor

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
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
	owner bool   // of the path of a unix socket
	crowd int    // turns in a row in which somebody waited
	turn  uint64 // the last of them
	pause time.Duration
	timer loop.Timer
	sa    unix.RawSockaddrAny
	wake  func() // bound once: a method value allocates
}

func (p *port) newListener(fd int, b frontend.Bind) *listener {
	l := &listener{port: p, fd: fd, bind: b}
	l.wake = func() { p.Post(l.resume) }
	return l
}

// listen opens an address on every core. The first socket is bound without SO_REUSEPORT, so that an
// address in use by anybody else is an error and not a share; the others join it.
func (s *Server) listen(bind frontend.Bind, rules *frontend.Rules, there *frontend.Inherited) (*binding, error) {
	if files := there.Take(bind); files != nil {
		return s.takeOver(files, bind)
	}
	first, addr, err := s.listenFirst(bind, rules)
	if err != nil {
		return nil, err
	}
	b := &binding{bind: bind, addr: addr, own: true, listeners: []*listener{s.ports[0].newListener(first, bind)}}
	b.listeners[0].owner = true
	for _, p := range s.ports[1:] {
		fd, err := s.listenAgain(first, bind, addr, rules)
		if err != nil {
			b.close()
			return nil, err
		}
		b.listeners = append(b.listeners, p.newListener(fd, bind))
	}
	return b, nil
}

// takeOver uses sockets that are there already: every one of them, for clients may wait in its queue; and on
// a core for which there is none, a copy of the first, which shares its queue.
func (s *Server) takeOver(files []*os.File, bind frontend.Bind) (_ *binding, err error) {
	b := &binding{bind: bind, own: files[0].Name() == frontend.OwnSocket}
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			b.close()
		}
	}()
	for i := range max(len(files), len(s.ports)) {
		f := files[0]
		if i < len(files) {
			f = files[i]
		}
		fd, err := duplicate(f)
		if err != nil {
			return nil, err
		}
		l := s.ports[i%len(s.ports)].newListener(fd, bind)
		b.listeners = append(b.listeners, l)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	sa, err := unix.Getsockname(b.listeners[0].fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if b.addr = tcpAddr(sa, ""); b.addr == (*net.TCPAddr)(nil) {
		b.addr = &net.UnixAddr{Name: bind.Address, Net: "unix"}
	}
	return b, nil
}

// duplicate returns a copy of f's descriptor. f.Fd would put the socket, which another process may be
// accepting from, into blocking mode.
func duplicate(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := c.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// listenAgain opens the address for one more core. A unix socket cannot be shared by SO_REUSEPORT: all
// cores accept from the same queue.
func (s *Server) listenAgain(first int, b frontend.Bind, addr net.Addr, rules *frontend.Rules) (int, error) {
	if t, ok := addr.(*net.TCPAddr); ok {
		return listenSocket(inetSockaddr(t.AddrPort()), isDual(b, t), true, rules)
	}
	fd, err := unix.FcntlInt(uintptr(first), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

func (s *Server) listenFirst(b frontend.Bind, rules *frontend.Rules) (int, net.Addr, error) {
	if b.Network == "unix" {
		return listenUnix(b, rules)
	}
	want, err := resolveBind(b)
	if err != nil {
		return -1, nil, err
	}
	fd, err := listenSocket(inetSockaddr(want.AddrPort()), isDual(b, want), false, rules)
	if err != nil {
		return -1, nil, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return -1, nil, os.NewSyscallError("getsockname", err)
	}
	return fd, tcpAddr(sa, want.Zone), nil
}

// resolveBind turns host:port into one address; localhost is an IPv4 address where there is one.
func resolveBind(b frontend.Bind) (*net.TCPAddr, error) {
	a, err := net.ResolveTCPAddr(b.Network, b.Address)
	if err != nil {
		return nil, err
	}
	if a.IP == nil {
		a.IP = net.IPv6zero
		if b.Network == "tcp4" || !ipv6() {
			a.IP = net.IPv4zero
		}
	}
	return a, nil
}

// ipv6 says whether this host can have IPv6 sockets.
func ipv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// isDual says whether the address takes IPv4 clients as well: [::] and an empty host do.
func isDual(b frontend.Bind, a *net.TCPAddr) bool {
	return b.Network == "tcp" && a.IP.To4() == nil && a.IP.IsUnspecified()
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

// listenSocket opens one TCP socket; join makes it share the port with those that are there.
func listenSocket(sockaddr []byte, dual, join bool, rules *frontend.Rules) (int, error) {
	fd, errno := loop.Socket(family(sockaddr))
	if errno != 0 {
		return -1, os.NewSyscallError("socket", errno)
	}
	if err := bindAndListen(fd, sockaddr, dual, join, rules); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindAndListen(fd int, sockaddr []byte, dual, join bool, rules *frontend.Rules) error {
	set := func(what string, level, name, value int) error {
		return os.NewSyscallError("setsockopt "+what, unix.SetsockoptInt(fd, level, name, value))
	}
	if err := set("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family(sockaddr) == unix.AF_INET6 {
		only := 1
		if dual {
			only = 0
		}
		if err := set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	for _, o := range rules.Socket.ForListener() { // accepted sockets inherit them
		if err := set(o.What, o.Level, o.Name, o.Value); err != nil {
			return err
		}
	}
	if join {
		if err := set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	if errno := loop.Bind(fd, sockaddr); errno != 0 {
		return os.NewSyscallError("bind", errno)
	}
	if err := set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	return os.NewSyscallError("listen", unix.Listen(fd, backlog(rules)))
}

// backlog returns the length of the accept queue; the kernel caps it at net.core.somaxconn.
func backlog(rules *frontend.Rules) int {
	if rules.Backlog > 0 {
		return rules.Backlog
	}
	return 1 << 30
}

// listenUnix has the net package open a unix socket, for it knows about paths, and keeps a copy.
func listenUnix(b frontend.Bind, rules *frontend.Rules) (int, net.Addr, error) {
	l, err := net.Listen(b.Network, b.Address)
	if err != nil && frontend.RemoveStale(b) {
		l, err = net.Listen(b.Network, b.Address)
	}
	if err != nil {
		return -1, nil, err
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // the copy still listens
	defer u.Close()
	rc, err := u.SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	fd := -1
	if cerr := rc.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return -1, nil, fmt.Errorf("keep %s: %w", b.Address, err)
	}
	return fd, u.Addr(), os.NewSyscallError("listen", unix.Listen(fd, backlog(rules)))
}

// open begins to accept. Level-triggered, so that a batch may leave clients for the next turn.
func (p *port) open(l *listener) {
	p.listeners = append(p.listeners, l)
	var errno loop.Errno
	if l.key, errno = p.Add(l.fd, unix.EPOLLIN, l); errno != 0 {
		p.LogNoAccept(os.NewSyscallError("epoll_ctl", errno))
	}
}

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
	if l.owner && l.bind.Network == "unix" && !strings.HasPrefix(l.bind.Address, "@") {
		os.Remove(l.bind.Address)
	}
}

// acceptAll takes everybody who waits.
func (p *port) acceptAll() {
	for _, l := range p.listeners {
		l.acceptAll()
	}
}

func (l *listener) acceptAll() {
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
		l.pause = 0
		p.start(fd, peer(&l.sa), l.bind)
		return true
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

// Panicked logs what accepting should never do. The listener goes on.
func (l *listener) Panicked(value any, stack []byte) {
	l.port.Log.Error().Interface("panic", value).Bytes("stack", stack).Msg("accepting panicked")
}
