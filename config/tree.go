package config

import (
	"bytes"
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// treeBuilder makes one tree of the parser's expressions. It reports definitions that TOML forbids,
// and goes on with what was most likely meant, so that the rest of the file is checked too.
type treeBuilder struct {
	*report
	parser unstable.Parser
	root   *node
	table  *node // where key = value goes now
	// conflicts wait until the tree is whole: what became a list has another path then.
	conflicts []conflict
}

// conflict is a definition that clashes with an earlier one.
type conflict struct {
	offset  int
	node    *node
	message string // ends in "at": the position of the first definition follows
	first   int
	hint    string
}

// buildTree returns nil when the file's syntax is broken; that is then the only mistake reported.
func buildTree(r *report) *node {
	b := &treeBuilder{report: r, root: &node{form: header}}
	b.table = b.root
	b.parser.Reset(r.data)
	for b.parser.NextExpression() {
		switch e := b.parser.Expression(); e.Kind {
		case unstable.KeyValue:
			b.keyValue(b.table, e)
		case unstable.Table:
			b.table = b.header(e)
		case unstable.ArrayTable:
			b.table = b.header(e)
		}
	}
	if err := b.parser.Error(); err != nil {
		b.syntax(err)
		return nil
	}
	for _, c := range b.conflicts {
		if !b.full() {
			b.add(c.offset, c.node.path(), &fault{c.message + " " + b.where(c.first), c.hint})
		}
	}
	return b.root
}

func (b *treeBuilder) syntax(err error) {
	offset, message := 0, err.Error()
	var perr *unstable.ParserError
	if errors.As(err, &perr) {
		offset = int(b.parser.Range(perr.Highlight).Offset)
	}
	b.add(offset, "", &fault{"not TOML: " + clean(message), quoteHint(b.data, offset)})
}

// quoteHint catches the usual reasons for broken syntax: a string without quotes, a boolean that is
// one in YAML.
func quoteHint(data []byte, offset int) string {
	start := bytes.LastIndexByte(data[:offset], '\n') + 1
	line, _, _ := bytes.Cut(data[start:], []byte("\n"))
	key, value, found := bytes.Cut(line, []byte("="))
	value, _, _ = bytes.Cut(value, []byte("#"))
	value = bytes.TrimSpace(value)
	if !found || len(key) > offset-start || bytes.ContainsAny(value, `"'[]{},`) {
		return ""
	}
	switch strings.ToLower(string(value)) {
	case "true", "yes", "on":
		return "did you mean true?"
	case "false", "no", "off":
		return "did you mean false?"
	}
	if len(bytes.Trim(value, "0123456789_+-")) == 0 {
		return "" // a broken number
	}
	return "did you mean " + quote(string(value)) + ", with quotes?"
}

// key is one part of a dotted key.
type key struct {
	name    string
	at, end int
}

func keysOf(e *unstable.Node) (parents []key, last key) {
	for it := e.Key(); it.Next(); {
		raw := it.Node().Raw
		parents = append(parents, key{string(it.Node().Data), int(raw.Offset), int(raw.Offset + raw.Length)})
	}
	return parents[:len(parents)-1], parents[len(parents)-1]
}

func (b *treeBuilder) keyValue(table *node, e *unstable.Node) {
	parents, last := keysOf(e)
	for _, k := range parents {
		table = b.dotted(table, k)
	}
	n := b.value(e.Value(), b.valueAt(last.end))
	n.keyAt = last.at
	first, exists := table.fields[last.name]
	if !exists {
		table.put(last.name, n)
		return
	}
	n.parent, n.name = table, last.name
	first.again = append(first.again, n)
	b.conflicts = append(b.conflicts, conflict{last.at, n, "defined twice: first at", first.keyAt, ""})
}

// valueAt skips from the end of a key over the equals sign: the parser does not tell where an array
// begins.
func (b *treeBuilder) valueAt(keyEnd int) int {
	rest := bytes.TrimLeft(b.data[keyEnd:], " \t=")
	return len(b.data) - len(rest)
}

func (b *treeBuilder) value(v *unstable.Node, offset int) *node {
	n := &node{offset: offset, kind: v.Kind}
	switch v.Kind {
	case unstable.Array:
		n.form = array
		for it := v.Children(); it.Next(); {
			n.append(b.item(it.Node(), offset))
		}
	case unstable.InlineTable:
		n.form = inline
		for it := v.Children(); it.Next(); {
			b.keyValue(n, it.Node())
		}
	default:
		n.text = string(v.Data)
	}
	return n
}

// item is a value in an array. An array in an array has no position of its own: it takes the outer's.
func (b *treeBuilder) item(v *unstable.Node, arrayAt int) *node {
	at := arrayAt
	if v.Kind != unstable.Array {
		at = int(v.Raw.Offset)
	}
	n := b.value(v, at)
	n.keyAt = at
	return n
}

// dotted follows one part of a dotted key. Only other dotted keys may have made the table.
func (b *treeBuilder) dotted(table *node, k key) *node {
	child, exists := table.fields[k.name]
	if !exists {
		child = &node{form: dotted, offset: k.at, keyAt: k.at}
		table.put(k.name, child)
		return child
	}
	if child.form == dotted {
		return child
	}
	return b.forbidden(table, child, k.name, k.at, dotted)
}

func (b *treeBuilder) header(e *unstable.Node) *node {
	parents, last := keysOf(e)
	at, table := b.headerAt(e.Kind, append(parents, last)[0].at), b.root
	for _, k := range parents {
		table = b.through(table, k.name, at)
	}
	child, exists := table.fields[last.name]
	made := &node{form: header, offset: at, keyAt: at}
	switch list := e.Kind == unstable.ArrayTable; {
	case !exists && !list:
		table.put(last.name, made)
	case !exists:
		table.put(last.name, made)
		made.toHeaders()
	case list && child.form == headers:
		child.append(made)
	case !list && child.form == implied:
		child.form, child.offset, child.keyAt = header, at, at
		return child
	case child.form == header || child.form == headers || child.form == implied:
		b.twoTables(child, made)
	default:
		return b.forbidden(table, child, last.name, at, header)
	}
	return made
}

// headerAt is the offset of the first bracket of a header, from that of its first key.
func (b *treeBuilder) headerAt(kind unstable.Kind, firstKey int) int {
	at := len(bytes.TrimRight(b.data[:firstKey], " \t")) - 1
	if kind == unstable.ArrayTable {
		at--
	}
	return at
}

// through follows a header's key that is not the last.
func (b *treeBuilder) through(table *node, name string, at int) *node {
	child, exists := table.fields[name]
	if !exists {
		child = &node{form: implied, offset: at, keyAt: at}
		table.put(name, child)
		return child
	}
	switch child.form {
	case scalar, array, inline:
		return b.forbidden(table, child, name, at, implied)
	}
	return child.table()
}

// twoTables reports [a] after [a], or [a] and [[a]] mixed, and makes a list of them: for
// frontends and backends that is what was meant.
func (b *treeBuilder) twoTables(first, second *node) {
	list := first
	if first.form != headers {
		list = first.toHeaders()
	}
	// What the second lacks may stand in the one before it, and the other way round.
	list.items[len(list.items)-1].spoilt = true
	second.spoilt = true
	list.spoilt = true
	list.append(second)
	hint := ""
	if list.name == "frontend" || list.name == "backend" {
		hint = "for more than one, write each header with two brackets"
	}
	b.conflicts = append(b.conflicts, conflict{second.offset, list, "defined twice: first at", first.offset, hint})
}

// forbidden reports that a table is extended in a way that TOML does not allow. The keys go to that
// table all the same if there is one; else to a table beside the tree.
func (b *treeBuilder) forbidden(parent, child *node, name string, at int, made form) *node {
	if !child.spoilt {
		message := "already defined as " + child.describe() + " at"
		b.conflicts = append(b.conflicts, conflict{at, child, message, child.keyAt, "put these keys where it is defined"})
		child.spoilt = true
	}
	if child.isTable() || child.form == headers {
		return child.table()
	}
	beside := &node{form: made, parent: parent, name: name, offset: at, keyAt: at}
	child.again = append(child.again, beside)
	return beside
}
