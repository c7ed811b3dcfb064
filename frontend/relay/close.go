package relay

import (
	"io"
	"net"
	"time"
)

const (
	// StallLimit is how long a peer may leave sent data unacknowledged before a reset overtakes it.
	StallLimit = 5 * time.Second
	// DiscardLimit and DiscardBytes bound what a client may go on sending to a backend that is gone,
	// so that closing does not reset the reply it is still reading (RFC 9112 §9.6 on the same).
	DiscardLimit = 5 * time.Second
	DiscardBytes = 64 << 20
	// First and longest pause between two looks at a socket's send queue.
	firstLook, longestLook = 100 * time.Microsecond, 20 * time.Millisecond
)

// waitDelivered waits until the peer has acknowledged all that was written, or stalls, or is gone.
func waitDelivered(c Conn) {
	left := unacknowledged(c)
	pause, progress := firstLook, time.Now()
	for left > 0 && time.Since(progress) < StallLimit {
		time.Sleep(pause)
		pause = min(2*pause, longestLook)
		if now := unacknowledged(c); now != left {
			left, progress = now, time.Now()
		}
	}
}

// resetOnClose makes Close send RST in place of FIN.
func resetOnClose(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// discard reads what nobody wants any more until its end, within bounds.
func discard(c Conn) {
	c.SetReadDeadline(time.Now().Add(DiscardLimit))
	io.Copy(io.Discard, io.LimitReader(c, DiscardBytes))
}
