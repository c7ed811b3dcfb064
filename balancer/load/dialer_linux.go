package load

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// dialer makes sockets that connect to the target, from the source addresses in turn.
type dialer struct {
	target  []byte
	sources [][]byte
	next    int
	nodelay bool
}

// newDialer begins at another source for each loop.
func newDialer(o *Options, index int) dialer {
	d := dialer{next: index}
	if o.Target.Network == "unix" {
		d.target = unixSockaddr(o.Target.Address)
		return d
	}
	d.target = inetSockaddr(netip.MustParseAddrPort(o.Target.Address)) // complete has put it so
	d.nodelay = o.Mode != Connect
	for _, s := range o.Sources {
		d.sources = append(d.sources, inetSockaddr(netip.AddrPortFrom(s, 0)))
	}
	return d
}

// dial returns a socket that connects.
func (d *dialer) dial() (fd int, errno loop.Errno) {
	fd, errno = loop.Socket(int(binary.NativeEndian.Uint16(d.target)))
	if errno != 0 {
		return -1, errno
	}
	if errno = d.connect(fd); errno != 0 && errno != unix.EINPROGRESS {
		loop.Close(fd)
		return -1, errno
	}
	return fd, 0
}

func (d *dialer) connect(fd int) loop.Errno {
	if d.nodelay {
		loop.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if len(d.sources) > 0 {
		d.next++
		// The port is chosen when the target is known: a port can serve several targets.
		loop.SetInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if errno := loop.Bind(fd, d.sources[d.next%len(d.sources)]); errno != 0 {
			return errno
		}
	}
	return loop.Connect(fd, d.target)
}

// inetSockaddr returns the address as connect(2) and bind(2) take it. IPv6 zones are not known.
func inetSockaddr(ap netip.AddrPort) []byte {
	a := ap.Addr().Unmap()
	b := make([]byte, unix.SizeofSockaddrInet6)
	family, at := uint16(unix.AF_INET6), 8
	if a.Is4() {
		b = b[:unix.SizeofSockaddrInet4]
		family, at = unix.AF_INET, 4
	}
	binary.NativeEndian.PutUint16(b, family)
	binary.BigEndian.PutUint16(b[2:], ap.Port())
	copy(b[at:], a.AsSlice())
	return b
}

// unixSockaddr returns the address of a path, or of an abstract name that begins with @ (unix(7)).
func unixSockaddr(name string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	if name[0] == '@' {
		return append(append(b, 0), name[1:]...)
	}
	return append(append(b, name...), 0)
}
