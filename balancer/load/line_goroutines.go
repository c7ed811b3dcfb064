package load

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// work does one piece of work, and reports whether it went well.
func (l *line) work(from time.Duration, phase int) bool {
	g := l.crew
	defer l.report(phase)
	l.piece.started++
	if l.conn == nil {
		if err := l.dial(); err != nil {
			l.failed("connect", err)
			return false
		}
	}
	if err := l.exchange(); err != nil {
		l.failed("answer", err)
		return false
	}
	l.piece.took = max(g.now()-from, 1)
	if g.Mode == Connect {
		l.hangUp()
	}
	return true
}

// report adds what was counted to the crew's.
func (l *line) report(phase int) {
	g, p := l.crew, &l.piece
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.all[phase]
	t.started += p.started
	t.done += p.done
	t.sent += p.sent
	t.received += p.received
	if p.took > 0 {
		t.finish(p.took)
	}
	for _, f := range p.failures {
		t.errors[f]++
	}
	for _, n := range p.names {
		t.count([]byte(n), 1)
	}
	*p = piece{}
}

func (l *line) dial() error {
	g := l.crew
	d := net.Dialer{Timeout: g.Timeout}
	if len(g.Sources) > 0 {
		g.mu.Lock()
		g.source++
		ip := g.Sources[g.source%len(g.Sources)]
		g.mu.Unlock()
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))
	}
	c, err := d.Dial(g.Target.Network, g.Target.Address)
	if err != nil {
		return err
	}
	l.conn, l.greeted = c, !g.Greeting
	return nil
}

func (l *line) hangUp() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// exchange sends a message and reads it back.
func (l *line) exchange() error {
	g := l.crew
	l.conn.SetDeadline(time.Now().Add(g.Timeout))
	l.base += int64(g.Size) + 1
	size := int64(g.Size)
	var sent, got int64
	for got < size {
		// Piece by piece, so that neither side waits for the other with everything full.
		if sent < size {
			n, err := l.conn.Write(g.pattern.at(l.base+sent, size-sent))
			sent += int64(n)
			l.piece.sent += int64(n)
			if err != nil {
				return err
			}
		}
		n, err := l.read(l.base+got, sent-got)
		got += n
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads once, and verifies what stands at a position and is not more than most.
func (l *line) read(position, most int64) (int64, error) {
	n, err := l.conn.Read(l.buf)
	l.piece.received += int64(n)
	b := l.buf[:n]
	if !l.greeted && n > 0 {
		if b, l.greeted = l.name.take(b); l.greeted {
			l.piece.names = append(l.piece.names, string(l.name.name()))
		}
	}
	switch {
	case int64(len(b)) > most:
		return 0, errMore
	case !l.crew.pattern.match(position, b):
		return 0, errCorrupt
	}
	return int64(len(b)), err
}

// failed counts an error and ends the connection.
func (l *line) failed(doing string, err error) {
	l.piece.failures = append(l.piece.failures, doing+": "+plain(err))
	l.hangUp()
}

// plain leaves out of an error what differs from one connection to the next.
func plain(err error) string {
	var timeout net.Error
	var errno syscall.Errno
	switch {
	case errors.Is(err, io.EOF):
		return errEnded.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return errTimedOut.Error()
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
