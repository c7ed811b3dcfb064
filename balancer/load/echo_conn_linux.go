package load

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

const (
	// echoBuffer is how much one read takes.
	echoBuffer = 64 << 10
	// echoRounds is how many reads one connection makes before the others' turn.
	echoRounds = 8
	// echoAccepts is how many clients one event brings in.
	echoAccepts = 16
	// echoKept bounds the connections and buffers that are kept for use again.
	echoKept, echoKeptBuffers = 16 << 10, 64
	echoEvents                = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff
)

// echoPort is a listening socket of one core.
type echoPort struct {
	core  *echoCore
	fd    int // owned
	key   loop.Key
	pause loop.Timer
	sa    unix.RawSockaddrAny
}

// open begins to accept.
func (c *echoCore) open() {
	for _, p := range c.ports {
		p.open()
	}
}

func (p *echoPort) open() {
	var errno loop.Errno
	// Unix sockets are shared by all loops: one of them is enough to wake.
	if p.key, errno = p.core.Add(p.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, p); errno != 0 {
		p.core.opts.Log.Error().Err(os.NewSyscallError("epoll_ctl", errno)).Msg("cannot accept")
	}
}

// Ready takes in clients.
func (p *echoPort) Ready(uint32) {
	for range echoAccepts {
		fd, errno := loop.Accept(p.fd, &p.sa)
		switch errno {
		case 0:
			p.core.serve(fd)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
		default:
			p.core.opts.Log.Error().Err(os.NewSyscallError("accept4", errno)).Msg("cannot accept")
			p.core.Remove(p.fd, p.key)
			p.key = 0
			p.core.delays.Arm(&p.pause, p, acceptPause)
			return
		}
	}
}

// Expired accepts again after a pause.
func (p *echoPort) Expired(*loop.Timer) { p.open() }

// Panicked passes the panic on.
func (p *echoPort) Panicked(value any, stack []byte) {
	panic(fmt.Sprintf("echo: %v\n%s", value, stack))
}

// echoConn is one client. It is used again for another one.
type echoConn struct {
	core     *echoCore
	fd       int // owned
	key      loop.Key
	index    int    // in core.conns
	kept     []byte // what is to be sent yet; part of buffer
	buffer   []byte
	bytes    int64
	readable bool
	writable bool
	ended    bool // there is an end to be read
	delayed  bool // until the timer
	timer    loop.Timer
	guest    *guest // nil: no capacity
}

// serve begins with a client.
func (c *echoCore) serve(fd int) {
	one, ok := c.guests.enter(fd)
	if !ok {
		loop.ResetOnClose(fd)
		loop.Close(fd)
		return
	}
	var e *echoConn
	if n := len(c.idle); n > 0 {
		e, c.idle = c.idle[n-1], c.idle[:n-1]
	} else {
		e = new(echoConn)
	}
	*e = echoConn{core: c, fd: fd, writable: true, index: len(c.conns), guest: one}
	c.conns = append(c.conns, e)
	var errno loop.Errno
	if e.key, errno = c.Add(fd, echoEvents, e); errno != 0 {
		e.close(errno)
		return
	}
	if len(c.greet) > 0 {
		e.send(c.greet)
	}
}

// Ready sends back what there is. A client that has gone gets no answer, and holds no place while its
// delay goes by.
func (e *echoConn) Ready(ev uint32) {
	const end = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	e.readable = e.readable || ev&(unix.EPOLLIN|end) != 0
	e.writable = e.writable || ev&unix.EPOLLOUT != 0
	e.ended = e.ended || ev&end != 0
	if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		errno, _ := unix.GetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		e.close(loop.Errno(errno))
		return
	}
	e.pump()
}

func (e *echoConn) pump() {
	for range echoRounds {
		if e.fd < 0 || e.delayed || !e.flush() || !e.readable {
			return
		}
		e.step()
	}
	e.core.Again(e)
}

// step reads once and sends what came.
func (e *echoConn) step() {
	buf := e.core.buf
	n, errno := e.recv(buf)
	switch {
	case errno == unix.EAGAIN:
		e.readable = false
		return
	case errno == unix.EINTR:
		return
	case errno != 0 || n == 0:
		e.close(errno)
		return
	}
	if n < len(buf) {
		e.readable = e.ended // all that has arrived is read; what comes next brings an event
	}
	if d := e.core.opts.Delay; d > 0 {
		e.keep(buf[:n])
		e.delayed = true
		e.core.delays.Arm(&e.timer, e, d)
		return
	}
	e.send(buf[:n])
}

// send sends p, and keeps what is not taken.
func (e *echoConn) send(p []byte) {
	n, errno := e.write(p)
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		e.close(errno)
		return
	}
	e.bytes += int64(n)
	if n < len(p) {
		e.writable = errno == unix.EINTR
		e.keep(p[n:])
	}
}

// keep keeps p for later. Nothing more is read until it is sent, so a buffer is enough; a greeting that
// was not taken is kept before anything was read.
func (e *echoConn) keep(p []byte) {
	c := e.core
	if n := len(c.buffers); n > 0 {
		e.buffer, c.buffers = c.buffers[n-1], c.buffers[:n-1]
	} else {
		e.buffer = make([]byte, echoBuffer)
	}
	e.kept = e.buffer[:copy(e.buffer, p)]
}

// flush sends what was kept, and reports whether nothing is left of it.
func (e *echoConn) flush() bool {
	for len(e.kept) > 0 {
		if !e.writable {
			return false
		}
		n, errno := e.write(e.kept)
		if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			e.close(errno)
			return false
		}
		e.bytes += int64(n)
		e.kept = e.kept[n:]
		e.writable = errno != unix.EAGAIN
	}
	e.release()
	return true
}

// recv reads, and with a capacity notes that an answer is owed then.
func (e *echoConn) recv(p []byte) (n int, errno loop.Errno) {
	if e.guest == nil {
		return loop.Recv(e.fd, p)
	}
	e.guest.mu.Lock()
	defer e.guest.mu.Unlock()
	n, errno = loop.Recv(e.fd, p)
	e.guest.owed = n > 0
	return n, errno
}

// write sends what is taken, and with a capacity notes whether that was all.
func (e *echoConn) write(p []byte) (n int, errno loop.Errno) {
	if e.guest == nil {
		return loop.Send(e.fd, p)
	}
	e.guest.mu.Lock()
	defer e.guest.mu.Unlock()
	n, errno = loop.Send(e.fd, p)
	e.guest.owed = n < len(p)
	return n, errno
}

func (e *echoConn) release() {
	if e.buffer != nil && len(e.core.buffers) < echoKeptBuffers {
		e.core.buffers = append(e.core.buffers, e.buffer)
	}
	e.buffer, e.kept = nil, nil
}

// Expired sends what was delayed.
func (e *echoConn) Expired(*loop.Timer) {
	e.delayed = false
	e.pump()
}

// close ends the connection.
func (e *echoConn) close(errno loop.Errno) {
	c := e.core
	if c.opts.Log.Info().Enabled() {
		e.log(errno)
	}
	e.timer.Stop()
	e.release()
	c.Forget(e.key)
	c.guests.leave(e.guest)
	loop.Close(e.fd)
	e.fd = -1
	last := c.conns[len(c.conns)-1]
	c.conns[e.index], last.index = last, e.index
	c.conns = c.conns[:len(c.conns)-1]
	if len(c.idle) < echoKept {
		c.idle = append(c.idle, e)
	}
}

func (e *echoConn) log(errno loop.Errno) {
	line := e.core.opts.Log.Info().Int64("bytes", e.bytes)
	if sa, err := unix.Getpeername(e.fd); err == nil {
		line = line.Str("client", clientText(sa))
	}
	if errno != 0 {
		line = line.Err(errno)
	}
	line.Msg("echoed")
}

// Panicked passes the panic on.
func (e *echoConn) Panicked(value any, stack []byte) {
	panic(fmt.Sprintf("echo: %v\n%s", value, stack))
}

// reset ends everything at once, as the death of the process would.
func (c *echoCore) reset() {
	for _, p := range c.ports {
		p.pause.Stop()
		if p.key != 0 {
			c.Remove(p.fd, p.key)
		}
		unix.Close(p.fd)
	}
	c.ports = nil
	for len(c.conns) > 0 {
		e := c.conns[len(c.conns)-1]
		loop.ResetOnClose(e.fd)
		e.close(0)
	}
}

func clientText(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String()
	}
	return "unix"
}
