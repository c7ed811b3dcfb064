// Package reactor runs sessions on epoll loops: one loop for each core serves the sessions of every
// frontend, without a goroutine, and in the steady state without an allocation, for each.
//
// A session goes through the same phases as in the copy engine, and what a phase decides is the same
// code, frontend.Session; here each phase is a state, and what has to wait is an event. Linux only.
//
// Start with session.Ready in session_linux.go; stream_linux.go moves the bytes.
package reactor
