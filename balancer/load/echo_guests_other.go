//go:build !linux

package load

// gone finds nobody here: a connection counts until it is closed.
func gone([]*guest) []*guest { return nil }
