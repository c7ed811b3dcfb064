package handover

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Conn is one end of the connection between two processes, which keeps messages apart: so one process can stop reading
// and another go on, without a part of a message between them.
type Conn struct {
	*net.UnixConn
	mu   sync.Mutex // of writing
	took []byte
}

// ErrUnsupported is why processes cannot speak with each other on a system.
var ErrUnsupported = errors.New("there are no packets between processes on this system (SOCK_SEQPACKET)")

// Open uses an end that was inherited. The file is closed in any case.
func Open(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("an inherited descriptor is no unix socket")
	}
	return &Conn{UnixConn: u}, nil
}

func (c *Conn) send(m *message) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.Write(text)
	return err
}

// receive is for one goroutine at a time.
func (c *Conn) receive() (*message, error) {
	if c.took == nil {
		c.took = make([]byte, mostSize)
	}
	n, err := c.Read(c.took)
	if err != nil {
		return nil, err
	}
	return decode(c.took[:n])
}

// Hangup closes a connection that there may not be.
func (c *Conn) Hangup() {
	if c != nil {
		c.Close()
	}
}

// halt ends what reads and writes, between two messages, until it is told to go on.
func (c *Conn) halt(halted bool) {
	if halted {
		c.SetDeadline(time.Unix(1, 0))
	} else {
		c.SetDeadline(time.Time{})
	}
}
