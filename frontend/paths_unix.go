//go:build unix

package frontend

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pathID tells whether the file at a path is still that of a socket: its device and inode. The zero pathID is that of a
// socket without a path.
type pathID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) (id pathID) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id = pathID{uint64(st.Dev), uint64(st.Ino)}
	}
	return id
}

// pathOf returns that of a socket that was just bound.
func pathOf(a net.Addr) (id pathID) {
	if a.Network() != "unix" || strings.HasPrefix(a.String(), "@") {
		return id
	}
	if info, err := os.Lstat(a.String()); err == nil {
		id = idOf(info)
	}
	return id
}

// is says whether the path still leads to the socket. For one without a path it is true.
func (id pathID) is(path string) bool {
	if id == (pathID{}) {
		return true
	}
	info, err := os.Lstat(path)
	return err == nil && idOf(info) == id
}

// remove removes the path, if it still leads to the socket.
func (id pathID) remove(path string) {
	if id != (pathID{}) && id.is(path) {
		os.Remove(path)
	}
}

// mark is the identity as a part of a name in LISTEN_FDNAMES; empty: there is none.
func (id pathID) mark() string {
	if id == (pathID{}) {
		return ""
	}
	return fmt.Sprintf("-%x-%x", id.dev, id.ino)
}

// marked reads what mark has written.
func marked(mark string) (id pathID) {
	parts := strings.Split(mark, "-")
	if len(parts) != 3 {
		return id
	}
	dev, err1 := strconv.ParseUint(parts[1], 16, 64)
	ino, err2 := strconv.ParseUint(parts[2], 16, 64)
	if err1 != nil || err2 != nil {
		return id
	}
	return pathID{dev, ino}
}

// closed gives a socket a mode before it has a name, so that nobody can connect before it has the right one: Linux takes
// the mode of the file from the socket, less the umask. The umask itself belongs to the whole process.
func closed(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0) }) // elsewhere it fails, and the window stays
}

// permit gives the path of the socket an owner, a group and a mode, in this order: chown(2) may take bits of the mode away.
// undo takes it back.
func (id pathID) permit(path string, p Permission) (undo func(), err error) {
	var was unix.Stat_t
	f, err := openPath(path, &was)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if id != (pathID{}) && idOfStat(&was) != id {
		return nil, errors.New("somebody has replaced the socket: nothing is changed there")
	}
	if err := f.permit(p, &was); err != nil {
		return nil, err
	}
	before := Permission{
		Mode: fs.FileMode(was.Mode).Perm(), HasMode: true, UID: int(was.Uid), HasUID: p.HasUID, GID: int(was.Gid), HasGID: p.HasGID,
	}
	return func() { id.permit(path, before) }, nil
}

func (f *pathFile) permit(p Permission, was *unix.Stat_t) error {
	uid, gid := -1, -1
	if p.HasUID && uint32(p.UID) != was.Uid {
		uid = p.UID
	}
	if p.HasGID && uint32(p.GID) != was.Gid {
		gid = p.GID
	}
	if uid >= 0 || gid >= 0 {
		if err := f.chown(uid, gid); err != nil {
			return whyNotChown(err, uid)
		}
	}
	if !p.HasMode {
		return nil
	}
	return os.NewSyscallError("chmod", f.chmod(uint32(p.Mode.Perm())))
}

func whyNotChown(err error, uid int) error {
	switch {
	case !errors.Is(err, unix.EPERM):
	case uid >= 0:
		return fmt.Errorf("chown: %w: only root gives a socket another owner", err)
	default:
		return fmt.Errorf("chown: %w: the user that weir runs as is not of that group", err)
	}
	return os.NewSyscallError("chown", err)
}

// mayWrite says whether a file could be made at a path.
func mayWrite(path string) error {
	dir := filepath.Dir(path)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}
