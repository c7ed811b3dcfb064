package config

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Edit returns the text of a file with as little changed as makes it say what c says: its comments and its order
// stay. It can add and remove backends and change their weights and limits, where each has a header of its own,
// [[frontend.backend]]. When that is not enough it returns nil. An error is [Mistakes], of the file.
func (c *Config) Edit(file string, data []byte) ([]byte, error) {
	text, err := c.TOML()
	if err != nil {
		return nil, err
	}
	body := slices.Clone(bytes.TrimPrefix(data, []byte("\ufeff")))
	mark := data[:len(data)-len(body)]
	eol := "\n"
	if bytes.Contains(body, []byte("\r\n")) {
		eol = "\r\n"
	}
	if len(body) > 0 && body[len(body)-1] != '\n' {
		body = append(body, eol...)
	}
	r := newReport(file, body)
	now, root, index := parse(r)
	if err := r.err(); err != nil {
		return nil, err
	}
	e := &editor{data: body, index: index, headers: headersIn(root), eol: eol}
	for i := range now.Frontends {
		f := &now.Frontends[i]
		for j := range c.Frontends {
			if c.Frontends[j].Name == f.Name {
				e.frontend(f, &c.Frontends[j])
			}
		}
	}
	edited := slices.Concat(mark, e.apply())
	if is, err := Parse(file, edited); err != nil || !says(is, text) {
		return nil, nil // it needs more than that
	}
	return edited, nil
}

// Says reports whether two configurations say the same.
func (c *Config) Says(as *Config) bool {
	text, err := as.TOML()
	return err == nil && says(c, text)
}

func says(c *Config, text []byte) bool {
	is, err := c.TOML()
	return err == nil && bytes.Equal(is, text)
}

// editor gathers what is to be replaced in a text.
type editor struct {
	data    []byte
	index   index
	headers []int // offsets, in order
	eol     string
	changes []replacement
}

// replacement puts a text in the place of data[from:to].
type replacement struct {
	from, to int
	with     string
}

func (e *editor) replace(from, to int, with string) {
	e.changes = append(e.changes, replacement{from, to, with})
}

// apply returns the new text. Nothing of what is replaced overlaps.
func (e *editor) apply() []byte {
	slices.SortStableFunc(e.changes, func(a, b replacement) int { return a.from - b.from })
	var out []byte
	at := 0
	for _, c := range e.changes {
		if c.from < at {
			return nil
		}
		out = append(append(out, e.data[at:c.from]...), c.with...)
		at = c.to
	}
	return append(out, e.data[at:]...)
}

// headersIn returns where the tables begin that have headers.
func headersIn(n *node) (offsets []int) {
	if n.form == header && n.parent != nil {
		offsets = append(offsets, n.offset)
	}
	for _, item := range n.items {
		offsets = append(offsets, headersIn(item)...)
	}
	for _, field := range n.fields {
		offsets = append(offsets, headersIn(field)...)
	}
	slices.Sort(offsets)
	return offsets
}

// frontend changes the backends of one. Those that are in another order now are removed and added again.
func (e *editor) frontend(now, want *Frontend) {
	last, kept := 0, 0 // where the backends end; how many of want are there, in this order
	for i := range now.Backends {
		b := &now.Backends[i]
		n := e.index.nodes[b]
		if n == nil || n.form != header {
			return
		}
		last = max(last, e.end(n))
		if kept < len(want.Backends) && want.Backends[kept].is(b) {
			e.backend(n, b, &want.Backends[kept])
			kept++
		} else {
			e.replace(e.comments(n.offset), e.end(n), "")
		}
	}
	for i := range want.Backends[kept:] {
		e.replace(last, last, e.newBackend(&want.Backends[kept+i]))
	}
}

// is says whether they are the same backend, whatever else is said of it.
func (b *Backend) is(other *Backend) bool {
	return b.Name == other.Name && b.ForwardTo == other.ForwardTo
}

// end is where the lines of a table end: after the last that is no comment, and not empty.
func (e *editor) end(n *node) int {
	end := len(e.data)
	if i, _ := slices.BinarySearch(e.headers, n.offset+1); i < len(e.headers) {
		end = e.lineStart(e.headers[i])
	}
	for end > n.offset {
		start := e.lineStart(end - 1)
		if line := bytes.TrimSpace(e.data[start:end]); len(line) > 0 && line[0] != '#' {
			break
		}
		end = start
	}
	return end
}

func (e *editor) lineStart(at int) int { return bytes.LastIndexByte(e.data[:at], '\n') + 1 }

// comments is where the lines of comment begin that stand right above a header, and the empty ones above those. What
// stands right below something else belongs to that.
func (e *editor) comments(header int) int {
	top := e.lineStart(header)
	at, empty := top, false
	for at > 0 {
		start := e.lineStart(at - 1)
		line := bytes.TrimSpace(e.data[start:at])
		switch {
		case len(line) == 0:
			empty = true
		case empty:
			return at
		case line[0] != '#':
			return top
		}
		at = start
	}
	return at
}

// backend changes what may be changed of one.
func (e *editor) backend(n *node, now, want *Backend) {
	for _, k := range []struct {
		key      string
		field    any
		now, say string
	}{
		{"weight", &now.Weight, strconv.Itoa(now.Weight), strconv.Itoa(want.Weight)},
		{"max_connections", &now.MaxConnections, now.limit(), want.limit()},
		{"min", &now.Min, now.bound(now.Min), want.bound(want.Min)},
		{"max", &now.Max, now.bound(now.Max), want.bound(want.Max)},
	} {
		if k.now == k.say {
			continue
		}
		at := e.index.nodes[k.field]
		switch {
		case at == nil:
			if end := e.end(n); k.say != "" {
				e.replace(end, end, e.line(n, k.key+" = "+k.say))
			}
		case k.say == "":
			start := e.lineStart(at.keyAt)
			e.replace(start, start+len(e.lineFrom(start)), "")
		default:
			e.replace(at.offset, at.offset+e.length(at), k.say)
		}
	}
}

// limit is what the file says of MaxConnections.
func (b *Backend) limit() string {
	if b.Auto {
		return `"auto"`
	}
	return strconv.Itoa(b.MaxConnections)
}

// bound is what the file says of Min or Max: nothing without Auto.
func (b *Backend) bound(v int) string {
	if !b.Auto {
		return ""
	}
	return strconv.Itoa(v)
}

// length is that of a scalar in the text.
func (e *editor) length(n *node) int {
	if n.kind == unstable.String { // "auto" or 'auto'
		return len(n.text) + 2
	}
	return len(n.text)
}

func (e *editor) lineFrom(start int) []byte {
	if n := bytes.IndexByte(e.data[start:], '\n'); n >= 0 {
		return e.data[start : start+n+1]
	}
	return e.data[start:]
}

// line is one more line at the end of a table, with the indentation of its header.
func (e *editor) line(n *node, text string) string {
	return string(e.data[e.lineStart(n.offset):n.offset]) + text + e.eol
}

func (e *editor) newBackend(b *Backend) string {
	lines := []string{"", "[[frontend.backend]]"}
	if b.Name != b.ForwardTo.String() {
		lines = append(lines, "name = "+strconv.Quote(b.Name))
	}
	lines = append(lines, "forward_to = "+strconv.Quote(b.ForwardTo.String()), fmt.Sprintf("weight = %d", b.Weight))
	if b.MaxConnections != 0 || b.Auto {
		lines = append(lines, "max_connections = "+b.limit())
	}
	if b.Auto {
		lines = append(lines, "min = "+b.bound(b.Min), "max = "+b.bound(b.Max))
	}
	if b.Backup != NoBackup {
		lines = append(lines, "backup = "+b.Backup.String())
	}
	return strings.Join(lines, e.eol) + e.eol
}
