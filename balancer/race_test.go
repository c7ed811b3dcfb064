//go:build race

package balancer_test

// underRace says that the race detector watches, and everything takes ten times as long.
const underRace = true
