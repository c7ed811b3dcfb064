package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// listReader reads the lists of prefixes that a file names, each once.
type listReader struct {
	*report
	index
	known map[string]listFile
}

// listFile is the content of one such file.
type listFile struct {
	prefixes []Prefix
	ok       bool // it could be read, and nothing is wrong with it
}

func readLists(r *report, x index, c *Config) {
	l := &listReader{r, x, make(map[string]listFile)}
	for i := range c.Frontends {
		f := &c.Frontends[i]
		f.AllowListed = l.named(&f.AllowFile, true)
		f.DenyListed = l.named(&f.DenyFile, false)
	}
}

// named reads the list that a key names, and makes its path absolute. A list that may not be empty is one
// that says something else when it is: an empty allow_file, cut short or not yet written, would let
// everybody in.
func (l *listReader) named(field *string, mustHaveSome bool) []Prefix {
	n := l.nodes[field]
	if *field == "" || n == nil || n.spoilt || l.full() {
		return nil
	}
	path := *field
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.file), path)
	}
	content, known := l.known[path]
	if !known {
		content = l.read(n, path)
		l.known[path] = content
	}
	if mustHaveSome && content.ok && len(content.prefixes) == 0 {
		l.add(n.offset, n.path(), &fault{quote(path) + " lists no prefix", "without any everybody would be let in"})
	}
	if absolute, err := filepath.Abs(path); err == nil {
		*field = absolute
	}
	return content.prefixes
}

func (l *listReader) read(n *node, path string) listFile {
	data, err := readRegular(path)
	switch {
	case err != nil:
		l.add(n.offset, n.path(), &fault{"cannot read " + quote(path) + ": " + clean(err.Error()), ""})
		return listFile{}
	case len(data) > maxFile:
		l.add(n.offset, n.path(), &fault{quote(path) + " is larger than 16 MiB", ""})
		return listFile{}
	}
	r := l.reportOn(path, bytes.TrimPrefix(data, []byte("\ufeff")))
	prefixes := parseList(r, n.path())
	return listFile{prefixes, len(r.found) == 0}
}

// readRegular reads what is a file and no more than one byte above maxFile. A pipe would make a reload
// wait for whoever writes to it. The error does not name the file.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	return data, nil
}

func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// parseList takes a prefix a line, blank lines, and comments behind #. The key is the one that names the
// file.
func parseList(r *report, key string) (prefixes []Prefix) {
	first := make(map[Prefix]int)
	for _, start := range r.lines {
		line, _, _ := bytes.Cut(r.data[start:], []byte("\n"))
		line, _, _ = bytes.Cut(line, []byte("#"))
		text := string(bytes.TrimSpace(line))
		if text == "" || r.full() {
			continue
		}
		offset := start + bytes.Index(line, []byte(text))
		p, f := parsePrefix(text)
		if at, taken := first[p]; taken && f == nil {
			f = twice(text, r.where(at))
		}
		if f != nil {
			r.add(offset, key, f)
			continue
		}
		first[p] = offset
		prefixes = append(prefixes, p)
	}
	return prefixes
}
