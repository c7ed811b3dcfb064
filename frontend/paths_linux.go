package frontend

import (
	"bufio"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pathFile is a file at a path, whatever comes to be at that path later. It is not open for anything else.
type pathFile struct{ fd int }

// openPath does not follow a link.
func openPath(path string, st *unix.Stat_t) (*pathFile, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &pathFile{fd}
	if err := unix.Fstat(fd, st); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fstat", err)
	}
	return f, nil
}

func (f *pathFile) Close() error { return unix.Close(f.fd) }

func (f *pathFile) chown(uid, gid int) error {
	return unix.Fchownat(f.fd, "", uid, gid, unix.AT_EMPTY_PATH)
}

// chmod goes by /proc: fchmod(2) does not take such a descriptor.
func (f *pathFile) chmod(mode uint32) error {
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(f.fd), mode)
}

func idOfStat(st *unix.Stat_t) pathID { return pathID{uint64(st.Dev), st.Ino} }

// umask returns that of the process, which umask(2) can tell only by changing it for a moment.
func umask() fs.FileMode {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0o022
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "Umask:"); ok {
			if mask, err := strconv.ParseUint(strings.TrimSpace(text), 8, 32); err == nil {
				return fs.FileMode(mask).Perm()
			}
		}
	}
	return 0o022
}
