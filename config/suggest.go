package config

import (
	"encoding"
	"reflect"
	"strings"
	"sync"
)

// home is a key of the schema and the table it belongs to.
type home struct {
	key, table string       // table is a path, "" the top of the file
	field      reflect.Type // what the key holds
	isTable    bool         // it holds a table, or a list of them
}

// schema lists every key of the file, from the types themselves.
var schema = sync.OnceValue(func() []home { return homesIn("", reflect.TypeFor[Config]()) })

func homesIn(table string, t reflect.Type) []home {
	var homes []home
	for i := range t.NumField() {
		field, key := t.Field(i).Type, t.Field(i).Tag.Get("toml")
		if key == "" {
			continue
		}
		inner, isTable := tableType(field)
		h := home{key: key, table: table, field: field, isTable: isTable}
		homes = append(homes, h)
		if h.isTable {
			homes = append(homes, homesIn(strings.TrimPrefix(table+"."+key, "."), inner)...)
		}
	}
	return homes
}

// tableType is the type of a table that stands in a field, alone or in a list. Structs that are one
// value in the file have a text.
func tableType(field reflect.Type) (inner reflect.Type, ok bool) {
	if field.Kind() == reflect.Slice {
		field = field.Elem()
	}
	return field, field.Kind() == reflect.Struct && !field.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func homesOf(key string) []home {
	var homes []home
	for _, h := range schema() {
		if h.key == key {
			homes = append(homes, h)
		}
	}
	return homes
}

// allKeys gives every key of the file, or every one that holds a table.
func allKeys(onlyTables bool) []string {
	var keys []string
	for _, h := range schema() {
		if h.isTable || !onlyTables {
			keys = append(keys, h.key)
		}
	}
	return keys
}

// belongs says where a key would be right: a header to write for tables, else the tables to put it in.
func belongs(homes []home) string {
	var tables []string
	for _, h := range homes {
		if h.isTable {
			return "did you mean " + h.header() + "?"
		}
		if h.table == "" {
			tables = append(tables, "the top of the file")
			continue
		}
		tables = append(tables, "["+h.table+"]")
	}
	return "it belongs in " + strings.Join(tables, " or ")
}

func (h home) header() string {
	path := strings.TrimPrefix(h.table+"."+h.key, ".")
	if h.field.Kind() == reflect.Slice {
		return "[[" + path + "]]"
	}
	return "[" + path + "]"
}

func keysIn(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("toml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if key != "" && v.Type().Field(i).Tag.Get("toml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// nearest finds what was meant by a name: the one with the fewest edits, if these are at most a third
// of it, else one that begins with it ("bind"). Case, dashes and underscores do not count.
func nearest(name string, valid []string) (string, bool) {
	best, fewest := "", max(1, len(name)/3)+1
	folded := fold(name)
	for _, v := range valid {
		if d := edits(folded, fold(v), fewest); d < fewest {
			best, fewest = v, d
		}
	}
	if best != "" {
		return best, true
	}
	for _, v := range valid {
		if len(folded) >= 3 && strings.HasPrefix(fold(v), folded) {
			return v, true
		}
	}
	return "", false
}

func fold(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}

// edits is the number of bytes to insert, delete, replace or swap with their neighbour between a and
// b (optimal string alignment), or limit when there are at least that many.
func edits(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	var older, old []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		older, old, row = old, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}
