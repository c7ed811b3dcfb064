//go:build !linux

package load

// newCrew makes goroutines: there is no event loop on this system.
func newCrew(r *run) (crew, error) { return newGoroutines(r), nil }
