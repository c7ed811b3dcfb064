package load

import (
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// EchoLoops is how many event loops an echo server should have that has its host to itself.
func EchoLoops() int { return runtime.NumCPU() }

// echoLoops is an echo server on event loops: no goroutine and no allocation for a connection.
type echoLoops struct {
	cores   []*echoCore
	paths   []string // of unix sockets; removed by stop
	running sync.WaitGroup
	restore func()

	mu   sync.Mutex
	runs bool
	dead bool
}

// echoCore is one loop, its listening sockets and its connections.
type echoCore struct {
	*loop.Loop
	opts    *EchoOptions
	guests  *guests // of all cores; nil: no capacity
	greet   []byte
	ports   []*echoPort
	conns   []*echoConn // in no order; each knows its index
	idle    []*echoConn // for use again
	buf     []byte
	delays  *loop.Queue
	buffers [][]byte // free
}

// newEchoLoops takes over listening sockets, and opens each once more for every further loop. On an
// error the listeners are the caller's still.
func newEchoLoops(n int, listeners []net.Listener, o *EchoOptions, g *guests) (*echoLoops, error) {
	e := &echoLoops{restore: func() {}}
	for range n {
		l, err := loop.New()
		if err != nil {
			e.close()
			return nil, err
		}
		c := &echoCore{Loop: l, opts: o, guests: g, buf: make([]byte, echoBuffer), delays: l.NewQueue()}
		if o.Name != "" {
			c.greet = []byte(o.Name + "\n")
		}
		e.cores = append(e.cores, c)
	}
	for _, l := range listeners {
		if err := e.share(l); err != nil {
			e.close()
			return nil, err
		}
	}
	for _, l := range listeners {
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // its copies still listen
			if path := u.Addr().String(); !strings.HasPrefix(path, "@") {
				e.paths = append(e.paths, path)
			}
		}
		l.Close() // or the runtime's poller would be woken for each client as well
	}
	return e, nil
}

// share gives each core a socket that listens where l does.
func (e *echoLoops) share(l net.Listener) error {
	rc, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	for i, c := range e.cores {
		var fd int
		cerr := rc.Control(func(of uintptr) { fd, err = shareSocket(int(of), i == 0) })
		if cerr != nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		c.ports = append(c.ports, &echoPort{core: c, fd: fd})
	}
	return nil
}

// shareSocket returns a copy of a listening socket, or where it can a socket that shares its port: the
// kernel then spreads the clients over both.
func shareSocket(of int, first bool) (int, error) {
	sa, err := unix.Getsockname(of)
	if err != nil {
		return -1, os.NewSyscallError("getsockname", err)
	}
	_, isUnix := sa.(*unix.SockaddrUnix)
	if !isUnix && !first {
		return joinSocket(of, sa)
	}
	if !isUnix {
		if err := setOptions(of); err != nil {
			return -1, err
		}
	}
	fd, err := unix.FcntlInt(uintptr(of), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// setOptions sets what a TCP socket that listens is to have; accepted sockets inherit the last.
func setOptions(fd int) error {
	for _, o := range []struct{ level, name int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT}, {unix.IPPROTO_TCP, unix.TCP_NODELAY},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func joinSocket(of int, sa unix.Sockaddr) (int, error) {
	family := unix.AF_INET
	if _, ok := sa.(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := joinPort(fd, of, family, sa); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func joinPort(fd, of, family int, sa unix.Sockaddr) error {
	if family == unix.AF_INET6 {
		only, err := unix.GetsockoptInt(of, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
		}
		if err != nil {
			return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	if err := setOptions(fd); err != nil {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, 1<<30)) // the kernel caps it
}

// serve runs the loops until stop.
func (e *echoLoops) serve() {
	e.mu.Lock()
	if e.dead || e.runs {
		e.mu.Unlock()
		return
	}
	e.runs = true
	e.restore = moreProcessors(len(e.cores))
	for _, c := range e.cores {
		c.Post(c.open)
		e.running.Go(c.Run)
	}
	e.mu.Unlock()
	e.running.Wait()
	e.restore()
	e.close()
}

// stop resets every connection and closes the listening sockets, and returns when that is done.
func (e *echoLoops) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead {
		return
	}
	e.dead = true
	for _, path := range e.paths {
		os.Remove(path)
	}
	if !e.runs {
		e.close()
		return
	}
	cores := e.cores
	done := make(chan struct{}, len(cores))
	for _, c := range cores {
		c.Post(func() { c.reset(); c.Stop(); done <- struct{}{} })
	}
	for range cores {
		<-done
	}
}

// close closes what is left when the loops do not run.
func (e *echoLoops) close() {
	for _, c := range e.cores {
		c.reset()
		c.Loop.Close()
	}
	e.cores = nil
}
