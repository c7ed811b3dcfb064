//go:build !linux

package frontend

import "weir/frontend/relay"

// untilGone cannot tell here that a client has left without reading from it, and reports false at
// once: such a client's session connects, and ends with the first byte relayed.
func untilGone(relay.Conn, func() bool) bool { return false }

// endedSilent cannot tell here.
func endedSilent(relay.Conn) bool { return false }
