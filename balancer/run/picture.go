package run

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"weir/config"
)

// camera looks at a configuration and the files that it names. It asks for each by its name, so every link on the
// way is followed anew, and it needs nothing of a file system but that it can be read: not inotify, which NFS, FUSE
// and a bind mount do not have, or which has no watches left.
type camera struct {
	file string
	// also are further secrets, those that the door was opened with.
	also []string

	shots   map[string]shot // of the last picture
	of      [sha256.Size]byte
	names   []string
	secrets []string
}

// shot is a file at one time.
type shot struct {
	info    fs.FileInfo // nil: there is none
	changed time.Time   // its inode; zero where that is not known
	content string      // a hash, or why there is none
}

// picture is all files at one time. Two with the same texts are the same.
type picture struct {
	// touched differs when a file was written, even with what it said before; content when one says something else.
	touched, content string
	// secrets is what content is of the files that the configuration keeps nothing of.
	secrets string
	// missing are files that are not there.
	missing []string
}

// take looks at all files. It reads those that have changed since the last time.
func (c *camera) take() picture {
	main, text := c.look(c.file)
	if text != nil && sha256.Sum256(text) != c.of {
		c.of = sha256.Sum256(text)
		c.names, c.secrets = config.Files(c.file, text), config.SecretFiles(c.file, text)
	}
	shots := map[string]shot{c.file: main}
	for _, name := range slices.Concat(c.names, c.also) {
		if _, known := shots[name]; !known {
			shots[name], _ = c.look(name)
		}
	}
	c.shots = shots
	var p picture
	for _, name := range slices.Sorted(mapKeys(shots)) {
		s := shots[name]
		line := fmt.Sprintf("%q %s\n", name, s.content)
		p.content += line
		p.touched += line
		if s.info == nil {
			p.missing = append(p.missing, name)
		} else {
			p.touched += fmt.Sprintln(s.info.Size(), s.info.ModTime().UnixNano(), s.changed.UnixNano())
		}
		if slices.Contains(c.secrets, name) || slices.Contains(c.also, name) {
			p.secrets += line
		}
	}
	return p
}

func mapKeys(shots map[string]shot) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range shots {
			if !yield(name) {
				return
			}
		}
	}
}

// mostRead is above what a configuration takes of any file.
const mostRead = 16<<20 + 1

// look returns a file as it is, and what it says unless that is known.
func (c *camera) look(name string) (shot, []byte) {
	info, err := os.Stat(name)
	if err != nil {
		return shot{content: reason(err)}, nil
	}
	s := shot{info: info, changed: changeTime(info)}
	if was, ok := c.shots[name]; ok && was.info != nil && sameFile(was, s) {
		return was, nil
	}
	if !info.Mode().IsRegular() { // a pipe would make us wait
		s.content = "not a regular file"
		return s, nil
	}
	text, err := readAtMost(name)
	if err != nil {
		s.content = reason(err)
		return s, nil
	}
	s.content = fmt.Sprintf("%x", sha256.Sum256(text))
	return s, text
}

// sameFile says whether nothing was written between two shots.
func sameFile(a, b shot) bool {
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.Mode() == b.info.Mode() &&
		a.info.ModTime().Equal(b.info.ModTime()) && a.changed.Equal(b.changed)
}

func readAtMost(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, mostRead))
}

// reason is why a file cannot be read, without its name.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return err.Error()
}
