//go:build !unix

package frontend

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// pathID is not known here, and "ours" is believed.
type pathID struct{ path bool }

func pathOf(a net.Addr) pathID {
	return pathID{a.Network() == "unix" && !strings.HasPrefix(a.String(), "@")}
}

func (id pathID) is(string) bool { return true }

func (id pathID) remove(path string) {
	if id.path {
		os.Remove(path)
	}
}

func (id pathID) mark() string { return "" }

func marked(string) pathID { return pathID{} }

func closed(string, string, syscall.RawConn) error { return nil }

func (id pathID) permit(string, Permission) (func(), error) {
	return nil, errors.New("mode, owner and group of a socket cannot be set on this system")
}

func mayWrite(string) error { return nil }

func umask() fs.FileMode { return 0 }
