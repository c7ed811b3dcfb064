package load

import (
	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// ask sends a message, of which the answer is awaited.
func (c *client) ask() {
	c.state, c.since = asking, c.worker.now()
	c.base += int64(c.worker.Size) + 1 // unlike the one before
	c.sent, c.got = 0, 0
	c.push()
}

// push sends what is left of the message.
func (c *client) push() {
	size := int64(c.worker.Size)
	for c.state == asking && c.writable && c.sent < size {
		n, errno := loop.Send(c.fd, c.worker.pattern.at(c.base+c.sent, size-c.sent))
		switch errno {
		case 0:
			c.sent += int64(n)
			c.counts.sent += int64(n)
		case unix.EAGAIN:
			c.writable = false
		case unix.EINTR:
		default:
			c.fail(errno)
		}
	}
}

// pull reads until nothing is left, or the answer is whole.
func (c *client) pull() {
	for c.readable && c.fd >= 0 {
		b, err := c.read()
		if err != nil {
			c.fail(err)
			return
		}
		b = c.greet(b)
		c.welcome()
		if len(b) == 0 {
			continue
		}
		if err := c.verify(b, c.sent); err != nil {
			c.fail(err)
			return
		}
		if c.got == int64(c.worker.Size) {
			c.answered()
			return
		}
	}
}

// read returns what has arrived, nothing if that is nothing yet. The end is an error.
func (c *client) read() ([]byte, error) {
	buf := c.worker.buf
	n, errno := loop.Recv(c.fd, buf)
	switch {
	case errno == unix.EAGAIN:
		c.readable = false
		return nil, nil
	case errno == unix.EINTR:
		return nil, nil
	case errno != 0:
		return nil, errno
	case n == 0:
		return nil, errEnded
	}
	c.counts.received += int64(n)
	if n < len(buf) {
		c.readable = c.ended // all that has arrived is read; what comes next brings an event
	}
	return buf[:n], nil
}

// greet takes the greeting off what has arrived.
func (c *client) greet(b []byte) []byte {
	if c.greeted || len(b) == 0 {
		return b
	}
	rest, whole := c.line.take(b)
	if whole {
		c.greeted = true
		c.counts.count(c.line.name(), 1)
	}
	return rest
}

// verify compares what has arrived with what was sent.
func (c *client) verify(b []byte, sent int64) error {
	if c.state == ready || c.state == held || c.got+int64(len(b)) > sent {
		return errMore
	}
	if !c.worker.pattern.match(c.base+c.got, b) {
		return errCorrupt
	}
	c.got += int64(len(b))
	return nil
}
