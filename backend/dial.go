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
	sources []netip.Addr
	turn    atomic.Uint32
}

// NewDialer returns a Dialer whose attempts each take at most timeout, name look-up included. The
// sources are local addresses to connect from, used in turn; none: the kernel chooses.
func NewDialer(timeout time.Duration, o sockopt.Options, sources []netip.Addr) *Dialer {
	o.DeferPort = len(sources) > 0
	d := &Dialer{dialer: o.Dialer(), sources: sources}
	d.dialer.Timeout = timeout
	return d
}

// Dial connects to b. Where one source address has no free port the next is tried. The caller owns
// the connection. See [Classify] for the error.
func (d *Dialer) Dial(ctx context.Context, b *Backend) (net.Conn, error) {
	c, err := d.dial(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("dial backend %s: %w", b.name, err)
	}
	return c, nil
}

func (d *Dialer) dial(ctx context.Context, b *Backend) (net.Conn, error) {
	sources := d.sourcesFor(b)
	if len(sources) == 0 {
		return d.dialer.DialContext(ctx, b.network, b.address)
	}
	var err error
	first := int(d.turn.Add(1) - 1)
	for i := range sources {
		from := d.dialer
		from.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(sources[(first+i)%len(sources)], 0))
		var c net.Conn
		if c, err = from.DialContext(ctx, b.network, b.address); !portsExhausted(err) {
			return c, err
		}
	}
	return nil, err
}

// sourcesFor returns the sources of the backend's family: all of them when that is not known before
// its name is resolved (net.Dialer then keeps to the family of the source).
func (d *Dialer) sourcesFor(b *Backend) []netip.Addr {
	if len(d.sources) == 0 || b.network != "tcp" {
		return nil
	}
	to, err := netip.ParseAddrPort(b.address)
	if err != nil {
		return d.sources
	}
	var fit []netip.Addr
	for _, s := range d.sources {
		if s.Is4() == to.Addr().Unmap().Is4() {
			fit = append(fit, s)
		}
	}
	return fit
}

func portsExhausted(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
}
