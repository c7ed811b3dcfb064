//go:build unix && !linux

package frontend

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// pathFile is a file at a path.
type pathFile struct{ path string }

func openPath(path string, st *unix.Stat_t) (*pathFile, error) {
	if err := unix.Lstat(path, st); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return &pathFile{path}, nil
}

func (f *pathFile) Close() error { return nil }

func (f *pathFile) chown(uid, gid int) error { return unix.Lchown(f.path, uid, gid) }

func (f *pathFile) chmod(mode uint32) error { return unix.Chmod(f.path, mode) }

func idOfStat(st *unix.Stat_t) pathID { return pathID{uint64(st.Dev), uint64(st.Ino)} }

// umask is the usual one: to ask for it would change it for a moment.
func umask() fs.FileMode { return 0o022 }
