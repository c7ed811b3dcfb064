//go:build unix

package balancer

import "golang.org/x/sys/unix"

// descriptorLimit returns how many descriptors the process may have. The Go runtime has raised the
// soft limit to the hard one by now.
func descriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(uint64(r.Cur), 1<<31))
}
