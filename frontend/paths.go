package frontend

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// Permission is who may connect to a unix socket by its path. The zero Permission leaves that to the umask.
type Permission struct {
	// Mode is as in chmod(2), if HasMode.
	Mode    fs.FileMode
	HasMode bool
	// UID and GID are the owner and the group, if HasUID and HasGID.
	UID, GID       int
	HasUID, HasGID bool
}

// permission is what the rules say of a unix socket.
func (r *Rules) permission(b Bind) Permission { return r.Permissions[b] }

// after is p for a path that had was: what p does not say is as it is for a new one.
func (p Permission) after(was Permission) Permission {
	if !p.HasMode && was.HasMode {
		p.Mode, p.HasMode = 0o666&^umask(), true
	}
	if !p.HasUID && was.HasUID {
		p.UID, p.HasUID = os.Geteuid(), true
	}
	if !p.HasGID && was.HasGID {
		p.GID, p.HasGID = os.Getegid(), true
	}
	return p
}

// isPath says whether a unix socket has a path: abstract ones have none.
func (b Bind) isPath() bool { return b.Network == "unix" && !strings.HasPrefix(b.Address, "@") }

// ListenUnix opens a unix socket for an engine. A path that a process has left behind is taken over; one at which somebody
// listens is not. Nobody can connect who the rules do not let: until the path has its owner and its mode, nobody can.
// Closing the listener leaves the path.
func ListenUnix(ctx context.Context, b Bind, rules *Rules) (*net.UnixListener, error) {
	p := rules.permission(b)
	lc := net.ListenConfig{}
	if b.isPath() && p != (Permission{}) {
		lc.Control = closed
	}
	l, err := lc.Listen(ctx, b.Network, b.Address)
	if errors.Is(err, syscall.EADDRINUSE) && RemoveStale(b) {
		l, err = lc.Listen(ctx, b.Network, b.Address)
	}
	if err != nil {
		return nil, err
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	if lc.Control == nil {
		return u, nil
	}
	path := pathOf(u.Addr())
	if _, err := path.permit(b.Address, p.after(Permission{HasMode: true})); err != nil {
		path.remove(b.Address)
		u.Close()
		return nil, err
	}
	return u, nil
}

// tryPath says whether a unix socket could be made at a path.
func tryPath(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mayWrite(path)
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket || !isStale(path):
		return os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	return nil
}

// RemoveStale removes the unix socket of a process that is gone. One that somebody listens on, or
// anything else than a socket, stays.
func RemoveStale(b Bind) bool {
	if !b.isPath() {
		return false
	}
	info, err := os.Lstat(b.Address)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	return isStale(b.Address) && os.Remove(b.Address) == nil
}

func isStale(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
