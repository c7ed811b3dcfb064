// Package rate says whether one more session may begin now: for a whole frontend ([Bucket]), and for
// each client address ([Clients]), in memory that is bounded whoever connects.
//
// It does no I/O, writes no log and reads no clock: callers give the time as the duration since a
// moment of their choice, the same for all calls, from a clock that does not go back. All of it is safe
// for concurrent use. What happens to a session that may not begin is the caller's business.
//
// Start with limit.go, which is the arithmetic, then Clients.Open.
package rate
