package load

import (
	"fmt"
	"net"
	"net/netip"
)

// resolve returns the address of a TCP target.
func (a Address) resolve() (netip.AddrPort, error) {
	t, err := net.ResolveTCPAddr("tcp", a.Address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find target: %w", err)
	}
	ap := t.AddrPort()
	if !ap.Addr().IsValid() || ap.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("target %q has no host or no port", a.Address)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
