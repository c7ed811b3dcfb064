package frontend

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// OwnSocket names a listening socket that was opened by weir, when it is handed over (LISTEN_FDNAMES in
// sd_listen_fds(3)). The path of such a unix socket is weir's to remove in the end; that of one with another
// name, systemd's say, is not.
const OwnSocket = "opened-by-weir"

// Socket is a listening socket that can be handed over. It stays the frontend's.
type Socket struct {
	FD  uintptr
	Own bool // opened by weir
}

// Name is what the socket is called when it is handed over.
func (s Socket) Name() string {
	if s.Own {
		return OwnSocket
	}
	return "opened-for-weir"
}

// Copies returns files with copies of the descriptors, which belong to the caller. Their names are those of the
// sockets.
func Copies(sockets []Socket) (files []*os.File, err error) {
	for _, s := range sockets {
		fd, err := duplicate(s.FD)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, os.NewSyscallError("fcntl", err)
		}
		files = append(files, os.NewFile(fd, s.Name()))
	}
	return files, nil
}

// Inherited is listening sockets that were opened elsewhere: by the process that this one takes the place
// of, by systemd, or by a frontend that gives its address away. A nil *Inherited has none.
type Inherited struct {
	mu      sync.Mutex
	sockets []inherited
	paths   []string // of weir's own unix sockets that nobody has taken, and that are closed
}

type inherited struct {
	file *os.File // owned
	addr net.Addr
}

// Inherit takes the sockets over. An error names the one that is not a listening stream socket, and closes all.
func Inherit(files []*os.File) (*Inherited, error) {
	in := new(Inherited)
	for i, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			in.Close()
			for _, f := range files[i:] {
				f.Close()
			}
			return nil, fmt.Errorf("inherited descriptor %s: %w", f.Name(), err)
		}
		in.sockets = append(in.sockets, inherited{f, l.Addr()})
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		l.Close() // a copy
	}
	return in, nil
}

// Take returns the sockets that listen on that address, none if there is none. They belong to the caller.
// Port 0 means whatever port a socket has.
func (in *Inherited) Take(b Bind) (files []*os.File) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	is := b.matcher()
	var rest []inherited
	for _, s := range in.sockets {
		if is(s.addr) {
			files = append(files, s.file)
		} else {
			rest = append(rest, s)
		}
	}
	in.sockets = rest
	return files
}

// Has says whether a socket listens on that address.
func (in *Inherited) Has(b Bind) bool {
	if in == nil {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	is := b.matcher()
	return slices.ContainsFunc(in.sockets, func(s inherited) bool { return is(s.addr) })
}

// Rest returns the addresses that nobody has taken.
func (in *Inherited) Rest() (addrs []string) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		addrs = append(addrs, s.addr.String())
	}
	return addrs
}

// Close closes what nobody has taken.
func (in *Inherited) Close() {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if s.file.Name() == OwnSocket && s.addr.Network() == "unix" {
			in.paths = append(in.paths, s.addr.String())
		}
		s.file.Close()
	}
	in.sockets = nil
}

// RemovePaths removes the paths of weir's own unix sockets that were closed because nobody has taken them.
func (in *Inherited) RemovePaths() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, path := range in.paths {
		if !strings.HasPrefix(path, "@") {
			os.Remove(path)
		}
	}
	in.paths = nil
}

// matcher says which addresses are that one. With port 0 it takes those of one port only, the first it sees.
func (b Bind) matcher() func(net.Addr) bool {
	if b.Network == "unix" {
		return func(a net.Addr) bool { return a.Network() == "unix" && a.String() == b.Address }
	}
	want, err := net.ResolveTCPAddr(b.Network, b.Address)
	if err != nil {
		return func(net.Addr) bool { return false }
	}
	return func(a net.Addr) bool {
		t, ok := a.(*net.TCPAddr)
		if !ok || !sameIP(want.IP, t.IP, b.Network) || want.Zone != t.Zone {
			return false
		}
		if want.Port == 0 {
			want.Port = t.Port
		}
		return want.Port == t.Port
	}
}

// sameIP takes every way to say "all addresses" of a family for the same.
func sameIP(want, is net.IP, network string) bool {
	if len(want) > 0 && !want.IsUnspecified() {
		return want.Equal(is)
	}
	return is.IsUnspecified() && (network != "tcp4" || is.To4() != nil) && (network != "tcp6" || is.To4() == nil)
}
