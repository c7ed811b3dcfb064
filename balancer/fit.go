package balancer

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"weir/config"
	"weir/frontend/reactor"
)

// Fit says what on this machine is against a configuration, for this user. It listens nowhere, connects to nothing,
// resolves no name and makes no file; what runs already is not disturbed. A check asks it for all, and what starts or reloads
// for the part that it is about to do, so that they cannot differ.
type Fit struct {
	*config.Reading
	Mistakes config.Mistakes
	loops    int // of the reactor
}

// FitFiles looks at what a start opens beside sockets: the log, the token and the keys; and at the limit of open files.
// A change of the log's file waits for the next start: a reload, from the configuration that runs, is only warned of it.
func FitFiles(r *config.Reading, from *config.Config) *Fit { return fitFiles(r, from, reactor.Loops()) }

func fitFiles(r *config.Reading, from *config.Config, loops int) *Fit {
	f := &Fit{Reading: r, loops: loops}
	f.Mistakes = append(f.Mistakes, r.Unreadable...)
	c := r.Config
	if path := c.Log.File; path != "" && (from == nil || from.Log.File != path) {
		f.later(from, logFault(path), &c.Log.File)
	}
	f.descriptors()
	f.engines()
	f.sources()
	return f
}

// FitSockets adds what keeps unix sockets from being made at their paths. Those that are open already, open says, need
// nothing. from is as in FitFiles.
func (f *Fit) FitSockets(from *config.Config, open func(config.Address) bool) *Fit {
	c := f.Config
	paths := make(map[string]string)
	for i := range c.Frontends {
		for j := range c.Frontends[i].BindOn {
			f.socket(nil, open, &c.Frontends[i].BindOn[j].Address)
			f.onePath(paths, &c.Frontends[i].BindOn[j].Address)
		}
	}
	f.onePath(paths, &c.Admin.BindOn)
	if from == nil || from.Admin.BindOn != c.Admin.BindOn {
		f.socket(from, open, &c.Admin.BindOn)
	}
	f.sort()
	return f
}

// FitNetwork adds warnings about addresses that this machine has not, and ports that this user may not have. Only a
// check wants them: whoever listens is told by the kernel, which may know better.
func (f *Fit) FitNetwork() *Fit {
	c := f.Config
	local := sync.OnceValue(localAddresses)
	for i := range c.Frontends {
		for j := range c.Frontends[i].BindOn {
			f.listener(local, &c.Frontends[i].BindOn[j].Address)
		}
	}
	f.listener(local, &c.Admin.BindOn)
	f.sort()
	return f
}

// Fit says what is against a reload of what was read: of the machine, not of what else may fail.
func (b *Balancer) Fit(r *config.Reading) *Fit {
	from := b.Config()
	open := func(a config.Address) bool {
		return slices.ContainsFunc(from.Frontends, func(f config.Frontend) bool {
			return slices.ContainsFunc(f.BindOn, func(l config.Listen) bool { return l.Address == a })
		})
	}
	return fitFiles(r, from, b.loops).FitSockets(from, open)
}

// sort brings all into the order of position.
func (f *Fit) sort() {
	f.Mistakes.Sort()
	f.Warnings.Sort()
}

// Err is the mistakes, or nil.
func (f *Fit) Err() error {
	if len(f.Mistakes) == 0 {
		return nil
	}
	return f.Mistakes
}

// flaw is what is wrong, and what would be right.
type flaw struct{ message, hint string }

func (f *Fit) mistake(w *flaw, fields ...any) {
	if w != nil {
		f.Mistakes = append(f.Mistakes, f.Mistake(w.message, w.hint, fields...))
	}
}

// later takes for a warning what only the next start would stumble over.
func (f *Fit) later(from *config.Config, w *flaw, field any) {
	if from == nil {
		f.mistake(w, field)
	} else if w != nil {
		f.Warn(w.message+": the next start would fail", w.hint, field)
	}
}

func (f *Fit) descriptors() {
	c := f.Config
	shares, err := shareDescriptors(c, f.loops, 0)
	if err != nil {
		f.mistake(&flaw{err.Error(), "raise it with ulimit -n or LimitNOFILE=, or have fewer frontends, addresses and backends"}, &c.MaxSessions)
		return
	}
	limits := []*int{&c.MaxSessions}
	for i := range c.Frontends {
		limits = append(limits, &c.Frontends[i].MaxSessions)
	}
	whole := *c
	whole.MaxSessions = 0
	if shares, err = shareDescriptors(&whole, f.loops, 0); err != nil {
		return
	}
	for _, limit := range limits {
		if *limit > shares.sessions {
			f.Warn(fmt.Sprintf("%d sessions are more than the limit of %d open files leaves room for: there will be %d", *limit, descriptorLimit(), shares.sessions),
				"raise it with ulimit -n or LimitNOFILE=", limit)
		}
	}
}

func (f *Fit) engines() {
	for i := range f.Config.Frontends {
		if c := &f.Config.Frontends[i]; c.Engine == "reactor" && !reactor.Supported {
			f.mistake(&flaw{`the engine "reactor" needs Linux`, `use "auto" or "copy"`}, &c.Engine)
		}
	}
}

// sources warns only: an address may come later, as that of a machine that takes over from another.
func (f *Fit) sources() {
	local := sync.OnceValue(localAddresses)
	for i := range f.Config.Frontends {
		c := &f.Config.Frontends[i]
		for j := range c.SourceAddress {
			if ip := &c.SourceAddress[j]; !local().has(ip.Addr) {
				f.Warn(fmt.Sprintf("no interface of this machine has %s: connections to backends cannot come from there", ip.Addr), "", ip)
			}
		}
	}
}

func (f *Fit) socket(from *config.Config, open func(config.Address) bool, a *config.Address) {
	if a.Network != "unix" || strings.HasPrefix(a.Address, "@") || open != nil && open(*a) {
		return
	}
	f.later(from, socketFault(a.Address), a)
}

// onePath finds two paths that links make one. The same text twice is a mistake of the file itself.
func (f *Fit) onePath(taken map[string]string, a *config.Address) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(a.Address))
	if a.Network != "unix" || strings.HasPrefix(a.Address, "@") || err != nil {
		return
	}
	path := filepath.Join(dir, filepath.Base(a.Address))
	if first, ok := taken[path]; ok {
		f.mistake(&flaw{fmt.Sprintf("%q and %q are the same path, through a link", a.Address, first), "one socket can be bound once"}, a)
		return
	}
	taken[path] = a.Address
}

// socketFault says what keeps a unix socket from being made at a path. One that is there may be replaced, if nobody
// listens at it: only the attempt tells.
func socketFault(path string) *flaw {
	dir := filepath.Dir(path)
	if w := directoryFault(dir, "for the socket"); w != nil {
		return w
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		return &flaw{fmt.Sprintf("something else than a socket is at %q", path), "move it away, or listen elsewhere"}
	}
	return nil
}

// directoryFault says what keeps this user from making a file in a directory.
func directoryFault(dir, what string) *flaw {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint := "create it: mkdir -p " + dir
		if strings.HasPrefix(dir, "/run/") || strings.HasPrefix(dir, "/var/run/") {
			hint += ", or have systemd do so with RuntimeDirectory="
		}
		return &flaw{fmt.Sprintf("the directory %q %s does not exist", dir, what), hint}
	case err != nil:
		return &flaw{fmt.Sprintf("the directory %q %s cannot be used: %v", dir, what, withoutPath(err)), ""}
	case !info.IsDir():
		return &flaw{fmt.Sprintf("%q is no directory", dir), "name a path inside a directory"}
	}
	if err := mayCreateIn(dir); err != nil {
		return &flaw{fmt.Sprintf("this user (uid %d) may not create a file in the directory %q %s: %v", os.Geteuid(), dir, what, err),
			"give it to the user that weir runs as, or use another"}
	}
	return nil
}

// logFault says what keeps the log from being opened: see openLog. Where there is no file yet it makes none.
func logFault(path string) *flaw {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|openWithoutWaiting, 0)
	if err == nil {
		file.Close()
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return &flaw{fmt.Sprintf("cannot open the log %q: %v", path, withoutPath(err)), "let the user that weir runs as write it, or name another file"}
	}
	return directoryFault(filepath.Dir(target(path)), "for the log")
}

// target follows the links at the end of a path that may lead to what is not there yet.
func target(path string) string {
	for range 40 { // as the kernel does: path_resolution(7)
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path
}

func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func (f *Fit) listener(local func() locals, a *config.Address) {
	if a.Network != "tcp" {
		return
	}
	host, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		return
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() && !local().has(ip) {
		f.Warn(fmt.Sprintf("no interface of this machine has %s: weir cannot listen there, unless the kernel routes it here", ip),
			"bind an address of this machine, or all with only :"+port, a)
	}
	if why := portFault(port); why != "" {
		f.Warn(fmt.Sprintf("this user (uid %d) may not listen on port %s: %s", os.Geteuid(), port, why),
			"give weir CAP_NET_BIND_SERVICE (AmbientCapabilities=), or have systemd open the socket", a)
	}
}

// locals are the addresses of this machine. nil: they are not known.
type locals []netip.Prefix

func localAddresses() (list locals) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// has is true when that is not known. All of 127.0.0.0/8 is this machine's.
func (l locals) has(ip netip.Addr) bool {
	ip = ip.Unmap()
	if l == nil || ip.Is4() && ip.IsLoopback() {
		return true
	}
	for _, p := range l {
		if p.Addr() == ip.WithZone("") {
			return true
		}
	}
	return false
}
