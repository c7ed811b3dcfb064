//go:build unix

package admin

import (
	"io/fs"
	"os"
	"syscall"
)

// giveTo makes a file belong to whom another one belongs to.
func giveTo(f *os.File, like fs.FileInfo) error {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if is := info.Sys().(*syscall.Stat_t); is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// syncDirectory has the names in a directory on the disk.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // one that may be written and not read: the kernel syncs it in time
	}
	defer d.Close()
	return d.Sync()
}
