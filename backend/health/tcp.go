package health

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Dialer opens a connection, as net.Dialer.DialContext does.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// TCP probes by connecting and closing: the backend is good if its kernel completes the handshake.
// That shows that the machine is there and something listens with room in its queue, not that it
// works. network is "tcp", "tcp4", "tcp6" or "unix". A nil dialer is a plain net.Dialer.
//
// The close is a plain one. The server accepts a connection and reads its end at once: a line in the
// log of those that log every connection. One that speaks first (SMTP, SSH, MySQL) may see a reset
// instead, as its greeting arrives after our close. MySQL counts that as an interrupted handshake, and
// blocks a host that has max_connect_errors of them (100) without a good one in between: give it a
// probe that speaks.
func TCP(network, address string, dialer Dialer) Probe {
	if dialer == nil {
		dialer = (&net.Dialer{KeepAlive: -1}).DialContext // no keepalive options on what closes at once
	}
	return func(ctx context.Context) error {
		conn, err := dialer(ctx, network, address)
		if err != nil {
			return fmt.Errorf("dial %s: %w", address, cause(err))
		}
		conn.Close() // the answer is known; what a close has to say is not about the backend
		return nil
	}
}

// cause takes "dial tcp 10.0.0.5:5432" off an error of package net, so that it is not said twice.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}
