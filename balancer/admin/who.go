package admin

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os/user"
	"strconv"
)

// Who is who asked for a change.
type Who struct {
	// Name is that of a user of this host, or of a client's certificate, or "token", or "anybody" who can
	// reach a door on the loopback without a token.
	Name string
	// UID and PID are of the process at the other end of a unix socket; -1 where they are not known.
	UID, PID int
	// Address is where a TCP connection comes from; empty for a unix socket.
	Address string
}

// String gives "alice (uid 1000, pid 4711)" or "token (10.0.0.7:40112)".
func (w Who) String() string {
	switch {
	case w.Address != "":
		return fmt.Sprintf("%s (%s)", w.Name, w.Address)
	case w.UID >= 0 && w.PID > 0:
		return fmt.Sprintf("%s (uid %d, pid %d)", w.Name, w.UID, w.PID)
	case w.UID >= 0:
		return fmt.Sprintf("%s (uid %d)", w.Name, w.UID)
	}
	return w.Name
}

// peer is the process at the other end of a unix socket, as the kernel saw it when it connected.
type peer struct{ uid, pid int }

// noPeer is a peer of which the kernel tells nothing.
var noPeer = peer{-1, -1}

type peerKey struct{}

// whoIs says who asks.
func (d *Door) whoIs(r *http.Request) Who {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return Who{Name: userName(p.uid), UID: p.uid, PID: p.pid}
	}
	w := Who{Name: "anybody", UID: -1, PID: -1, Address: r.RemoteAddr}
	switch {
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		w.Name = certificateName(r.TLS)
	case d.token.Load() != nil:
		w.Name = "token"
	}
	return w
}

func userName(uid int) string {
	if uid < 0 {
		return "somebody"
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "uid " + strconv.Itoa(uid)
	}
	return u.Username
}

// certificateName returns the common name of a client's certificate, or else the first name that it is
// good for.
func certificateName(s *tls.ConnectionState) string {
	c := s.VerifiedChains[0][0]
	switch {
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.EmailAddresses) > 0:
		return c.EmailAddresses[0]
	}
	return "certificate " + c.SerialNumber.String()
}
