//go:build !linux

package frontend

import (
	"errors"
	"net"
	"os"
)

func hasIPv6() bool { return true }

// tryBind says whether an address could be bound.
func tryBind(b Bind, _ bool) error {
	l, err := net.Listen(b.Network, b.Address)
	if err == nil {
		l.Close()
	}
	return err
}

// sharing is not needed here: what the system lets be bound beside each other it lets be bound so anyway.
type sharing struct{}

func (m *Move) share(*held) error       { return nil }
func (m *Move) unshare()                {}
func (h *held) user() (int, bool)       { return 0, true }
func (m *Move) noStranger(*want) error  { return nil }
func isV6only([]uintptr) bool           { return false }
func share([]uintptr, bool) error       { return nil }
func dropSYN(sockets []uintptr, _ bool) {}

// descriptor returns that of a file, which stays in the mode it is in.
func descriptor(f *os.File) (fd uintptr, ok bool) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	ok = c.Control(func(of uintptr) { fd = of }) == nil
	return fd, ok
}

// BindBeside is unsupported here.
func BindBeside(Bind, *Rules) (*os.File, error) { return nil, errors.ErrUnsupported }
