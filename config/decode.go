package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// index tells where the file set a value: from a pointer to the value (a field, an item of a list, a
// whole struct) to its node. What the file left to the defaults is not in it.
type index struct {
	nodes map[any]*node
	// misplaced holds keys found where they do not belong: they are not missing as well.
	misplaced map[string]bool
}

// decoder fills the schema's structs from the tree by reflection. It reports what it cannot decode
// and goes on; such a node is spoilt and its value zero.
type decoder struct {
	*report
	index
}

// decode also sets the defaults. It allocates every list once, so the pointers in the index hold.
func decode(r *report, root *node, c *Config) index {
	d := &decoder{r, index{make(map[any]*node), make(map[string]bool)}}
	d.into(root, reflect.ValueOf(c).Elem())
	return d.index
}

func (d *decoder) into(n *node, v reflect.Value) {
	d.nodes[v.Addr().Interface()] = n
	switch target := v.Addr().Interface().(type) {
	case *Duration:
		d.duration(n, target)
	case *Address:
		decodeText(d, n, target, parseAddress, addressHint(n))
	case *Listen:
		d.listen(n, target)
	case *Mode:
		decodeText(d, n, target, parseMode, modeForms)
	case *Account:
		decodeText(d, n, target, func(s string) (Account, *fault) { return Account(s), nil }, "names and numbers stand in quotes")
	case *IP:
		decodeText(d, n, target, parseIP, "")
	case *Prefix:
		decodeText(d, n, target, parsePrefix, prefixForms)
	case *Match:
		decodeText(d, n, target, parseMatch, prefixForms)
	case *string:
		decodeText(d, n, target, func(s string) (string, *fault) { return s, nil }, "")
	case *int:
		d.integer(n, target)
	case *float64:
		d.number(n, target)
	case *Backup:
		d.backup(n, target)
	case *bool:
		d.boolean(n, target)
	default:
		if v.Kind() == reflect.Slice {
			d.list(n, v)
		} else {
			d.structure(n, v)
		}
	}
}

// aside decodes a value that lost its place, for the mistakes in it.
func (d *decoder) aside(n *node, t reflect.Type) { d.into(n, reflect.New(t).Elem()) }

func (d *decoder) structure(n *node, v reflect.Value) {
	if s, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
		s.setDefaults()
	}
	switch {
	case n.form == headers:
		d.onlyOne(n, v)
		return
	case !n.isTable():
		d.wrongType(n, "a table", "")
		return
	}
	for _, name := range n.names {
		child := n.fields[name]
		if _, ok := fieldOf(v, name); !ok {
			d.unknown(child, v)
			continue
		}
		d.field(child, v, name)
		for _, again := range child.again {
			d.field(again, reflect.New(v.Type()).Elem(), name)
		}
	}
}

func (d *decoder) field(n *node, owner reflect.Value, name string) {
	field, _ := fieldOf(owner, name)
	b, ok := owner.Addr().Interface().(*Backend)
	if ok && name == "max_connections" && n.form == scalar && n.kind == unstable.String {
		d.nodes[&b.MaxConnections] = n
		d.auto(n, b)
		return
	}
	if a, ok := owner.Addr().Interface().(*Admin); ok && name == "bind_on" && n.isEmptyString() {
		d.nodes[&a.BindOn] = n // no door, in so many words
		return
	}
	d.into(n, field)
}

// onlyOne takes the first of several tables where the schema has one.
func (d *decoder) onlyOne(n *node, v reflect.Value) {
	d.spoil(n, &fault{"there is one such table, not a list", "write the header with one bracket"})
	d.structure(n.items[0], v)
	for _, item := range n.items[1:] {
		d.aside(item, v.Type())
	}
}

// list takes one value for a list of one.
func (d *decoder) list(n *node, v reflect.Value) {
	items := n.items
	if n.form != array && n.form != headers {
		items = []*node{n}
	}
	if len(items) == 0 {
		return // and v stays nil: an empty list and no list are the same
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		d.into(item, v.Index(i))
	}
}

// listen decodes an address alone, or a table with more about it.
func (d *decoder) listen(n *node, l *Listen) {
	if !n.isTable() {
		d.into(n, reflect.ValueOf(&l.Address).Elem())
		return
	}
	d.structure(n, reflect.ValueOf(l).Elem())
	if d.nodes[&l.Address] == nil {
		d.spoil(n, &fault{"has no address", `a table says where to listen as well: { address = "unix:/run/db.sock", mode = "0660" }`})
		d.nodes[&l.Address] = n
	}
}

func (d *decoder) duration(n *node, target *Duration) {
	if n.form == scalar && (n.kind == unstable.Integer || n.kind == unstable.Float) {
		d.spoil(n, bareNumber(n.text))
		return
	}
	decodeText(d, n, target, parseDuration, `durations look like "250ms", "5s" or "1m30s"`)
}

func decodeText[T any](d *decoder, n *node, target *T, parse func(string) (T, *fault), hint string) {
	if n.form != scalar || n.kind != unstable.String {
		d.wrongType(n, "a string", hint)
		return
	}
	value, f := parse(n.text)
	if f != nil {
		d.spoil(n, f)
		return
	}
	*target = value
}

// addressHint knows what a number was meant for.
func addressHint(n *node) string {
	if n.kind == unstable.Integer && portFault(n.text) == nil {
		return didYouMean("127.0.0.1:" + n.text)
	}
	return addressForms
}

func (d *decoder) boolean(n *node, target *bool) {
	if n.form != scalar || n.kind != unstable.Bool {
		hint := ""
		if n.text == "true" || n.text == "false" {
			hint = "without quotes: did you mean " + n.text + "?"
		}
		d.wrongType(n, "true or false", hint)
		return
	}
	*target = n.text == "true"
}

func (d *decoder) wrongType(n *node, want, hint string) {
	d.spoil(n, &fault{fmt.Sprintf("must be %s, not %s", want, n.describe()), hint})
}

// unknown reports a key that v has not. A table that is nearly right is decoded all the same, for the
// mistakes in it.
func (d *decoder) unknown(n *node, v reflect.Value) {
	if d.full() {
		return
	}
	f := &fault{message: "unknown key"}
	homes := homesOf(n.name)
	name, near := nearest(n.name, keysIn(v.Type()))
	_, isFrontend := v.Addr().Interface().(*Frontend)
	switch {
	case isFrontend && slices.Contains(keysIn(reflect.TypeFor[Listen]()), n.name):
		f.hint = `it belongs to an address: bind_on = { address = "unix:/run/db.sock", mode = "0660" }`
	case len(homes) > 0:
		f.hint = d.misplace(n, homes)
	case near:
		f.hint = didYouMean(name)
		d.guessed(n, v, name)
	default:
		f.hint = d.elsewhere(n, v)
	}
	d.add(n.keyAt, n.path(), f)
	n.spoilt = true
}

// elsewhere guesses at a key that is misspelt and misplaced at once.
func (d *decoder) elsewhere(n *node, v reflect.Value) string {
	name, near := nearest(n.name, allKeys(n.isTable() || n.form == headers))
	if !near {
		return "valid are " + strings.Join(keysIn(v.Type()), ", ")
	}
	homes := homesOf(name)
	hint := d.misplace(n, homes)
	if homes[0].isTable {
		return hint // names the table already
	}
	return didYouMean(name) + " " + hint
}

// misplace keeps a key that stands in the wrong table from being reported as missing in the right one.
func (d *decoder) misplace(n *node, homes []home) (hint string) {
	d.misplaced[homes[0].key] = true
	if homes[0].isTable && n.form != scalar {
		d.aside(n, homes[0].field)
	}
	return belongs(homes)
}

// guessed keeps the key that was meant from being reported as missing.
func (d *decoder) guessed(n *node, v reflect.Value, name string) {
	field, _ := fieldOf(v, name)
	pointer := field.Addr().Interface()
	_, exists := n.parent.fields[name]
	switch {
	case exists:
	case n.isTable() || n.form == headers:
		d.into(n, field)
	case d.nodes[pointer] == nil:
		n.spoilt = true
		d.nodes[pointer] = n
	}
}

// spoil reports a mistake about a node unless one is reported already.
func (d *decoder) spoil(n *node, f *fault) {
	if !n.spoilt {
		d.add(n.offset, n.path(), f)
		n.spoilt = true
	}
}
