// Package health finds out whether backends are well, and when that has changed.
//
// A [Prober] runs a [Probe] against one backend at intervals and shows each [Verdict] to a [Machine],
// which turns rows of verdicts into a state. A [Passive] counts the failures that real sessions meet.
// What follows from a change of state (no new sessions, a log line, an end to running sessions) is the
// caller's business.
//
// Machine and Passive are pure: no I/O, no log, no clock, no lock. The room never logs and never shares
// anything between backends: each has its own goroutine, so one that hangs delays no other.
//
// Start with machine.go, then Prober.Run. Probes are one protocol a file; tcp.go is the shortest.
package health
