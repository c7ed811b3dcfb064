package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// replace has the file that a name leads to say something else, and returns where what it said before is kept: beside
// it, with ".old" at the end. Links on the way stay what they are, and the file keeps its mode, its owner and its
// access list.
//
// A file beside it takes its place, all or nothing. Where none can, it is written where it is: in a container a single
// file that is mounted (EBUSY), or one that belongs to somebody else. On an error it says what it said before.
func replace(name string, text []byte) (kept string, err error) {
	file, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	if volume := kubernetesVolume(file); volume != "" {
		return "", fmt.Errorf("%s is in %s, a volume that Kubernetes writes: change the ConfigMap or Secret instead", name, volume)
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file: it cannot be replaced", file)
	}
	kept = file + ".old"
	whole := func() error { return replaceWhole(file, kept, info, text) }
	inPlace := func() error { return rewrite(file, kept, info, text) }
	if hasAccessList(file) { // a new file would not have it, and may let others in
		return kept, inPlace()
	}
	first := whole()
	switch {
	case first == nil:
		return kept, nil
	case errors.Is(first, syscall.EROFS):
		return "", fmt.Errorf("%w: change the file where it comes from and reload, or mount %s for writing", first, filepath.Dir(file))
	case !mayBeWrittenInPlace(first):
		return "", first
	}
	if err := inPlace(); err != nil {
		return "", fmt.Errorf("no file can take its place (%w), and it cannot be written where it is (%w): let this user (uid %d) write "+
			"the directory %s, and have the file belong to it", first, err, os.Geteuid(), filepath.Dir(file))
	}
	return kept, nil
}

// kubernetesVolume returns the directory that the kubelet fills through ..data, when the file is in one. "": it is not.
func kubernetesVolume(file string) string {
	for dir := filepath.Dir(file); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if base := filepath.Base(dir); strings.HasPrefix(base, "..") && len(base) > 2 {
			return filepath.Dir(dir)
		}
	}
	return ""
}

// mayBeWrittenInPlace says whether a file that could not be replaced may be written still.
func mayBeWrittenInPlace(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV)
}

// replaceWhole puts a new file in the place of one. What it cannot undo comes last.
func replaceWhole(file, kept string, info fs.FileInfo, text []byte) error {
	fresh, err := create(filepath.Dir(file), filepath.Base(file)+".new*", info, text)
	if err != nil {
		return err
	}
	defer os.Remove(fresh) // unless it has the other name by then
	if err := keep(file, kept, info); err != nil {
		return err
	}
	if err := os.Rename(fresh, file); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(file))
}

// create writes a file with the mode and the owner of another one, and has it on the disk before it returns its name.
func create(dir, pattern string, like fs.FileInfo, text []byte) (name string, err error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(text); err != nil {
		return "", err
	}
	if err := giveTo(f, like); err != nil {
		return "", err
	}
	if err := f.Chmod(like.Mode().Perm()); err != nil { // after the owner, whose change takes bits away
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), nil
}

// keep has a second name for a file; where the file system has no such thing, a copy.
func keep(file, kept string, info fs.FileInfo) error {
	if err := os.Remove(kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(file, kept) == nil {
		return nil
	}
	return keepCopy(file, kept, info)
}

// keepCopy copies a file. Where the copy cannot have the same owner it is this user's alone.
func keepCopy(file, kept string, info fs.FileInfo) error {
	was, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	dir, pattern := filepath.Dir(kept), filepath.Base(kept)+".part*"
	copied, err := create(dir, pattern, info, was)
	if errors.Is(err, fs.ErrPermission) {
		copied, err = create(dir, pattern, private{info}, was)
	}
	if err != nil {
		return err
	}
	defer os.Remove(copied)
	if err := os.Rename(copied, kept); err != nil {
		return err
	}
	return syncDirectory(dir)
}

// private is what a file is like that belongs to this user, and to nobody else.
type private struct{ fs.FileInfo }

func (private) Mode() fs.FileMode { return 0o600 }
func (private) Sys() any          { return nil }

// rewrite writes a file where it is, once there is a copy of what it said.
func rewrite(file, kept string, info fs.FileInfo, text []byte) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := keepCopy(file, kept, info); err != nil {
		return fmt.Errorf("keep what it says: %w", err)
	}
	err = overwrite(f, text)
	if err == nil {
		return nil
	}
	if was, failed := os.ReadFile(kept); failed != nil || overwrite(f, was) != nil {
		return fmt.Errorf("%w, AND WHAT IT SAID BEFORE IS ONLY IN %s", err, kept)
	}
	return err
}

func overwrite(f *os.File, text []byte) error {
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(text))); err != nil {
		return err
	}
	return f.Sync()
}
