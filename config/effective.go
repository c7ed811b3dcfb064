package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// TOML gives the effective configuration: every key with its value, defaults and names included, but for
// those that have no meaning beside the others. Of lists in other files it has the paths. [Parse] makes an
// equal Config of it.
func (c *Config) TOML() ([]byte, error) {
	w := new(writer)
	if err := w.table("", reflect.ValueOf(c).Elem()); err != nil {
		return nil, fmt.Errorf("write config: %w", err)
	}
	return w.Bytes(), nil
}

// writer writes structs as tables. go-toml alone cannot: a struct's field is not always what its key is.
type writer struct{ bytes.Buffer }

// table writes first what is in a table itself, then the tables in it, as TOML wants it.
func (w *writer) table(path string, v reflect.Value) error {
	t := v.Type()
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		if _, isTable := tableType(t.Field(i).Type); key == "" || isTable {
			continue
		}
		if err := w.key(v, key, v.Field(i)); err != nil {
			return err
		}
	}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		if _, isTable := tableType(t.Field(i).Type); key == "" || !isTable {
			continue
		}
		if err := w.tables(strings.TrimPrefix(path+"."+key, "."), v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) tables(path string, v reflect.Value) error {
	if v.Kind() != reflect.Slice {
		fmt.Fprintf(w, "\n[%s]\n", path)
		return w.table(path, v)
	}
	for i := range v.Len() {
		fmt.Fprintf(w, "\n[[%s]]\n", path)
		if err := w.table(path, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) key(owner reflect.Value, key string, field reflect.Value) error {
	value := field.Interface()
	if b, ok := owner.Addr().Interface().(*Backend); ok {
		value = b.effective(key, value)
	}
	if value == nil {
		return nil
	}
	if list, ok := value.([]Listen); ok && slices.ContainsFunc(list, func(l Listen) bool { return len(l.permissions()) > 0 }) {
		var texts []string
		for i := range list {
			texts = append(texts, list[i].toml())
		}
		_, err := fmt.Fprintf(w, "%s = [%s]\n", key, strings.Join(texts, ", "))
		return err
	}
	return toml.NewEncoder(w).Encode(map[string]any{key: value})
}

// effective is what a key of a backend says in the file; nil for nothing.
func (b *Backend) effective(key string, value any) any {
	switch {
	case key == "max_connections" && b.Auto:
		return "auto"
	case (key == "min" || key == "max") && !b.Auto:
		return nil
	case key == "backup":
		return b.Backup.toml()
	}
	return value
}
