package run

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime is when the inode changed last, which no tool can set back: that of writing can be (cp -p).
func changeTime(info fs.FileInfo) time.Time {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}
	}
	return time.Unix(s.Ctim.Unix())
}
