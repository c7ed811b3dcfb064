package frontend

import (
	"net"
	"net/netip"
)

// reach is which clients a listening address takes. Two of them are the same if these are.
type reach struct {
	path   string     // of a unix socket, or @name; all else is zero then
	ip     netip.Addr // never IPv4-mapped; not valid: all addresses of the families below
	v4, v6 bool
	port   uint16
}

// reachOf says which clients an address of the configuration takes. Port 0 stays 0.
func reachOf(b Bind) (reach, error) {
	if b.Network == "unix" {
		return reach{path: b.Address}, nil
	}
	a, err := net.ResolveTCPAddr(b.Network, b.Address)
	if err != nil {
		return reach{}, err
	}
	r := reach{port: uint16(a.Port)}
	switch ip := a.AddrPort().Addr().Unmap(); {
	case ip.IsValid() && !ip.IsUnspecified():
		r.ip = ip
	case b.Network == "tcp4" || !hasIPv6():
		r.v4 = true
	default:
		r.v4, r.v6 = b.Network == "tcp", true // [::] and an empty host take IPv4 as well
	}
	return r, nil
}

// reachOfSocket says which clients a socket takes that has that address.
func reachOfSocket(a net.Addr, v6only bool) reach {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return reach{path: a.String()}
	}
	r := reach{port: uint16(t.Port)}
	switch ip := t.AddrPort().Addr().Unmap(); {
	case ip.IsValid() && !ip.IsUnspecified():
		r.ip = ip
	case t.IP.To4() != nil:
		r.v4 = true
	default:
		r.v4, r.v6 = !v6only, true
	}
	return r
}

// isFixed says whether it is one address, and not one of which the kernel chooses the port.
func (r reach) isFixed() bool { return r.path != "" || r.port != 0 }

// covers says whether r takes all clients that other takes, and more.
func (r reach) covers(other reach) bool {
	switch {
	case r == other || r.path != "" || other.path != "" || r.ip.IsValid() || r.port != other.port || r.port == 0:
		return false
	case other.ip.IsValid():
		return r.hasFamilyOf(other.ip)
	}
	return (r.v4 || !other.v4) && (r.v6 || !other.v6)
}

// overlaps says whether there may be clients that both take.
func (r reach) overlaps(other reach) bool {
	switch {
	case r.path != "" || other.path != "":
		return r.path == other.path
	case r.port != other.port || r.port == 0:
		return false
	case r.ip.IsValid() && other.ip.IsValid():
		return r.ip == other.ip
	case r.ip.IsValid():
		return other.hasFamilyOf(r.ip)
	case other.ip.IsValid():
		return r.hasFamilyOf(other.ip)
	}
	return r.v4 && other.v4 || r.v6 && other.v6
}

func (r reach) hasFamilyOf(ip netip.Addr) bool { return ip.Is4() && r.v4 || ip.Is6() && r.v6 }

// like says whether a socket from elsewhere will do for an address of the configuration, though it may not take exactly
// its clients: whoever opened it (systemd, say) has another notion of "all addresses", or has chosen the port.
func (r reach) like(socket reach, b Bind) bool {
	if r.path != "" || socket.path != "" || r.port != 0 && r.port != socket.port {
		return false
	}
	if r.ip.IsValid() || socket.ip.IsValid() {
		return r.ip == socket.ip
	}
	host, _, _ := net.SplitHostPort(b.Address)
	switch {
	case b.Network == "tcp4":
		return socket.v4 && !socket.v6
	case host == "":
		return true
	}
	return socket.v6
}
