package config

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// node is one value of the file, and where and how it was written.
type node struct {
	form   form
	parent *node
	name   string // key in parent; empty for items
	index  int    // place in parent; for items only
	// offset is of the value; for tables of the header, the brace, or the dotted key.
	offset int
	// keyAt is the offset of the key; of the header for tables that have one.
	keyAt int
	// spoilt means that a mistake about the node itself is reported: say nothing further about it.
	spoilt bool

	kind   unstable.Kind // scalars
	text   string        // scalars: strings decoded, everything else raw
	items  []*node       // array, headers
	names  []string      // tables: keys in the order of the file
	fields map[string]*node
	// again holds later definitions of the same key. They lost, but their content is still checked.
	again []*node
}

// form is how a value was written: TOML 1.0 lets each form be extended by some others only.
type form int

const (
	scalar  form = iota
	array        // [ … ]
	inline       // { … }
	dotted       // a in a.b = …
	implied      // a in [a.b]
	header       // [a]
	headers      // [[a]], its items are tables of form header
)

func (n *node) isTable() bool { return n.form >= inline && n.form <= header }

func (n *node) isEmptyString() bool {
	return n.form == scalar && n.kind == unstable.String && n.text == ""
}

func (n *node) put(name string, child *node) {
	if n.fields == nil {
		n.fields = make(map[string]*node)
	}
	child.parent, child.name = n, name
	n.names = append(n.names, name)
	n.fields[name] = child
}

func (n *node) append(item *node) {
	item.parent, item.name, item.index = n, "", len(n.items)
	n.items = append(n.items, item)
}

// toHeaders puts a list in the place of a table, with the table as its first item.
func (n *node) toHeaders() *node {
	list := &node{form: headers, parent: n.parent, name: n.name, offset: n.offset, keyAt: n.keyAt, again: n.again}
	n.parent.fields[n.name] = list
	n.again = nil
	list.append(n)
	return list
}

// table is the table that a header or a dotted key continues: of a list, the last one.
func (n *node) table() *node {
	if n.form == headers {
		return n.items[len(n.items)-1]
	}
	return n
}

// path is the node's place in words: frontend[0].backend[1].forward_to. Keys with anything but
// letters, digits, dash and underscore are quoted.
func (n *node) path() string {
	var parts []string
	const deepest = 20 // a dotted key can have a million parts
	for ; n != nil && n.parent != nil; n = n.parent {
		if len(parts) == deepest {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, n.part())
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		if b.Len() > 0 && parts[i][0] != '[' {
			b.WriteByte('.')
		}
		b.WriteString(parts[i])
	}
	return b.String()
}

func (n *node) part() string {
	if n.name == "" && (n.parent.form == headers || n.parent.form == array) {
		return "[" + strconv.Itoa(n.index) + "]"
	}
	return bareOrQuoted(n.name)
}

func bareOrQuoted(key string) string {
	bare := key != "" && len(key) <= maxQuoted && strings.IndexFunc(key, func(r rune) bool { return !isLabelRune(r) }) < 0
	if bare {
		return key
	}
	return quote(key)
}

// describe names the type of a node for a message.
func (n *node) describe() string {
	switch {
	case n.form == array:
		return "a list"
	case n.form != scalar:
		return "a table"
	case n.kind == unstable.String:
		return "a string"
	case n.kind == unstable.Integer:
		return "an integer"
	case n.kind == unstable.Float:
		return "a float"
	case n.kind == unstable.Bool:
		return "a boolean"
	default:
		return "a date or time"
	}
}
