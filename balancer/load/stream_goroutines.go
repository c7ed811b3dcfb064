package load

import (
	"io"
	"net"
	"time"
)

// stream sends and reads until the run is over, and then the rest.
func (l *line) stream() {
	if l.conn == nil {
		return
	}
	defer l.report(0)
	l.piece.started++
	poured := make(chan int64, 1)
	go func() { poured <- l.crew.pour(l.conn, l.base) }()
	got, err := l.drink()
	l.conn.SetDeadline(time.Unix(1, 0)) // or the sender might go on
	sent := <-poured
	l.piece.sent = sent
	if err == io.EOF && got == sent {
		return
	}
	l.failed("stream", err)
}

// pour sends without end until the run is over, and returns how much it sent.
func (g *goroutines) pour(c net.Conn, base int64) (sent int64) {
	for !g.isOver() {
		n, err := c.Write(g.pattern.at(base+sent, int64(g.Size)))
		sent += int64(n)
		if err != nil {
			return sent
		}
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	return sent
}

// drink reads and verifies until the end, and returns how much it read.
func (l *line) drink() (got int64, err error) {
	size := int64(l.crew.Size)
	for {
		l.conn.SetReadDeadline(time.Now().Add(l.crew.Timeout))
		n, err := l.read(l.base+got, chunk)
		l.piece.done = (got+n)/size - got/size
		got += n
		l.report(0)
		if err != nil {
			return got, err
		}
	}
}
