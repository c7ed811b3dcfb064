package config

import (
	"errors"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
)

// Listen is an address that a frontend listens on. In the file it is the address alone, or a table with the address and
// who may connect to it:
//
//	bind_on = "127.0.0.1:5432"
//	bind_on = ["127.0.0.1:5432", { address = "unix:/run/weir/db.sock", mode = "0660", group = "db" }]
type Listen struct {
	Address `toml:"address"`
	// Mode, Owner and Group are those of the path of a unix socket; only whoever may write to it can connect. Mode is
	// octal, Owner and Group are names or numbers. "", the default: what bind(2) gives, which is mode 0666 less
	// the umask, and the user and group that weir runs as. Only root gives a socket another owner.
	Mode  Mode    `toml:"mode"`
	Owner Account `toml:"owner"`
	Group Account `toml:"group"`
}

// Mode is a mode of a file in octal: "0660". "": none is given.
type Mode string

// Account is the name or the number of a user or a group. "": none is given.
type Account string

// String gives the address, and what is said beside.
func (l Listen) String() string {
	var words []string
	for _, k := range l.permissions() {
		words = append(words, k.key+" "+k.value)
	}
	if len(words) == 0 {
		return l.Address.String()
	}
	return l.Address.String() + " (" + strings.Join(words, ", ") + ")"
}

// permission is one of the keys beside the address.
type permission struct {
	key, value string
	field      any
}

// permissions are those that are given.
func (l *Listen) permissions() (given []permission) {
	for _, k := range []permission{{"mode", string(l.Mode), &l.Mode}, {"owner", string(l.Owner), &l.Owner}, {"group", string(l.Group), &l.Group}} {
		if k.value != "" {
			given = append(given, k)
		}
	}
	return given
}

// toml is the value in the file.
func (l *Listen) toml() string {
	keys := l.permissions()
	if len(keys) == 0 {
		return strconv.Quote(l.Address.String())
	}
	text := "{ address = " + strconv.Quote(l.Address.String())
	for _, k := range keys {
		text += ", " + k.key + " = " + strconv.Quote(k.value)
	}
	return text + " }"
}

// FileMode returns Mode as a number. given is false without one.
func (l *Listen) FileMode() (mode fs.FileMode, given bool) {
	n, err := strconv.ParseUint(string(l.Mode), 8, 32)
	return fs.FileMode(n), err == nil
}

// Owners returns the numbers of Owner and Group, -1 for one that is not given. An error says that this host does not know
// one of them (any more).
func (l *Listen) Owners() (uid, gid int, err error) {
	uid, uidFault := idOf("user", string(l.Owner))
	gid, gidFault := idOf("group", string(l.Group))
	for _, f := range []*fault{uidFault, gidFault} {
		if f != nil {
			return -1, -1, errors.New(f.message)
		}
	}
	return uid, gid, nil
}

const modeForms = `modes are octal, in quotes: "0660" lets the owner and the group connect`

func parseMode(text string) (Mode, *fault) {
	digits := strings.TrimPrefix(text, "0")
	if text == "" {
		return "", nil
	}
	if _, err := strconv.ParseUint(digits, 8, 32); err != nil || len(digits) != 3 {
		return "", &fault{quote(text) + " is not a mode", modeForms}
	}
	return Mode("0" + digits), nil
}

// idOf returns the number of a user or a group, -1 for "".
func idOf(what, name string) (int, *fault) {
	if name == "" {
		return -1, nil
	}
	if id, err := strconv.ParseUint(name, 10, 32); err == nil && id < 1<<32-1 { // that is "none" to chown(2)
		return int(id), nil
	}
	var text string
	if what == "user" {
		if u, err := user.Lookup(name); err == nil {
			text = u.Uid
		}
	} else if g, err := user.LookupGroup(name); err == nil {
		text = g.Gid
	}
	id, err := strconv.Atoi(text)
	if err != nil {
		return -1, &fault{"this host has no " + what + " " + quote(name), "give a name that it knows, or a number"}
	}
	return id, nil
}

// listen checks one address and who may connect to it.
func (v *validator) listen(l *Listen) {
	v.wrong(&l.Address, l.listenFault)
	for _, k := range l.permissions() {
		v.wrong(k.field, func() *fault {
			if !l.isPath() && l.Network != "" { // or what is wrong is the address
				return &fault{"has no meaning on " + quote(l.Address.String()), "only the path of a unix socket has a mode, an owner and a group"}
			}
			return nil
		})
	}
	v.wrong(&l.Owner, func() *fault { _, f := idOf("user", string(l.Owner)); return f })
	v.wrong(&l.Group, func() *fault { _, f := idOf("group", string(l.Group)); return f })
}

// isPath says whether it is a unix socket with a path: abstract ones have none.
func (a Address) isPath() bool { return a.Network == "unix" && strings.HasPrefix(a.Address, "/") }
