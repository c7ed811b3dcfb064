package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Reading is what a file says, with where it says it: who finds something else wrong with a value, because of the
// machine say, can tell its place.
type Reading struct {
	Config *Config
	// Warnings is what will not do what was meant, or harms others. In the order of position.
	Warnings Warnings
	// Unreadable is what this user may not read of the files that weir needs to run: the token and the keys of the
	// door. For whoever only wants to know where the door is that is no mistake.
	Unreadable Mistakes

	report *report
	index  index
}

// Warning is something in a file that is right, and will hardly do what was meant.
type Warning struct{ Mistake }

// String gives one line: "weir.toml:12:3: warning: frontend.health.kind: message; hint".
func (w Warning) String() string {
	text, place := w.Mistake.String(), w.place()
	return place + "warning: " + strings.TrimPrefix(text, place)
}

// Warnings is every warning about a file.
type Warnings []Warning

// Sort brings them into the order of position.
func (w Warnings) Sort() {
	slices.SortStableFunc(w, func(a, b Warning) int { return a.compare(b.Mistake) })
}

// Strings gives a line for each.
func (w Warnings) Strings() []string {
	lines := make([]string, len(w))
	for i := range w {
		lines[i] = w[i].String()
	}
	return lines
}

// Read is [Load] with the places.
func Read(path string) (*Reading, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return ReadText(path, data)
}

// ReadText is [Parse] with the places.
func ReadText(file string, data []byte) (*Reading, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Windows editors begin with a byte order mark
	r := newReport(file, nil)
	if len(data) > maxFile {
		r.add(0, "", &fault{"the file is larger than 16 MiB", ""})
		return nil, r.err()
	}
	r = newReport(file, data)
	c, _, index := parse(r)
	if err := r.err(); err != nil {
		return nil, err
	}
	w := &Reading{Config: c, Unreadable: r.unreadable, report: r, index: index}
	w.look()
	w.Warnings.Sort()
	return w, nil
}

// Mistake makes one about a value of Config, given as a pointer to it. Of several the first is named that the file
// sets; where it sets none of them, or none is given, the place is the beginning of the file.
func (r *Reading) Mistake(message, hint string, fields ...any) Mistake {
	m := Mistake{File: r.report.file, Line: 1, Column: 1, Message: message, Hint: hint}
	for _, field := range fields {
		if n := r.index.nodes[field]; n != nil {
			m.Line, m.Column = r.report.position(n.offset)
			m.Path = n.path()
			return m
		}
	}
	return m
}

// Warn adds a warning, with the place as in Mistake.
func (r *Reading) Warn(message, hint string, fields ...any) {
	r.Warnings = append(r.Warnings, Warning{r.Mistake(message, hint, fields...)})
}

// look finds what is to be warned of in the file itself.
func (r *Reading) look() {
	for i := range r.Config.Frontends {
		r.probesOfMySQL(&r.Config.Frontends[i])
		r.ownBackends(&r.Config.Frontends[i])
	}
}

// ownBackends warns of a frontend that is its own backend: each client comes again, until nothing is left. Names but
// localhost are not resolved.
func (r *Reading) ownBackends(f *Frontend) {
	for i := range f.Backends {
		to := &f.Backends[i].ForwardTo
		for j := range f.BindOn {
			if f.BindOn[j].takes(*to) {
				r.Warn(quote(to.String())+" is where this frontend listens: each session would be forwarded to weir again, for ever",
					"name the address of the server", to)
			}
		}
	}
}

// takes says whether what is connected to on this machine comes to a listening address.
func (a Address) takes(to Address) bool {
	if a.Network != to.Network || a.Network == "unix" || a.isPortZero() {
		return a == to && a.Network == "unix"
	}
	host, port := a.hostPort()
	toHost, toPort := to.hostPort()
	listens, dials := newBinding(&a, host), newBinding(&to, toHost)
	wild := (listens.v4 || listens.v6) && dials.ip.IsLoopback() && listens.covers(dials)
	return port == toPort && dials.ip.IsValid() && (listens.ip == dials.ip || wild)
}

// mysqlPort is where MySQL and MariaDB listen: IANA.
const mysqlPort = 3306

// probesOfMySQL warns of connections that are opened and closed in front of a server that counts them as attacks
// (max_connect_errors in MySQL's and MariaDB's manuals).
func (r *Reading) probesOfMySQL(f *Frontend) {
	if f.Health.Kind != "tcp" || f.Health.Port != 0 && f.Health.Port != mysqlPort {
		return
	}
	about := []any{&f.Health.Kind}
	spoken := f.Health.Port == mysqlPort || f.Protocol == "mysql"
	if spoken {
		about = append(about, &f.Health.Port, &f.Protocol)
	}
	for i := range f.Backends {
		b := &f.Backends[i]
		if _, port := b.ForwardTo.hostPort(); port == mysqlPort && !spoken && !b.Disabled {
			spoken = true
			about = append(about, &b.ForwardTo)
		}
	}
	if !spoken {
		return
	}
	r.Warn("a TCP probe is a broken login to MySQL and MariaDB: each is a line in the server's log, and max_connect_errors of them in a "+
		`row (100 by default) block this host ("Host is blocked because of many connection errors")`,
		`set health.port to a port that does not speak MySQL, or health.kind = "none", which leaves ejection after failed connects, `+
			"or raise max_connect_errors on the servers", about...)
}
