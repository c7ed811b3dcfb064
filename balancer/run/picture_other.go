//go:build !linux

package run

import (
	"io/fs"
	"time"
)

// changeTime is not known here: the time of writing has to do.
func changeTime(fs.FileInfo) time.Time { return time.Time{} }
