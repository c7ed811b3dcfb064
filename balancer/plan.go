package balancer

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"weir/backend"
	"weir/config"
	"weir/frontend/reactor"
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
	// Frontend and Backend are names; empty: it is about all of weir, or all of the frontend. Key is the key
	// in the file; empty: it is a whole frontend or backend.
	Frontend, Backend, Key string
	// From and To are as in the file. An empty From says that it is new, an empty To that it is gone.
	From, To string
	// Ends is how many sessions run on it that have the drain time to finish.
	Ends int
	// Note is what is worth knowing beside. It may be empty.
	Note string
}

// What names what changes: "frontend web: backend db1: weight".
func (c Change) What() string {
	var words []string
	if c.Frontend != "" {
		words = append(words, "frontend "+c.Frontend)
	}
	if c.Backend != "" {
		words = append(words, "backend "+c.Backend)
	}
	if c.Key != "" {
		words = append(words, c.Key)
	}
	return strings.Join(words, ": ")
}

func (c Change) String() string {
	text := fmt.Sprintf("~ %s: %s -> %s", c.What(), c.From, c.To)
	switch {
	case c.From == "":
		text = "+ " + c.What() + " " + c.To
	case c.To == "":
		text = "- " + c.What() + " " + c.From
	}
	if c.Ends > 0 {
		text += fmt.Sprintf(" (running sessions: %d)", c.Ends)
	}
	if c.Note != "" {
		text += " (" + c.Note + ")"
	}
	return text
}

// atStart is the note of what only a new start takes up.
const atStart = "takes effect when weir is started anew"

// differ compares two configurations.
type differ struct {
	Plan
	sessions func(frontend, backend string) int // backend "": of the whole frontend
	said     func(frontend, backend string) string
}

func (b *Balancer) plan(cfg *config.Config) Plan {
	d := differ{sessions: b.sessionsOn(), said: b.saidOf()}
	d.config(b.config, cfg)
	for i := range d.Changes {
		c := &d.Changes[i]
		d.Ends += c.Ends
		if c.Frontend == "" && c.Key == "pin_loops" && cfg.PinLoops {
			c.Note = b.whyNotPin(cfg)
		}
	}
	return d.Plan
}

// whyNotPin says why pin_loops changes nothing; empty: it does.
func (b *Balancer) whyNotPin(cfg *config.Config) string {
	if !anyReactor(cfg) {
		return "has no effect: no frontend runs on the reactor"
	}
	if err := reactor.MayPin(b.loops); err != nil {
		return "has no effect: " + err.Error()
	}
	return ""
}

// Compare tells what is different between two configurations.
func Compare(from, to *config.Config) []Change {
	d := differ{sessions: func(string, string) int { return 0 }, said: func(string, string) string { return "" }}
	d.config(from, to)
	return d.Changes
}

// sessionsOn returns what tells how many sessions a backend has, or a whole frontend.
func (b *Balancer) sessionsOn() func(frontend, backend string) int {
	known := make(map[string]map[string]int) // by frontend and backend
	return func(frontend, backend string) int {
		p := b.part(frontend)
		if p == nil {
			return 0
		}
		if backend == "" {
			c := p.frontend.Counters()
			closed := c.Closed.Load() // first, or there might be fewer than none
			return int(c.Opened.Load() - closed)
		}
		if known[frontend] == nil {
			known[frontend] = p.sessionsByBackend()
		}
		return known[frontend][backend]
	}
}

// saidOf returns what tells what an operator says of the backend of a name, whatever its address: that stays.
func (b *Balancer) saidOf() func(frontend, name string) string {
	known := make(map[string]map[string]string)
	return func(frontend, name string) string {
		p := b.part(frontend)
		if p == nil {
			return ""
		}
		if known[frontend] == nil {
			notes := make(map[string]string)
			for _, n := range p.pool.Notes() {
				notes[n.Name] = "gets no sessions: " + n.Reason
			}
			known[frontend] = notes
		}
		return known[frontend][name]
	}
}

// sessionsByBackend counts the sessions of the backends that are there, by name.
func (p *part) sessionsByBackend() map[string]int {
	n := make(map[string]int)
	for _, s := range p.pool.Snapshot() {
		if s.State != backend.Removed {
			n[s.Backend.Name()] += s.Active
		}
	}
	return n
}

func (d *differ) config(from, to *config.Config) {
	d.keys(Change{}, from, to)
	names := renamed(from, to)
	stays := make(map[string]bool)
	for i := range to.Frontends {
		f := &to.Frontends[i]
		was, ok := names[f.Name]
		if !ok {
			was = f.Name
		}
		stays[was] = true
		if old := frontendNamed(from, was); old != nil {
			d.frontend(old, f)
		} else {
			d.add(Change{Frontend: f.Name, To: "on " + addresses(f), Note: takesOver(f, from)})
		}
	}
	for i := range from.Frontends {
		if f := &from.Frontends[i]; !stays[f.Name] {
			d.add(Change{Frontend: f.Name, From: "on " + addresses(f), Ends: d.sessions(f.Name, "")})
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

// takesOver is the note of a new frontend that listens where another did.
func takesOver(f *config.Frontend, from *config.Config) string {
	for i := range from.Frontends {
		old := &from.Frontends[i]
		for _, a := range old.BindOn {
			if slices.ContainsFunc(f.BindOn, func(l config.Listen) bool { return l.Address == a.Address }) {
				return "takes over the listener of " + old.Name
			}
		}
	}
	return ""
}

func addresses(f *config.Frontend) string {
	var list []string
	for _, a := range f.BindOn {
		list = append(list, a.String())
	}
	return strings.Join(list, ", ")
}

func (d *differ) frontend(from, to *config.Frontend) {
	first := len(d.Changes)
	d.keys(Change{Frontend: to.Name}, from, to)
	d.noteEngine(d.Changes[first:], from, to)
	were, are := backendsOf(from), backendsOf(to)
	for i := range to.Backends {
		b := &to.Backends[i]
		if old := were[same(b)]; old != nil {
			d.keys(Change{Frontend: to.Name, Backend: b.Name}, old, b)
		} else {
			d.add(Change{Frontend: to.Name, Backend: b.Name, To: b.ForwardTo.String(), Note: d.said(from.Name, b.Name)})
		}
	}
	for i := range from.Backends {
		if b := &from.Backends[i]; are[same(b)] == nil {
			d.add(Change{Frontend: to.Name, Backend: b.Name, From: b.ForwardTo.String(), Ends: d.sessions(from.Name, b.Name)})
		}
	}
}

// noteEngine says what another engine means.
func (d *differ) noteEngine(changes []Change, from, to *config.Frontend) {
	was, _ := engineOf(from)
	is, _ := engineOf(to)
	for i := range changes {
		if changes[i].Key == "engine" && was != is {
			changes[i].Note = "for new sessions; running sessions finish on " + was
		}
	}
}

// identity is what makes two backends the same.
type identity struct {
	name string
	at   config.Address
}

func same(b *config.Backend) identity { return identity{b.Name, b.ForwardTo} }

func backendsOf(f *config.Frontend) map[identity]*config.Backend {
	all := make(map[identity]*config.Backend, len(f.Backends))
	for i := range f.Backends {
		all[same(&f.Backends[i])] = &f.Backends[i]
	}
	return all
}

func (d *differ) add(c Change) { d.Changes = append(d.Changes, c) }

// keys compares what two tables of the same kind say, but for frontends and backends.
func (d *differ) keys(where Change, from, to any) {
	d.fields(where, reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem())
}

// fields compares tables; where.Key is the name of the table and a dot, if it is one inside another.
func (d *differ) fields(where Change, from, to reflect.Value) {
	for i := range from.NumField() {
		field := from.Type().Field(i)
		key := field.Tag.Get("toml")
		a, b := from.Field(i), to.Field(i)
		switch {
		case key == "frontend" || key == "backend" || !field.IsExported():
		case field.Type.Kind() == reflect.Struct && field.Type.Field(0).Tag.Get("toml") != "":
			inside := where
			inside.Key += key + "."
			d.fields(inside, a, b)
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			if key == "" { // what a file of its own says
				key = strings.ToLower(field.Name)
			}
			c := where
			c.Key, c.From, c.To = c.Key+key, text(a), text(b)
			if c.Frontend == "" && (strings.HasPrefix(c.Key, "admin.") || c.Key == "log.file") {
				c.Note = atStart
			}
			d.add(c)
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
