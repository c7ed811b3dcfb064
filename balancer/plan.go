package balancer

import (
	"fmt"
	"reflect"
	"strings"

	"weir/config"
)

// Plan is what a reload changes.
type Plan struct {
	// Changes are in the order of the file. None: the configuration stays as it is.
	Changes []Change
	// Ends is how many sessions end in time, for what they use is no more.
	Ends int
}

// Change is one thing that changes.
type Change struct {
	// What is a frontend, a backend, or a key of one: "frontend web: backend db1: weight".
	What string
	// From and To are as in the file. An empty From says that it is new, an empty To that it is gone.
	From, To string
	// Ends is how many sessions run on it that have the drain time to finish.
	Ends int
}

func (c Change) String() string {
	switch {
	case c.From == "":
		return "+ " + c.What + " " + c.To
	case c.To == "" && c.Ends == 0:
		return "- " + c.What + " " + c.From
	case c.To == "":
		return fmt.Sprintf("- %s %s (running sessions: %d)", c.What, c.From, c.Ends)
	}
	return fmt.Sprintf("~ %s: %s -> %s", c.What, c.From, c.To)
}

// differ compares two configurations.
type differ struct {
	Plan
	sessions func(frontend, backend string) int // backend "": of the whole frontend
}

func (b *Balancer) plan(cfg *config.Config) Plan {
	d := differ{sessions: b.sessionsOn}
	d.config(b.config, cfg)
	for _, c := range d.Changes {
		d.Ends += c.Ends
	}
	return d.Plan
}

// sessionsOn returns how many sessions a backend serves, or a whole frontend has.
func (b *Balancer) sessionsOn(frontend, backend string) (n int) {
	p := b.part(frontend)
	if p == nil {
		return 0
	}
	if backend == "" {
		c := p.frontend.Counters()
		return int(c.Opened.Load() - c.Closed.Load())
	}
	for _, s := range p.pool.Snapshot() {
		if s.Backend.Name() == backend {
			n += s.Active
		}
	}
	return n
}

func (d *differ) config(from, to *config.Config) {
	d.keys("", from, to)
	for i := range to.Frontends {
		f := &to.Frontends[i]
		if old := frontendNamed(from, f.Name); old != nil {
			d.frontend(old, f)
		} else {
			d.add(Change{What: "frontend " + f.Name, To: "on " + addresses(f)})
		}
	}
	for i := range from.Frontends {
		if f := &from.Frontends[i]; frontendNamed(to, f.Name) == nil {
			d.add(Change{What: "frontend " + f.Name, From: "on " + addresses(f), Ends: d.sessions(f.Name, "")})
		}
	}
}

func frontendNamed(c *config.Config, name string) *config.Frontend {
	for i := range c.Frontends {
		if c.Frontends[i].Name == name {
			return &c.Frontends[i]
		}
	}
	return nil
}

func addresses(f *config.Frontend) string {
	var list []string
	for _, a := range f.BindOn {
		list = append(list, a.String())
	}
	return strings.Join(list, ", ")
}

func (d *differ) frontend(from, to *config.Frontend) {
	where := "frontend " + to.Name + ": "
	d.keys(where, from, to)
	for i := range to.Backends {
		b := &to.Backends[i]
		if old := sameBackend(from, b); old != nil {
			d.keys(where+"backend "+b.Name+": ", old, b)
		} else {
			d.add(Change{What: where + "backend " + b.Name, To: b.ForwardTo.String()})
		}
	}
	for i := range from.Backends {
		if b := &from.Backends[i]; sameBackend(to, b) == nil {
			d.add(Change{What: where + "backend " + b.Name, From: b.ForwardTo.String(), Ends: d.sessions(from.Name, b.Name)})
		}
	}
}

func sameBackend(f *config.Frontend, like *config.Backend) *config.Backend {
	for i := range f.Backends {
		if b := &f.Backends[i]; b.Name == like.Name && b.ForwardTo == like.ForwardTo {
			return b
		}
	}
	return nil
}

func (d *differ) add(c Change) { d.Changes = append(d.Changes, c) }

// keys compares what two tables of the same kind say, but for frontends and backends.
func (d *differ) keys(where string, from, to any) {
	d.fields(where, reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem())
}

func (d *differ) fields(where string, from, to reflect.Value) {
	for i := range from.NumField() {
		field := from.Type().Field(i)
		key := field.Tag.Get("toml")
		a, b := from.Field(i), to.Field(i)
		switch {
		case key == "frontend" || key == "backend" || !field.IsExported():
		case field.Type.Kind() == reflect.Struct && field.Type.Field(0).Tag.Get("toml") != "":
			d.fields(where+key+".", a, b)
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			if key == "" { // what a file of its own says
				key = strings.ToLower(field.Name)
			}
			d.add(Change{What: where + key, From: text(a), To: text(b)})
		}
	}
}

// text is a value as a person reads it. Long lists are counted.
func text(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		if v.Len() > 8 {
			return fmt.Sprintf("[%d of them]", v.Len())
		}
		list := make([]string, v.Len())
		for i := range list {
			list[i] = text(v.Index(i))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	if v.Kind() == reflect.String {
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}
