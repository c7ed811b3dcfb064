// Package sockopt sets what weir wants of a TCP socket before it listens or connects.
//
// Options set on a listening socket are inherited by the sockets accepted from it, so an accepted
// connection costs no further system call. It never touches unix sockets. Start with [Options].
package sockopt

import "time"

// Options is what both sockets of a session get.
type Options struct {
	// KeepaliveIdle is the silence before the first keepalive probe, in whole seconds. 0: no keepalive.
	KeepaliveIdle time.Duration
	// KeepaliveInterval is the time between keepalive probes, in whole seconds.
	KeepaliveInterval time.Duration
	// KeepaliveCount is how many probes go unanswered before the connection is dead.
	KeepaliveCount int
	// UserTimeout is TCP_USER_TIMEOUT (RFC 5482). 0: the kernel's own limit.
	UserTimeout time.Duration
	// DeferPort sets IP_BIND_ADDRESS_NO_PORT: a socket bound to a source address gets its port when
	// it connects, so that one port serves many destinations (ip(7)).
	DeferPort bool
}
