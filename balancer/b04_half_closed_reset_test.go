//go:build linux

package balancer_test

import (
	"testing"

	"weir/frontend"
)

// A client that has ended its stream, and then resets the connection, has gone: the backend, which may be
// silent for long, learns of it at once.
func TestB04ResetAfterHalfClose(t *testing.T) {
	w, client, server := through(t, "reactor", "half_close_timeout = \"1h\"")
	send(t, client, "bye")
	client.CloseWrite()
	expect(t, server, "bye")
	expectEnd(t, server)
	reset(client)
	w.wantEnd(frontend.ClientReset, "CL")
}
