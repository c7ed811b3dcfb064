//go:build !unix

package balancer

// descriptorLimit returns a large number: the system has no limit of its own for sockets.
func descriptorLimit() int { return 1 << 30 }
