package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"weir/backend/sockopt"
)

// Dialer opens connections to backends. It is safe for concurrent use.
type Dialer struct {
	dialer  net.Dialer
	socket  sockopt.Options
	sources []netip.Addr
	turn    atomic.Uint32
}

// NewDialer returns a Dialer whose attempts each take at most timeout, name look-up included. The
// sources are local addresses to connect from, used in turn; none: the kernel chooses.
func NewDialer(timeout time.Duration, o sockopt.Options, sources []netip.Addr) *Dialer {
	o.DeferPort = len(sources) > 0
	d := &Dialer{dialer: o.Dialer(), socket: o, sources: sources}
	d.dialer.Timeout = timeout
	return d
}

// Timeout returns what one attempt may take.
func (d *Dialer) Timeout() time.Duration { return d.dialer.Timeout }

// Socket returns the options of the sockets.
func (d *Dialer) Socket() sockopt.Options { return d.socket }

// Resolve looks up the addresses of a tcp backend, in the order in which they are to be tried. The error
// is as that of Dial.
func (d *Dialer) Resolve(ctx context.Context, b *Backend) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(b.id.Address)
	if err != nil {
		return nil, fmt.Errorf("dial backend %s: %w", b.id.Name, err)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("dial backend %s: %w", b.id.Name, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("dial backend %s: %w", b.id.Name, err)
	}
	list := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		list[i] = netip.AddrPortFrom(ip.Unmap(), uint16(number))
	}
	return list, nil
}

// Dial connects to b. Where one source address has no free port the next is tried. The caller owns
// the connection. See [Classify] for the error.
func (d *Dialer) Dial(ctx context.Context, b *Backend) (net.Conn, error) {
	c, err := d.DialAddress(ctx, b.id.Network, b.id.Address)
	if err != nil {
		return nil, fmt.Errorf("dial backend %s: %w", b.id.Name, err)
	}
	return c, nil
}

// DialAddress connects to an address as Dial does to that of a backend.
func (d *Dialer) DialAddress(ctx context.Context, network, address string) (net.Conn, error) {
	var to netip.Addr
	if ap, err := netip.ParseAddrPort(address); err == nil {
		to = ap.Addr()
	}
	sources := d.sourcesFor(network, to)
	if len(sources) == 0 {
		return d.dialer.DialContext(ctx, network, address)
	}
	var err error
	for _, source := range sources {
		from := d.dialer
		from.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		var c net.Conn
		if c, err = from.DialContext(ctx, network, address); !portsExhausted(err) {
			return c, err
		}
	}
	return nil, err
}

// Sources returns the addresses to connect to b from, at its address to, in the order in which they
// are to be tried; none: the kernel chooses. With the zero to, of a host whose name is not resolved
// yet, all are returned: net.Dialer then keeps to the family of the source.
func (d *Dialer) Sources(b *Backend, to netip.Addr) []netip.Addr {
	return d.sourcesFor(b.id.Network, to)
}

func (d *Dialer) sourcesFor(network string, to netip.Addr) []netip.Addr {
	if len(d.sources) == 0 || network != "tcp" {
		return nil
	}
	first := int(d.turn.Add(1) - 1)
	var fit []netip.Addr
	for i := range d.sources {
		s := d.sources[(first+i)%len(d.sources)]
		if !to.IsValid() || s.Is4() == to.Unmap().Is4() {
			fit = append(fit, s)
		}
	}
	return fit
}

func portsExhausted(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
}
