package frontend

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// OwnSocket begins the name of a listening socket that was opened by weir, when it is handed over (LISTEN_FDNAMES in
// sd_listen_fds(3)). The path of such a unix socket is weir's to remove in the end; that of one with another
// name, systemd's say, is not.
const OwnSocket = "opened-by-weir"

// IsOwn says whether a socket of that name was opened by weir.
func IsOwn(name string) bool { return name == OwnSocket || strings.HasPrefix(name, OwnSocket+"-") }

// Socket is a listening socket that can be handed over. It stays the frontend's.
type Socket struct {
	FD   uintptr
	Own  bool   // opened by weir
	path pathID // of a unix socket of weir's own
}

// Name is what the socket is called when it is handed over. That of a unix socket says which file its path leads to.
func (s Socket) Name() string {
	if s.Own {
		return OwnSocket + s.path.mark()
	}
	return "opened-for-weir"
}

// Copies returns files with copies of the descriptors, which belong to the caller. Their names are those of the
// sockets.
func Copies(sockets []Socket) (files []*os.File, err error) {
	for _, s := range sockets {
		fd, err := duplicate(s.FD)
		if err != nil {
			closeAll(files)
			return nil, os.NewSyscallError("fcntl", err)
		}
		files = append(files, os.NewFile(fd, s.Name()))
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Inherited is listening sockets that were opened elsewhere: by the process that this one takes the place
// of, or by systemd. A nil *Inherited has none.
type Inherited struct {
	mu      sync.Mutex
	sockets []inherited
	paths   []path // of weir's own unix sockets that nobody has taken, and that are closed
}

type inherited struct {
	file  *os.File // owned
	addr  net.Addr
	reach reach
	own   bool
	path  pathID
}

// path is where a unix socket of weir's own is.
type path struct {
	name string
	id   pathID
}

// Inherit takes the sockets over. An error names the one that is not a listening stream socket, and closes all.
func Inherit(files []*os.File) (*Inherited, error) {
	in := new(Inherited)
	for i, f := range files {
		s, err := inherit(f)
		if err != nil {
			in.Close()
			closeAll(files[i:])
			return nil, fmt.Errorf("inherited descriptor %s: %w", f.Name(), err)
		}
		in.sockets = append(in.sockets, s)
	}
	return in, nil
}

func inherit(f *os.File) (s inherited, err error) {
	l, err := net.FileListener(f)
	if err != nil {
		return s, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	l.Close() // a copy
	fd, _ := descriptor(f)
	s = inherited{file: f, addr: l.Addr(), own: IsOwn(f.Name())}
	s.reach = reachOfSocket(s.addr, isV6only([]uintptr{fd}))
	if s.own && s.addr.Network() == "unix" {
		if s.path = marked(strings.TrimPrefix(f.Name(), OwnSocket)); s.path == (pathID{}) { // of a weir that did not tell
			s.path = pathOf(s.addr)
		}
	}
	return s, nil
}

// Take returns the sockets that listen on that address, none if there is none. They belong to the caller.
// Port 0 means whatever port a socket has.
func (in *Inherited) Take(b Bind) (files []*os.File) {
	want, err := reachOf(b)
	if in == nil || err != nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sockets = slices.DeleteFunc(in.sockets, func(s inherited) bool {
		if s.reach != want && !want.like(s.reach, b) {
			return false
		}
		if want.port == 0 {
			want.port = s.reach.port
		}
		files = append(files, s.file)
		return true
	})
	return files
}

// add takes files with sockets of one address that weir has not opened.
func (in *Inherited) add(files []*os.File, addr net.Addr, r reach) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, f := range files {
		in.sockets = append(in.sockets, inherited{file: f, addr: addr, reach: r})
	}
}

// held tells a move what there is: a listening address each. One of weir's own whose path is gone cannot be reached any
// more: it is not.
func (in *Inherited) held() (list []*held) {
	in.mu.Lock()
	defer in.mu.Unlock()
	type address struct {
		reach reach
		own   bool
	}
	known := make(map[address]*held)
	for _, s := range in.sockets {
		h := known[address{s.reach, s.own}]
		if h == nil {
			if s.own && !s.path.is(s.reach.path) {
				continue
			}
			h = &held{reach: s.reach, addr: s.addr, own: s.own, path: s.path}
			known[address{s.reach, s.own}] = h
			list = append(list, h)
		}
		h.files = append(h.files, s.file)
	}
	return list
}

// forget closes what of it was taken.
func (in *Inherited) forget(there []*held) {
	taken := make(map[*os.File]bool)
	for _, h := range there {
		for _, f := range h.files {
			taken[f] = h.to != nil
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sockets = slices.DeleteFunc(in.sockets, func(s inherited) bool {
		if taken[s.file] {
			s.file.Close()
		}
		return taken[s.file]
	})
}

// Has says whether a socket listens on that address.
func (in *Inherited) Has(b Bind) bool {
	if in == nil {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	want, err := reachOf(b)
	return err == nil && slices.ContainsFunc(in.sockets, func(s inherited) bool { return s.reach == want || want.like(s.reach, b) })
}

// Rest returns the addresses that nobody has taken.
func (in *Inherited) Rest() (addrs []string) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if text := s.addr.String(); !slices.Contains(addrs, text) {
			addrs = append(addrs, text)
		}
	}
	return addrs
}

// Others takes out what weir has not opened: it could not be opened again while whoever has opened it keeps it.
func (in *Inherited) Others() *Inherited {
	rest := new(Inherited)
	if in == nil {
		return rest
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sockets = slices.DeleteFunc(in.sockets, func(s inherited) bool {
		if !s.own {
			rest.sockets = append(rest.sockets, s)
		}
		return !s.own
	})
	return rest
}

// Sockets returns what nobody has taken, to be handed over.
func (in *Inherited) Sockets() (sockets []Socket) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if fd, ok := descriptor(s.file); ok {
			sockets = append(sockets, Socket{FD: fd, Own: s.own, path: s.path})
		}
	}
	return sockets
}

// Close closes what nobody has taken.
func (in *Inherited) Close() {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if s.own && s.reach.path != "" {
			in.paths = append(in.paths, path{s.reach.path, s.path})
		}
		s.file.Close()
	}
	in.sockets = nil
}

// RemovePaths removes the paths of weir's own unix sockets that were closed because nobody has taken them.
func (in *Inherited) RemovePaths() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, p := range in.paths {
		p.id.remove(p.name)
	}
	in.paths = nil
}
