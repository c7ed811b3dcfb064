package admin

import "golang.org/x/sys/unix"

// hasAccessList says whether somebody may use a file whom its mode does not tell of (acl(5)).
func hasAccessList(file string) bool {
	n, err := unix.Getxattr(file, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
