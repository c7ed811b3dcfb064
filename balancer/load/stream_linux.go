package load

import (
	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// streamRounds is how many steps one stream makes before the others' turn.
const streamRounds = 16

// stream begins to send without end.
func (c *client) stream() {
	c.state, c.since = streaming, c.worker.now()
	c.counts.started++
	c.sent, c.got = 0, 0
	c.flow()
}

// flow sends and reads what goes.
func (c *client) flow() {
	got, sent := c.got, c.sent
	for range streamRounds {
		if c.state == streaming && c.writable {
			c.feed()
		}
		if c.readable && c.fd >= 0 {
			c.drink()
		}
		if c.fd < 0 {
			return
		}
	}
	if c.got != got || c.sent != sent {
		c.since = c.worker.now()
	}
	if c.readable || c.state == streaming && c.writable {
		c.worker.Again(c)
	}
}

// feed sends one write of the stream.
func (c *client) feed() {
	n, errno := loop.Send(c.fd, c.worker.pattern.at(c.base+c.sent, int64(c.worker.Size)))
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

// drink reads and verifies one read of the stream.
func (c *client) drink() {
	b, err := c.read()
	if err == errEnded && c.state == draining && c.got == c.sent {
		c.close()
		c.retire()
		return
	}
	if err != nil {
		c.fail(err)
		return
	}
	if b = c.greet(b); len(b) == 0 {
		return
	}
	whole := c.got / int64(c.worker.Size)
	if err := c.verify(b, c.sent); err != nil {
		c.fail(err)
		return
	}
	c.counts.done += c.got/int64(c.worker.Size) - whole
}

// drain ends the sending: the rest is to come back, and then the end.
func (c *client) drain() {
	c.state, c.since = draining, c.worker.now()
	loop.ShutdownWrite(c.fd)
	c.flow()
}
